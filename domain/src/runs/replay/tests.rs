//! A journal that a strategy wrote replays as it is; one that was changed differs where it was.

use chrono::DateTime;
use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::agents::SubAgent;
use crate::effects::{Issued, SubRunOutput};
use crate::ids::{ApprovalId, RunId, StepId, UserId};
use crate::model::{ModelReply, StopReason, Usage};
use crate::runs::{Decision, Demand};
use crate::strategies::AgentKind;
use crate::tools::{ToolCall, ToolOutput, ToolSpec};

fn brief() -> Brief {
    let tool = |name: &str| ToolSpec {
        name: name.into(),
        description: "Does it".into(),
        parameters: json!({"type": "object"}),
    };
    let tools =
        ["pay", "sql_schema", "sql_query", "run_code", "knowledge_search", "memory_search", "memory_apply"];
    let tools = tools.map(tool).into();
    Brief {
        task: "Pay the bill\nrent => paid".into(),
        instructions: String::new(),
        tools,
        agents: vec![SubAgent { name: "helper".parse().expect("a name"), description: "Helps".into() }],
        formation: None,
        conversation: crate::threads::Conversation::default(),
    }
}

fn strategy(kind: AgentKind) -> Strategy {
    Strategy::from_parameters(kind, &json!({})).unwrap()
}

fn said(text: &str) -> EffectOutcome {
    EffectOutcome::Model(ModelReply::text(text, Usage::of_tokens(3, 2).at_cost(1), "scripted"))
}

fn calls(arguments: &[Value]) -> EffectOutcome {
    let call = |(index, arguments): (usize, &Value)| ToolCall {
        id: format!("call-{index}"),
        name: "pay".into(),
        arguments: arguments.to_string(),
    };
    let EffectOutcome::Model(reply) = said("") else { unreachable!("it is a reply") };
    let (tool_calls, stop) = (arguments.iter().enumerate().map(call).collect(), StopReason::ToolCalls);
    EffectOutcome::Model(ModelReply { tool_calls, stop, ..reply })
}

fn begun(key: &EffectKey, request: &EffectRequest) -> EventBody {
    EventBody::StepStarted {
        step: StepId::from_uuid(Uuid::nil()),
        key: key.clone(),
        kind: request.into(),
        fingerprint: Some(request.fingerprint()),
        reservation: None,
    }
}

/// What a worker journals of a strategy whose model says this; tools echo their arguments, and of what is asked at once,
/// the last ends first when it goes `backwards`.
fn journal(kind: AgentKind, said: Vec<EffectOutcome>, is_backwards: bool) -> Vec<EventBody> {
    let strategy = strategy(kind);
    let mut execution = Execution::start([], |fx| strategy.execute(brief(), fx));
    let mut events = vec![EventBody::Queued, EventBody::Started { attempt: 1 }];
    let (mut said, mut open) = (said.into_iter(), Vec::new());
    loop {
        match execution.poll() {
            Progress::Waiting(issued) => {
                events.extend(issued.iter().map(|issued| begun(&issued.key, &issued.request)));
                open.extend(issued);
            }
            Progress::Done(result) => {
                events.push(Ending::from(result).event());
                return events;
            }
            Progress::Diverged(divergence) => panic!("{divergence}"),
        }
        let issued = if is_backwards { open.pop().unwrap() } else { open.remove(0) };
        let outcome = match &issued.request {
            EffectRequest::Model(_) => said.next().unwrap_or_else(|| super::tests::said("")),
            EffectRequest::Tool(tool) => EffectOutcome::Tool(ToolOutput::ok(tool.arguments.to_string())),
            EffectRequest::Run(run) => EffectOutcome::Run(SubRunOutput {
                run: None,
                content: run.task.clone(),
                is_error: false,
                usage: Usage::default(),
                barred: None,
            }),
        };
        events.push(execution.deliver(&issued.key, outcome).unwrap().into());
    }
}

fn recording(kind: AgentKind, bodies: Vec<EventBody>) -> Recording {
    let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let events = (1..).zip(bodies).map(|(seq, body)| RunEvent { seq, at, body }).collect();
    Recording::of(strategy(kind), brief(), events)
}

fn of(kind: AgentKind, bodies: Vec<EventBody>) -> Replay {
    replay(&recording(kind, bodies))
}

/// A payment by ReAct, in two steps and an answer: call, payment, answer.
fn payment() -> Vec<EventBody> {
    journal(AgentKind::React, vec![calls(&[json!({"amount": 5})]), said("Paid.")], false)
}

fn difference(bodies: Vec<EventBody>) -> String {
    of(AgentKind::React, bodies).difference.expect("it differs").to_string()
}

fn any_said() -> impl proptest::strategy::Strategy<Value = EffectOutcome> {
    prop_oneof![
        Just(said("42")),
        Just(said("Answer: 42")),
        Just(said(r#"{"steps":["a","b"]}"#)),
        Just(said(r#"{"status":"blocked","result":"no"}"#)),
        Just(said(r#"{"accept":false,"issues":["x"]}"#)),
        Just(calls(&[json!({"amount": 1}), json!({"amount": 2.5})])),
        Just(EffectOutcome::Failed(crate::effects::EffectFailure::new(
            crate::effects::FailureClass::Unavailable,
            "down"
        ))),
    ]
}

proptest! {
    #[test]
    fn what_any_strategy_did_replays_and_its_changed_outcomes_are_found(
        kind in prop::sample::select(AgentKind::ALL.to_vec()),
        words in prop::collection::vec(any_said(), 0..20),
        is_backwards in any::<bool>(),
        at in any::<prop::sample::Index>(),
    ) {
        let bodies = journal(kind, words, is_backwards);
        let recording = recording(kind, bodies);
        let replayed = replay(&recording);
        prop_assert_eq!(replayed.difference, None);
        prop_assert_eq!(replayed.hash, recording.hash());
        prop_assert!(replayed.steps.iter().all(|step| step.has_ended));

        let mut changed = recording;
        let ends: Vec<_> = (0..changed.journal.len())
            .filter(|&index| matches!(changed.journal[index].event.body, EventBody::StepEnded { .. }))
            .collect();
        let end = ends[at.index(ends.len())];
        let EventBody::StepEnded { key, outcome, .. } = &mut changed.journal[end].event.body else {
            unreachable!("it is an end")
        };
        let key = key.clone();
        match outcome {
            EffectOutcome::Model(reply) => reply.usage.input_tokens += 1,
            EffectOutcome::Tool(output) => output.content.push('!'),
            EffectOutcome::Run(output) => output.content.push('!'),
            EffectOutcome::Failed(failure) => failure.message.push('!'),
        }
        let replayed = replay(&changed);
        let difference = replayed.difference.expect("it was changed");
        let step = replayed.steps.iter().find(|step| step.key == key).map(|step| step.number);
        prop_assert_eq!((difference.step, difference.seq), (step, changed.journal[end].event.seq));
    }
}

#[test]
fn a_strategy_that_asks_for_something_else_is_found_at_its_step() {
    let mut other = recording(AgentKind::React, payment());
    other.brief.task.push_str(" today");
    let replayed = replay(&other);
    let told = replayed.difference.unwrap().to_string();
    assert_eq!(
        told,
        "differs at step 1 (event 3): the strategy asks for something else than the journal says"
    );
    // An outcome that was changed, with every hash made anew: what follows from it is not in the journal.
    let mut bodies = payment();
    let paid = bodies.iter_mut().rev().find_map(|body| match body {
        EventBody::StepEnded { outcome: EffectOutcome::Tool(output), .. } => Some(output),
        _ => None,
    });
    paid.unwrap().content = "nothing".into();
    assert!(difference(bodies).starts_with("differs at step 3 "), "the model was not asked that");
}

#[test]
fn events_that_are_missing_added_or_elsewhere_are_found() {
    let whole = recording(AgentKind::React, payment());
    let mut missing = whole.clone();
    missing.journal.remove(3);
    assert_eq!(replay(&missing).difference.unwrap().what, "the journal has no event 4");
    let again = payment().into_iter().chain([EventBody::Cancelled]).collect();
    assert!(difference(again).ends_with("the run had ended before"));
    let mut swapped = payment();
    swapped.swap(2, 4);
    assert!(difference(swapped).contains("does not ask for effect 1 here"));
    let mut twice = payment();
    twice.insert(4, twice[3].clone());
    assert!(difference(twice).contains("does not ask for effect 0 here"));
}

#[test]
fn a_run_that_was_ended_from_outside_replays_up_to_its_end() {
    let outside = [
        EventBody::Cancelled,
        EventBody::TimedOut,
        EventBody::Failed { code: "limit_reached".into(), message: "the run has used its 3 steps".into() },
        EventBody::Failed { code: "stalled".into(), message: "no".into() },
    ];
    for end in outside {
        for kept in 2..payment().len() - 2 {
            let bodies = payment().into_iter().take(kept).chain([end.clone()]).collect();
            let replayed = of(AgentKind::React, bodies);
            assert_eq!((replayed.difference, replayed.end), (None, Some(end.clone())), "{kept} events");
        }
    }
    let unfinished = of(AgentKind::React, payment()[..4].to_vec());
    assert_eq!((unfinished.difference, unfinished.end), (None, None));
}

#[test]
fn an_end_that_is_not_the_strategys_is_found() {
    let ended_as =
        |kept: usize, end: EventBody| difference(payment().into_iter().take(kept).chain([end]).collect());
    let (whole, paid) = (payment().len() - 1, || EventBody::Succeeded { answer: "Paid twice.".into() });
    assert_eq!(
        ended_as(whole, paid()),
        r#"differs at event 9: the journal answers "Paid twice.", the strategy answers "Paid.""#
    );
    assert!(ended_as(4, paid()).contains("the strategy still waits"));
    let failed = |code: &str| EventBody::Failed { code: code.into(), message: "m".into() };
    assert!(ended_as(4, failed("no_answer")).contains("the strategy still waits"));
    assert!(ended_as(whole, failed("limit_reached")).contains("the strategy answers"));
}

/// A payment about which a person was asked: the events up to the question, and those after the answer.
fn approved(decision: &Decision, outcome: ToolOutput) -> Vec<EventBody> {
    let (key, approval) = ("1".parse::<EffectKey>().unwrap(), ApprovalId::from_uuid(Uuid::nil()));
    let arguments = json!({"amount": 5});
    let said = [calls(std::slice::from_ref(&arguments)), said("Done.")];
    let mut bodies = Vec::new();
    let strategy = strategy(AgentKind::React);
    let mut execution = Execution::start([], |fx| strategy.execute(brief(), fx));
    let mut outcomes = [said[0].clone(), EffectOutcome::Tool(outcome), said[1].clone()].into_iter();
    while let Progress::Waiting(issued) = execution.poll() {
        let Issued { key: asked, request } = &issued[0];
        if *asked == key {
            let question = Question::ToolCall {
                name: "pay".into(),
                arguments: arguments.clone(),
                demand: Demand::Agent,
            };
            let expires_at = DateTime::UNIX_EPOCH;
            bodies.push(EventBody::ApprovalAsked { approval, key: key.clone(), question, expires_at });
            bodies.push(EventBody::Waiting { reason: "approval".into() });
            let by = Some(UserId::from_uuid(Uuid::nil()));
            bodies.push(EventBody::ApprovalAnswered {
                approval,
                key: key.clone(),
                decision: decision.clone(),
                by,
            });
            bodies.push(EventBody::Started { attempt: 2 });
        }
        bodies.push(begun(asked, request));
        bodies.push(execution.deliver(asked, outcomes.next().unwrap()).unwrap().into());
    }
    bodies.push(EventBody::Succeeded { answer: "Done.".into() });
    bodies
}

#[test]
fn what_people_decide_is_replayed_and_what_came_of_it_must_follow() {
    let (edit, reject) = (
        Decision::Edit { arguments: json!({"amount": 4.1}) },
        Decision::Reject { reason: "too much".into() },
    );
    let refused = reject.outcome().unwrap();
    for (decision, outcome) in [
        (Decision::Approve, ToolOutput::ok("paid 5")),
        (edit, ToolOutput::ok("paid 4.1")),
        (reject.clone(), refused),
        (Decision::Settle { output: "paid".into() }, ToolOutput::ok("paid")),
    ] {
        let replayed = of(AgentKind::React, approved(&decision, outcome));
        assert_eq!(replayed.difference, None, "{decision:?}");
        assert_eq!(replayed.steps.len(), 3);
    }
    let done_all_the_same = difference(approved(&reject, ToolOutput::ok("paid 5")));
    assert!(done_all_the_same.starts_with("differs at step 2 "), "{done_all_the_same}");
    assert!(done_all_the_same.ends_with("what came of it is not what a person decided"));

    let mut bodies = approved(&Decision::Approve, ToolOutput::ok("paid 5"));
    for body in &mut bodies {
        if let EventBody::ApprovalAsked { question: Question::ToolCall { arguments, .. }, .. } = body {
            *arguments = json!({"amount": 500});
        }
    }
    assert!(difference(bodies).contains(r#"a person was asked about pay({"amount":500})"#));
}

#[test]
fn a_run_that_was_taken_over_and_one_that_was_made_from_another_replay() {
    let mut taken_over = payment();
    // The payment's answer was lost, and it was made again.
    let paid = taken_over
        .iter()
        .position(|body| matches!(body, EventBody::StepEnded { key, .. } if key.to_string() == "1"));
    let again = taken_over[paid.unwrap() - 1].clone();
    taken_over.insert(paid.unwrap(), EventBody::Started { attempt: 2 });
    taken_over.insert(paid.unwrap() + 1, again);
    let replayed = of(AgentKind::React, taken_over);
    assert_eq!((replayed.difference, replayed.steps.len()), (None, 3));

    let mut forked = payment();
    let from = RunId::from_uuid(Uuid::nil());
    forked[0] = EventBody::Forked { from, step: "2".parse().unwrap() };
    assert_eq!(of(AgentKind::React, forked).difference, None);
}
