//! Replay is deterministic: any journal, in any order of completion, resumes to the same result.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{Message, ModelRequest, Usage};

/// A strategy with sequence, join and branches: what it returns depends on every outcome.
async fn sample(fx: Effects, first: &'static str) -> EffectResult<String> {
    let opening = fx.tool(first, json!({})).await?;
    let branches = (0..3).map(|n| {
        let fx = fx.branch();
        let seed = opening.content.clone();
        async move {
            let mut text = seed;
            for step in 0..=n {
                text = fx.tool(format!("b{n}s{step}"), json!({ "so_far": text })).await?.content;
            }
            Ok::<_, EffectFailure>(text)
        }
    });
    let parts = fx.join(branches).await?;
    let flat = fx.join((0..2).map(|n| fx.tool("flat", json!({ "n": n })))).await?;
    let flat: Vec<_> = flat.into_iter().map(|output| output.content).collect();
    Ok(format!("{}|{}", parts.join("+"), flat.join("+")))
}

fn perform(request: &EffectRequest) -> EffectOutcome {
    EffectOutcome::Tool(ToolOutput::ok(request.fingerprint().to_string()))
}

/// Drives to the end; `pick` chooses which open effect finishes next.
fn drive(
    journal: Vec<JournalEntry>,
    first: &'static str,
    mut pick: impl FnMut(usize) -> usize,
) -> (Progress<EffectResult<String>>, Vec<JournalEntry>, usize) {
    let mut appended = journal.clone();
    let mut execution = Execution::start(journal, |fx| sample(fx, first));
    let mut open: Vec<Issued> = Vec::new();
    let mut performed = 0;
    loop {
        match execution.poll() {
            Progress::Waiting(issued) => open.extend(issued),
            end => return (end, appended, performed),
        }
        let chosen = open.swap_remove(pick(open.len()));
        appended.push(execution.deliver(&chosen.key, perform(&chosen.request)).unwrap());
        performed += 1;
    }
}

proptest! {
    #[test]
    fn any_prefix_of_any_journal_resumes_to_the_same_result(
        order in prop::collection::vec(any::<prop::sample::Index>(), 16),
        resumed in prop::collection::vec(any::<prop::sample::Index>(), 16),
        cut: prop::sample::Index,
    ) {
        let mut order = order.into_iter().cycle();
        let (whole, journal, performed) = drive(Vec::new(), "open", |n| order.next().unwrap().index(n));
        prop_assert_eq!(performed, 9);

        let kept = cut.index(journal.len() + 1);
        let mut resumed = resumed.into_iter().cycle();
        let (again, _, performed) = drive(journal[..kept].to_vec(), "open", |n| resumed.next().unwrap().index(n));
        prop_assert_eq!(again, whole);
        prop_assert_eq!(performed, 9 - kept, "no journalled effect is performed again");
    }

    #[test]
    fn a_changed_request_is_detected_wherever_it_is(changed: prop::sample::Index) {
        let (_, mut journal, _) = drive(Vec::new(), "open", |_| 0);
        let changed = changed.index(journal.len());
        journal[changed].fingerprint = EffectRequest::Tool(ToolRequest::new("other", json!(1)))
            .fingerprint();
        let key = journal[changed].key.clone();
        let (end, _, performed) = drive(journal, "open", |_| 0);
        prop_assert_eq!(end, Progress::Diverged(Divergence::ChangedRequest { key }));
        prop_assert_eq!(performed, 0);
    }

    #[test]
    fn keys_survive_their_text_form(path in prop::collection::vec(any::<u32>(), 1..6)) {
        let key = path.iter().fold(EffectKey::default(), |key, index| key.child(*index));
        prop_assert_eq!(key.to_string().parse::<EffectKey>(), Ok(key));
    }
}

#[test]
fn a_strategy_that_changed_its_first_call_diverges() {
    let (_, journal, _) = drive(Vec::new(), "open", |_| 0);
    let (end, _, _) = drive(journal, "begin", |_| 0);
    assert!(matches!(end, Progress::Diverged(Divergence::ChangedRequest { key }) if key.to_string() == "0"));
}

#[test]
fn a_journal_with_more_than_the_strategy_does_diverges() {
    let (_, mut journal, _) = drive(Vec::new(), "open", |_| 0);
    let extra = JournalEntry { key: "99".parse().unwrap(), ..journal[0].clone() };
    journal.push(extra);
    let (end, _, _) = drive(journal, "open", |_| 0);
    assert_eq!(end, Progress::Diverged(Divergence::UnusedEntry { key: "99".parse().unwrap() }));
}

#[test]
fn waiting_for_anything_but_an_effect_is_reported() {
    let mut execution = Execution::start([], |_| std::future::pending::<()>());
    assert_eq!(execution.poll(), Progress::Diverged(Divergence::Stalled));
}

#[test]
fn an_outcome_is_taken_once_and_only_of_its_kind() {
    let mut execution = Execution::start([], |fx| sample(fx, "open"));
    let Progress::Waiting(issued) = execution.poll() else { panic!("it asks for its first tool") };
    let key = &issued[0].key;
    let reply = ModelReply::text("", Usage::default(), "m");
    let wrong = execution.deliver(key, EffectOutcome::Model(reply));
    assert_eq!(wrong, Err(DeliveryError::WrongKind(key.clone())));
    execution.deliver(key, perform(&issued[0].request)).unwrap();
    let twice = execution.deliver(key, perform(&issued[0].request));
    assert_eq!(twice, Err(DeliveryError::NotOpen(key.clone())));
}

#[test]
fn object_keys_do_not_change_a_fingerprint_by_their_order() {
    let a: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":2}"#).unwrap();
    let b: serde_json::Value = serde_json::from_str(r#"{"b":2,"a":1}"#).unwrap();
    let fingerprint = |arguments| EffectRequest::Tool(ToolRequest::new("t", arguments)).fingerprint();
    assert_eq!(fingerprint(a), fingerprint(b));
}

/// A request in a schema's form, and a reply to it with this flaw.
fn judged(flaw: Option<&str>) -> (ModelRequest, ModelReply) {
    let request = ModelRequest::thought("judge", vec![Message::user("Well?")])
        .with_schema("verdict", serde_json::json!({"type": "object"}));
    let reply = ModelReply::text("no", Usage::default(), "m");
    (request, ModelReply { flaw: flaw.map(str::to_owned), ..reply })
}

#[test]
fn a_flawed_reply_is_sent_back_once_as_an_effect_of_its_own() {
    let ask = |fx: Effects| async move {
        let first = fx.model(judged(None).0).await?;
        fx.tool("next", serde_json::json!({})).await.map(|_| first)
    };
    let mut execution = Execution::start([], ask);
    let mut journal = Vec::new();
    let mut asked = Vec::new();
    let reply = loop {
        match execution.poll() {
            Progress::Waiting(issued) => {
                for Issued { key, request } in issued {
                    let outcome = match &request {
                        EffectRequest::Model(_) => EffectOutcome::Model(judged(Some("it is no JSON")).1),
                        _ => EffectOutcome::Tool(ToolOutput::ok("")),
                    };
                    journal.push(execution.deliver(&key, outcome).unwrap());
                    asked.push((key.to_string(), request));
                }
            }
            Progress::Done(reply) => break reply.unwrap(),
            Progress::Diverged(divergence) => panic!("{divergence}"),
        }
    };
    assert_eq!(reply.flaw.as_deref(), Some("it is no JSON"), "it says so, and that is all");
    let keys: Vec<_> = asked.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["0", "0.0", "1"]);
    let EffectRequest::Model(repair) = &asked[1].1 else { panic!("no model call") };
    assert_eq!(repair.purpose, "repair_judge");
    assert_eq!(repair.response_schema, judged(None).0.response_schema);
    let told = serde_json::to_string(&repair.messages[1..]).unwrap();
    assert!(told.contains("\"no\"") && told.contains("it is no JSON"), "{told}");
    // It comes to the same end when it is replayed, and when it goes on after the flawed reply.
    for kept in [journal.len(), 1] {
        let mut again = Execution::start(journal[..kept].to_vec(), ask);
        match again.poll() {
            Progress::Done(replayed) => assert_eq!((kept, replayed.unwrap()), (3, reply.clone())),
            Progress::Waiting(issued) => assert_eq!((kept, issued[0].key.to_string()), (1, "0.0".to_owned())),
            Progress::Diverged(divergence) => panic!("{divergence}"),
        }
    }
}

#[test]
fn replies_of_older_journals_are_taken_as_they_are() {
    // Nobody looked at them, so no flaw was found, whatever they say.
    let (request, reply) = judged(None);
    let entry = JournalEntry {
        key: "0".parse().unwrap(),
        fingerprint: EffectRequest::Model(request.clone()).fingerprint(),
        outcome: EffectOutcome::Model(reply.clone()),
    };
    let mut execution = Execution::start([entry], |fx: Effects| async move { fx.model(request).await });
    assert_eq!(execution.poll(), Progress::Done(Ok(reply)));
}
