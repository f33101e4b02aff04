//! The run's and the step's state machines under any sequence of transitions.

use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::effects::{EffectKey, EffectOutcome, EffectRequest, ToolRequest};
use crate::ids::StepId;
use crate::selection;
use crate::tools::ToolOutput;

#[derive(Clone, Copy, Debug)]
enum Move {
    Start,
    Wait,
    Succeed,
    Fail,
    Cancel,
    TimeOut,
    Charge,
}

const MOVES: [Move; 7] =
    [Move::Start, Move::Wait, Move::Succeed, Move::Fail, Move::Cancel, Move::TimeOut, Move::Charge];

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
}

fn user() -> UserId {
    UserId::from_uuid(Uuid::from_u128(1))
}

fn limits() -> RunLimits {
    RunLimits { steps: 4, tokens: 100, cost_micros: 0, wall_clock: Duration::from_mins(1) }
}

fn queued() -> Run {
    let selection = selection::named(AgentId::from_uuid(Uuid::from_u128(2)), 1);
    Run::accept(
        RunId::from_uuid(Uuid::from_u128(3)),
        user(),
        Task::new("sum up").unwrap(),
        selection,
        limits(),
        at(0),
    )
}

fn apply(run: Run, step: Move, now: DateTime<Utc>) -> Result<Run, RunTransitionRefused> {
    match step {
        Move::Start => run.start(now),
        Move::Wait => run.wait("approval", None),
        Move::Succeed => run.succeed("done", now),
        Move::Fail => run.fail(RunFailure { code: "x".into(), message: "y".into() }, now),
        Move::Cancel => run.cancel(user(), now),
        Move::TimeOut => run.time_out(now),
        Move::Charge => run.charge(Usage::of_tokens(1, 2).at_cost(3)),
    }
}

/// The table of the design, written a second time.
fn allowed(from: RunStatus, step: Move) -> bool {
    use RunStatus::{Queued, Running, Waiting};
    match step {
        Move::Start => matches!(from, Queued | Waiting),
        Move::Wait | Move::Succeed | Move::Charge => from == Running,
        Move::Fail | Move::Cancel | Move::TimeOut => matches!(from, Queued | Running | Waiting),
    }
}

proptest! {
    #[test]
    fn only_the_listed_transitions_happen(moves in prop::collection::vec(prop::sample::select(&MOVES[..]), 0..24)) {
        let mut run = queued();
        for (second, step) in (1..).zip(moves) {
            let before = run.clone();
            match apply(run, step, at(second)) {
                Ok(after) => {
                    prop_assert!(allowed(before.state().name(), step));
                    prop_assert_eq!(after.version(), before.version() + 1);
                    prop_assert!(after.usage().total_tokens() >= before.usage().total_tokens());
                    run = after;
                }
                Err(refused) => {
                    prop_assert!(!allowed(before.state().name(), step));
                    prop_assert_eq!(&*refused.run, &before);
                    run = *refused.run;
                }
            }
        }
    }

    #[test]
    fn narrowed_limits_never_allow_what_either_refuses(
        a in any::<(u32, u64, u64, u16)>(), b in any::<(u32, u64, u64, u16)>(),
        steps: u32, tokens: u64, cost: u64, seconds: u16,
    ) {
        let make = |(steps, tokens, cost_micros, wall): (u32, u64, u64, u16)| RunLimits {
            steps, tokens, cost_micros, wall_clock: Duration::from_secs(wall.into()),
        };
        let usage = Usage::of_tokens(tokens, 0).at_cost(cost);
        let now = at(0) + TimeDelta::seconds(seconds.into());
        let ok = |limits: RunLimits| limits.check(steps, usage, at(0), now).is_ok();
        prop_assert_eq!(ok(make(a).narrowed_by(&make(b))), ok(make(a)) && ok(make(b)));
    }
}

#[test]
fn the_first_start_is_kept_over_a_wait() {
    let run = queued()
        .start(at(1))
        .and_then(|run| run.wait("approval", None))
        .and_then(|run| run.start(at(9)))
        .unwrap();
    assert_eq!(*run.state(), RunState::Running { started_at: at(1) });
}

#[test]
fn each_limit_is_met_by_its_own_refusal() {
    let used = |tokens, cost_micros| Usage::of_tokens(tokens, 0).at_cost(cost_micros);
    let limits = RunLimits { cost_micros: 50, ..limits() };
    assert_eq!(limits.check(3, used(99, 49), at(0), at(59)), Ok(()));
    assert_eq!(limits.check(4, used(0, 0), at(0), at(0)), Err(LimitExceeded::Steps(4)));
    assert_eq!(limits.check(0, used(100, 0), at(0), at(0)), Err(LimitExceeded::Tokens(100)));
    assert_eq!(limits.check(0, used(0, 50), at(0), at(0)), Err(LimitExceeded::Cost(50)));
    assert_eq!(
        limits.check(0, used(0, 0), at(0), at(60)),
        Err(LimitExceeded::WallClock(Duration::from_mins(1)))
    );
    assert_eq!(limits.check(0, used(0, 0), at(60), at(0)), Ok(()), "a clock that went back stops nothing");
}

#[test]
fn a_task_says_something_and_ends() {
    assert_eq!(Task::new(" \n"), Err(InvalidTask::Blank));
    assert_eq!(Task::new("é".repeat(MAX_TASK_CHARS)).map(|task| task.as_str().len()), Ok(2 * MAX_TASK_CHARS));
    assert_eq!(Task::new("a".repeat(MAX_TASK_CHARS + 1)), Err(InvalidTask::TooLong));
}

#[test]
fn a_step_ends_once() {
    let request = EffectRequest::Tool(ToolRequest::new("calculator", serde_json::json!({})));
    let step = Step::begin(StepId::from_uuid(Uuid::from_u128(4)), EffectKey::default(), &request, at(0));
    let ended = step.end(EffectOutcome::Tool(ToolOutput::ok("4")), at(1)).unwrap();
    let refused = ended.clone().end(EffectOutcome::Tool(ToolOutput::ok("5")), at(2)).unwrap_err();
    assert_eq!(*refused.step, ended);
}
