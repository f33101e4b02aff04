//! What a journal tells is told, and it adds up.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::effects::{EffectRequest, SubRunOutput, SubRunRequest, ToolRequest};
use crate::ids::AgentId;
use crate::model::{Message, ModelReply, ModelRequest};
use crate::money::{BudgetWindow, Reservation};
use crate::runs::{Demand, RunLimits, RunState, Selection, Task};
use crate::selection;
use crate::tools::ToolOutput;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
}

fn journal(bodies: Vec<(i64, EventBody)>) -> Vec<RunEvent> {
    (1..).zip(bodies).map(|(seq, (second, body))| RunEvent { seq, at: at(second), body }).collect()
}

fn run() -> Run {
    let limits = RunLimits { steps: 9, tokens: 999, cost_micros: 0, wall_clock: Duration::from_mins(1) };
    let selection: Selection = selection::named(AgentId::from_uuid(Uuid::nil()), 3);
    let (id, by) = (RunId::from_uuid(Uuid::nil()), ada());
    Run::accept(id, by, Task::new("Pay").unwrap(), selection, limits, at(0)).admitted_as(Role::Member)
}

fn ada() -> UserId {
    UserId::from_uuid(Uuid::from_u128(1))
}

fn tokens(input_tokens: u64) -> Usage {
    Usage { input_tokens, ..Usage::default() }
}

fn budget() -> BudgetId {
    BudgetId::from_uuid(Uuid::from_u128(5))
}

fn asks(key: &str, worst: u64) -> EventBody {
    let windows = vec![BudgetWindow { budget: budget(), start: at(0) }];
    EventBody::StepStarted {
        step: StepId::from_uuid(Uuid::nil()),
        key: key.parse().unwrap(),
        kind: StepKind::Model { purpose: "turn".into() },
        fingerprint: None,
        reservation: Some(Reservation { model: "m".into(), amount: tokens(worst), windows }),
    }
}

fn answers(key: &str, used: u64) -> EventBody {
    let reply = ModelReply::text("t", tokens(used), "m");
    let request = EffectRequest::Model(ModelRequest::thought("turn", vec![Message::user("go")]));
    EventBody::StepEnded {
        key: key.parse().unwrap(),
        fingerprint: request.fingerprint(),
        outcome: EffectOutcome::Model(reply),
    }
}

fn pays() -> EventBody {
    EventBody::StepStarted {
        step: StepId::from_uuid(Uuid::nil()),
        key: "1".parse().unwrap(),
        kind: StepKind::Tool { name: "pay".into() },
        fingerprint: None,
        reservation: None,
    }
}

fn paid() -> EventBody {
    let request = ToolRequest::new("pay", json!({}));
    EventBody::StepEnded {
        key: "1".parse().unwrap(),
        fingerprint: EffectRequest::Tool(request).fingerprint(),
        outcome: EffectOutcome::Tool(ToolOutput::ok("paid")),
    }
}

fn approval(number: u128) -> ApprovalId {
    ApprovalId::from_uuid(Uuid::from_u128(number))
}

fn asked(number: u128, is_in_doubt: bool) -> EventBody {
    let (name, arguments) = ("pay".to_owned(), json!({"amount": 5}));
    let question = if is_in_doubt {
        Question::InDoubt { name, arguments }
    } else {
        Question::ToolCall { name, arguments, demand: Demand::Agent }
    };
    EventBody::ApprovalAsked {
        approval: approval(number),
        key: "1".parse().unwrap(),
        question,
        expires_at: at(999),
    }
}

fn answered(number: u128) -> EventBody {
    EventBody::ApprovalAnswered {
        approval: approval(number),
        key: "1".parse().unwrap(),
        decision: Decision::Approve,
        by: Some(ada()),
    }
}

fn waiting() -> EventBody {
    EventBody::Waiting { reason: "a person has to approve".into() }
}

/// A model call that was lost with its worker and made again, a payment that was approved and fell into doubt, a pause.
fn eventful() -> Vec<RunEvent> {
    journal(vec![
        (0, EventBody::Queued),
        (2, EventBody::Started { attempt: 1 }),
        (2, asks("0", 100)),
        (40, EventBody::Started { attempt: 2 }),
        (40, asks("0", 100)),
        (43, answers("0", 30)),
        (43, asked(1, false)),
        (43, waiting()),
        (50, EventBody::PauseAsked { by: ada() }),
        (60, answered(1)),
        (61, EventBody::Resumed { by: ada() }),
        (61, EventBody::Started { attempt: 3 }),
        (61, pays()),
        (70, EventBody::Started { attempt: 5 }),
        (70, asked(2, true)),
        (70, waiting()),
        (80, answered(2)),
        (81, EventBody::Started { attempt: 6 }),
        (81, pays()),
        (85, paid()),
        (85, EventBody::Succeeded { answer: "paid".into() }),
    ])
}

#[test]
fn steps_are_told_with_all_that_led_to_them() {
    let told = explain(&run(), &eventful());
    let [model, payment] = &told.steps[..] else { panic!("{:?}", told.steps) };
    assert_eq!((model.number, model.seq, model.begun.len(), model.usage()), (1, 3, 2, tokens(30)));
    assert_eq!(model.duration(), Some(TimeDelta::seconds(3)), "from the last beginning");
    assert!(!model.was_in_doubt() && !model.is_taken_over);
    assert_eq!((payment.number, payment.seq, &payment.begun), (2, 7, &vec![at(61), at(81)]));
    assert!(payment.was_in_doubt());
    let answers: Vec<_> =
        payment.asked.iter().map(|asked| (asked.at, asked.answer.clone().unwrap())).collect();
    let told_at = |second| Told { decision: Decision::Approve, by: Some(ada()), at: at(second) };
    assert_eq!(answers, [(at(43), told_at(60)), (at(70), told_at(80))]);
    let attempts: Vec<_> = told.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(attempts, [1, 2, 3, 5, 6]);
    assert_eq!((told.admitted_as, told.budgets), (Some(Role::Member), [budget()].into()));
}

#[test]
fn time_is_queued_waited_or_worked() {
    let told = explain(&run(), &eventful());
    let waits: Vec<_> = told.waits.iter().map(|wait| (wait.from, wait.until)).collect();
    assert_eq!(waits, [(at(43), Some(at(60))), (at(70), Some(at(80)))], "a wish to pause ends no wait");
    assert_eq!(told.pauses, [Pause { by: ada(), from: at(50), resumed: Some((ada(), at(61))) }]);
    let expected = Times {
        queued: Some(TimeDelta::seconds(2)),
        waited: TimeDelta::seconds(27),
        worked: TimeDelta::seconds(83 - 27),
    };
    assert_eq!(told.times, expected);
    let queued = explain(&run(), &eventful()[..1]);
    assert_eq!((queued.times.queued, queued.times.worked), (None, TimeDelta::zero()));
    let open = explain(&run(), &eventful()[..8]);
    assert_eq!(open.waits.last().unwrap().until, None);
}

#[test]
fn lost_calls_stand_apart() {
    let told = explain(&run(), &eventful());
    let lost = |at, counts| LostCall {
        key: "0".parse().unwrap(),
        model: "m".into(),
        amount: tokens(100),
        at,
        counts,
    };
    assert_eq!(told.cost.lost, [lost(at(40), true)]);
    assert_eq!((told.cost.steps, told.cost.reserved), (tokens(30), Usage::default()));

    let cut_by = |end: EventBody| {
        let bodies = vec![(0, EventBody::Started { attempt: 1 }), (0, asks("0", 100)), (9, end)];
        explain(&run(), &journal(bodies)).cost.lost
    };
    assert_eq!(cut_by(EventBody::Cancelled), [lost(at(9), false)], "its worker had no say in it");
    assert_eq!(cut_by(EventBody::TimedOut), [lost(at(9), true)]);
    let under_way = explain(&run(), &eventful()[..3]).cost;
    assert_eq!((under_way.lost.len(), under_way.reserved), (0, tokens(100)));
}

/// Whom a run was refused to is told, and only where that was why; older journals, which do not know of it, read the same.
#[test]
fn who_was_barred_from_an_agent_is_told() {
    let request = EffectRequest::Run(SubRunRequest { agent: "clerk".into(), task: "Pay".into() });
    let ended = |key: &str, output| EventBody::StepEnded {
        key: key.parse().unwrap(),
        fingerprint: request.fingerprint(),
        outcome: EffectOutcome::Run(output),
    };
    let begun = |key: &str| EventBody::StepStarted {
        step: StepId::from_uuid(Uuid::nil()),
        key: key.parse().unwrap(),
        kind: StepKind::from(&request),
        fingerprint: None,
        reservation: None,
    };
    let outputs = [
        SubRunOutput::barred("clerk", Barred::Role(Role::Viewer)),
        SubRunOutput::barred("clerk", Barred::Gone),
        SubRunOutput::refused("there is no agent `clerk` with a published version"),
    ];
    let mut bodies = Vec::new();
    for (key, output) in ["0", "1", "2"].into_iter().zip(outputs) {
        let stored = serde_json::to_string(&ended(key, output)).unwrap();
        assert_eq!(stored.contains("barred"), key != "2", "what was not barred is stored as it always was");
        bodies.extend([(1, begun(key)), (2, serde_json::from_str(&stored).unwrap())]);
    }
    let told: Vec<_> = explain(&run(), &journal(bodies)).steps.iter().map(StepTold::barred).collect();
    assert_eq!(told, [Some(Barred::Role(Role::Viewer)), Some(Barred::Gone), None]);
}

#[test]
fn what_a_fork_took_over_the_other_run_has_paid() {
    let from = RunId::from_uuid(Uuid::from_u128(9));
    let told = explain(
        &run(),
        &journal(vec![
            (0, EventBody::Forked { from, step: "1".parse().unwrap() }),
            (0, asks("0", 100)),
            (0, answers("0", 0)),
            (1, EventBody::Started { attempt: 1 }),
            (1, pays()),
        ]),
    );
    assert_eq!(told.forked, Some((from, "1".parse().unwrap())));
    let taken: Vec<_> = told.steps.iter().map(|step| step.is_taken_over).collect();
    assert_eq!((taken, told.budgets.len()), (vec![true, false], 0));
}

proptest! {
    /// Whatever a worker does, loses and does again: what it charges is what is told.
    #[test]
    fn what_is_used_is_what_steps_used_and_what_was_lost(
        calls in prop::collection::vec((0_u64..1_000, prop::option::of(0_u64..1_000)), 0..20),
        is_cancelled in any::<bool>(),
    ) {
        let mut run = run().start(at(1)).unwrap();
        let mut bodies = vec![(0, EventBody::Queued), (1, EventBody::Started { attempt: 1 })];
        let mut under_way = None;
        for (index, (worst, used)) in calls.into_iter().enumerate() {
            let key = index.to_string();
            if let Some(lost) = under_way.take() {
                run = run.charge(tokens(lost)).unwrap();
                bodies.push((2, EventBody::Started { attempt: 2 }));
            }
            bodies.push((2, asks(&key, worst)));
            match used {
                Some(used) => {
                    run = run.charge(tokens(used)).unwrap();
                    bodies.push((3, answers(&key, used)));
                }
                None => under_way = Some(worst),
            }
        }
        if is_cancelled {
            run = run.cancel(ada(), at(4)).unwrap();
            bodies.push((4, EventBody::Cancelled));
        } else {
            run = run.charge(tokens(under_way.unwrap_or_default())).unwrap().time_out(at(4)).unwrap();
            bodies.push((4, EventBody::TimedOut));
        }
        let events = journal(bodies);
        let told = explain(&run, &events);
        prop_assert_eq!(told.cost.used, told.cost.steps.plus(told.cost.lost_and_counted()));
        prop_assert_eq!(told.cost.reserved, Usage::default());
        let is_ended = matches!(run.state(), RunState::Cancelled { .. } | RunState::TimedOut { .. });
        prop_assert!(is_ended);
        prop_assert_eq!(told.hash, EventHash::of(&events));
    }
}
