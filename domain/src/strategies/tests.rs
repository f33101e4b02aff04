//! Each strategy against a scripted model: calls, prompts, stop rule, unparseable answers, failure and replay.

use proptest::prelude::*;

use super::{Answer, Brief, Rounds, RoundsOutOfBounds, Strategy, StrategyError};
use crate::effects::{
    EffectFailure, EffectOutcome, EffectRequest, Execution, FailureClass, JournalEntry, Progress,
};
use crate::model::{Message, ModelReply, ModelRequest, StopReason, Usage};

const ACCEPT: &str = r#"{"accept":true,"issues":[]}"#;
const REFUSE: &str = r#"{"accept":false,"issues":["too long"]}"#;

fn said(text: &str) -> EffectOutcome {
    EffectOutcome::Model(ModelReply {
        text: text.into(),
        tool_calls: Vec::new(),
        stop: StopReason::EndTurn,
        usage: Usage::default(),
        model: "scripted".into(),
    })
}

type Ended = (Progress<Result<Answer, StrategyError>>, Vec<ModelRequest>, Vec<JournalEntry>);

/// Runs a strategy to its end; the script answers the calls that the journal does not.
fn drive(strategy: Strategy, journal: Vec<JournalEntry>, script: &[EffectOutcome]) -> Ended {
    let brief = Brief { task: "name a colour".into(), instructions: "be brief".into() };
    let mut appended = journal.clone();
    let mut execution = Execution::start(journal, |fx| strategy.execute(brief, fx));
    let (mut requests, mut script) = (Vec::new(), script.iter());
    loop {
        let issued = match execution.poll() {
            Progress::Waiting(issued) => issued,
            end => return (end, requests, appended),
        };
        for effect in issued {
            let outcome = script.next().expect("the script has an answer").clone();
            appended.push(execution.deliver(&effect.key, outcome).unwrap());
            let EffectRequest::Model(request) = effect.request else { panic!("only models are asked") };
            requests.push(request);
        }
    }
}

fn answered(text: &str) -> Progress<Result<Answer, StrategyError>> {
    Progress::Done(Ok(Answer { text: text.into() }))
}

fn purposes(requests: &[ModelRequest]) -> Vec<&str> {
    requests.iter().map(|request| request.purpose.as_str()).collect()
}

fn prompt(request: &ModelRequest) -> &str {
    match &request.messages[1] {
        Message::User { content } => content,
        other => panic!("not the user's message: {other:?}"),
    }
}

#[test]
fn direct_makes_one_call_with_the_instructions_and_the_task() {
    let (end, requests, _) = drive(Strategy::Direct, Vec::new(), &[said("blue")]);
    assert_eq!(end, answered("blue"));
    assert_eq!(requests[0].messages, [Message::system("be brief"), Message::user("name a colour")]);
    assert_eq!(requests.len(), 1);
}

#[test]
fn reflection_stops_when_the_critic_accepts() {
    let reflection = Strategy::Reflection(Rounds::default());
    let (end, requests, _) = drive(reflection, Vec::new(), &[said("blue"), said(ACCEPT)]);
    assert_eq!(end, answered("blue"));
    assert_eq!(purposes(&requests), ["draft", "critique"]);
}

#[test]
fn reflection_revises_by_the_critique_and_stops_after_its_rounds() {
    let reflection = Strategy::Reflection(Rounds::new(2).unwrap());
    let script = [said("d1"), said(REFUSE), said("d2"), said("no verdict"), said("d3")];
    let (end, requests, _) = drive(reflection, Vec::new(), &script);
    assert_eq!(end, answered("d3"));
    assert_eq!(purposes(&requests), ["draft", "critique", "revise", "critique", "revise"]);
    assert!(prompt(&requests[2]).contains("d1") && prompt(&requests[2]).contains("too long"));
    assert!(prompt(&requests[3]).contains("d2"));
    assert!(prompt(&requests[4]).contains("- no verdict"), "an unparseable critique is an issue as a whole");
}

#[test]
fn rounds_have_bounds() {
    assert_eq!([Rounds::new(0), Rounds::new(6)], [Err(RoundsOutOfBounds); 2]);
    assert!((1..=5).all(|rounds| Rounds::new(rounds).is_ok()));
}

#[test]
fn a_failed_call_ends_the_strategy_with_its_reason() {
    let failure =
        EffectFailure { class: FailureClass::Unavailable, message: "the model is unavailable".into() };
    for strategy in [Strategy::Direct, Strategy::Reflection(Rounds::default())] {
        let (end, _, _) = drive(strategy, Vec::new(), &[EffectOutcome::Failed(failure.clone())]);
        assert_eq!(end, Progress::Done(Err(failure.clone().into())), "{}", strategy.kind());
    }
}

proptest! {
    #[test]
    fn any_prefix_of_the_journal_resumes_to_the_same_answer(
        rounds in 1_u8..=5, accepts in prop::collection::vec(any::<bool>(), 5), cut: prop::sample::Index,
    ) {
        let strategy = Strategy::Reflection(Rounds::new(rounds).unwrap());
        let verdicts = accepts.iter().map(|accept| if *accept { ACCEPT } else { REFUSE });
        let script: Vec<_> = std::iter::once(said("d0"))
            .chain(verdicts.zip(1..).flat_map(|(verdict, n)| [said(verdict), said(&format!("d{n}"))]))
            .collect();
        let (whole, _, journal) = drive(strategy, Vec::new(), &script);
        let kept = cut.index(journal.len() + 1);
        let (again, requests, _) = drive(strategy, journal[..kept].to_vec(), &script[kept..]);
        prop_assert_eq!(again, whole);
        prop_assert_eq!(requests.len(), journal.len() - kept);
    }
}
