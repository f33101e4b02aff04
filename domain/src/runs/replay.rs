//! Replaying a run from its journal, offline: its strategy is run from the start and fed what was journalled; no model and
//! no tool is called. What it asks for, what people decided and how it ends is compared with the journal, event by event.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Ending, EventBody, EventHash, Ledger, OpenEffect, Question, RunEvent, StepKind};
use crate::effects::{EffectKey, EffectOutcome, EffectRequest, Execution, Fingerprint, Progress};
use crate::runs::event_hash::steady;
use crate::strategies::{Answer, Brief, Strategy, StrategyError};
use crate::tools::ToolOutput;

/// A line of a journal, with the event hash up to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// What happened.
    pub event: RunEvent,
    /// What the hash was then.
    pub hash: EventHash,
}

/// All that a replay needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// How the agent works.
    pub strategy: Strategy,
    /// What it was given.
    pub brief: Brief,
    /// The whole journal, in its order.
    pub journal: Vec<Recorded>,
}

impl Recording {
    /// Of a journal as it is stored.
    pub fn of(strategy: Strategy, brief: Brief, events: Vec<RunEvent>) -> Self {
        let mut hash = EventHash::start();
        let journal = events
            .into_iter()
            .map(|event| {
                hash = hash.then(&event.body);
                Recorded { event, hash }
            })
            .collect();
        Self { strategy, brief, journal }
    }

    /// The hash of the whole journal, as it was recorded.
    pub fn hash(&self) -> EventHash {
        self.journal.last().map_or_else(EventHash::start, |last| last.hash)
    }
}

/// A step that was replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayedStep {
    /// Counts from 1, in the order in which the journal first tells of them.
    pub number: usize,
    /// Where the strategy asked for it.
    pub key: EffectKey,
    /// What it does.
    pub kind: StepKind,
    /// The hash of what the strategy asked for now.
    pub fingerprint: Fingerprint,
    /// Whether the journal has its outcome.
    pub has_ended: bool,
}

/// Where a replay and its journal part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The step; none when it is about the run's end, or the journal itself.
    pub step: Option<usize>,
    /// The event in the journal.
    pub seq: u64,
    /// What is different, in words.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "differs at step {step} (event {}): {}", self.seq, self.what),
            None => write!(f, "differs at event {}: {}", self.seq, self.what),
        }
    }
}

/// What came of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The steps, up to the first difference.
    pub steps: Vec<ReplayedStep>,
    /// How the journal says that the run ended, if it has.
    pub end: Option<EventBody>,
    /// The event hash of what was replayed.
    pub hash: EventHash,
    /// The first difference. Nothing after it is looked at.
    pub difference: Option<Difference>,
}

/// Replays a run.
pub fn replay(recording: &Recording) -> Replay {
    let Recording { strategy, brief, journal } = recording;
    let (strategy, brief) = (strategy.clone(), brief.clone());
    let mut replayer = Replayer {
        execution: Execution::start([], move |fx| strategy.execute(brief, fx)),
        asked: BTreeMap::new(),
        decided: BTreeMap::new(),
        ledger: Ledger::default(),
        steps: Vec::new(),
        ended: None,
        hash: EventHash::start(),
    };
    replayer.poll();
    let mut end = None;
    for (expected, Recorded { event, hash }) in (1..).zip(journal) {
        let checked = if event.seq != expected {
            Err(format!("the journal has no event {expected}"))
        } else if end.is_some() {
            Err("the run had ended before".to_owned())
        } else {
            replayer.follow(&event.body, *hash)
        };
        if let Err(what) = checked {
            let step = key_of(&event.body).and_then(|key| replayer.number(key));
            let difference = Some(Difference { step, seq: event.seq, what });
            return Replay { steps: replayer.steps, end, hash: replayer.hash, difference };
        }
        if event.body.is_final() {
            end = Some(event.body.clone());
        }
    }
    Replay { steps: replayer.steps, end, hash: replayer.hash, difference: None }
}

/// The effect that an event is about.
fn key_of(event: &EventBody) -> Option<&EffectKey> {
    match event {
        EventBody::StepStarted { key, .. }
        | EventBody::StepEnded { key, .. }
        | EventBody::ApprovalAsked { key, .. }
        | EventBody::ApprovalAnswered { key, .. } => Some(key),
        _ => None,
    }
}

struct Replayer {
    execution: Execution<Result<Answer, StrategyError>>,
    /// What the strategy has asked for.
    asked: BTreeMap<EffectKey, EffectRequest>,
    /// What people said came of calls that are not made.
    decided: BTreeMap<EffectKey, ToolOutput>,
    ledger: Ledger,
    steps: Vec<ReplayedStep>,
    /// How the strategy ended.
    ended: Option<Ending>,
    hash: EventHash,
}

impl Replayer {
    fn poll(&mut self) {
        match catch_unwind(AssertUnwindSafe(|| self.execution.poll())) {
            Ok(Progress::Waiting(issued)) => {
                self.asked.extend(issued.into_iter().map(|issued| (issued.key, issued.request)));
            }
            Ok(Progress::Done(result)) => self.ended = Some(result.into()),
            Ok(Progress::Diverged(divergence)) => self.ended = Some(divergence.into()),
            Err(_) => self.ended = Some(Ending::panicked()),
        }
    }

    fn number(&self, key: &EffectKey) -> Option<usize> {
        self.steps.iter().find(|step| step.key == *key).map(|step| step.number)
    }

    /// Does what an event says was done, and says what is different.
    fn follow(&mut self, event: &EventBody, recorded: EventHash) -> Result<(), String> {
        match event {
            EventBody::StepStarted { key, kind, fingerprint, .. } => {
                let step = self.step(key)?;
                if step.kind != *kind {
                    return Err(format!("the strategy asks for {}", in_words(&step.kind)));
                }
                if fingerprint.as_ref().is_some_and(|recorded| *recorded != step.fingerprint) {
                    return Err(ANOTHER_REQUEST.to_owned());
                }
            }
            EventBody::ApprovalAsked { key, question, .. } => {
                self.step(key)?;
                self.compare_question(key, question)?;
            }
            EventBody::ApprovalAnswered { key, decision, .. } => {
                self.step(key)?;
                self.decided.extend(decision.outcome().map(|output| (key.clone(), output)));
                self.hash = self.hash.then(event);
            }
            EventBody::StepEnded { key, fingerprint, outcome } => self.settle(key, fingerprint, outcome)?,
            end if end.is_final() => self.compare_end(end)?,
            _ => {}
        }
        self.ledger.note(event);
        if self.hash == recorded {
            Ok(())
        } else {
            Err("the event hash is another: the journal was changed".to_owned())
        }
    }

    /// The step of an effect that the journal tells of, and that the strategy has asked for.
    fn step(&mut self, key: &EffectKey) -> Result<&mut ReplayedStep, String> {
        let Some(request) = self.asked.get(key) else {
            return Err(format!("the strategy does not ask for effect {key} here"));
        };
        let index = self.steps.iter().position(|step| step.key == *key).unwrap_or_else(|| {
            self.steps.push(ReplayedStep {
                number: self.steps.len() + 1,
                key: key.clone(),
                kind: StepKind::from(request),
                fingerprint: request.fingerprint(),
                has_ended: false,
            });
            self.steps.len() - 1
        });
        Ok(&mut self.steps[index])
    }

    /// A person was asked about the call that the strategy makes, or about the one that a person made of it.
    fn compare_question(&self, key: &EffectKey, question: &Question) -> Result<(), String> {
        let (Question::ToolCall { name, arguments, .. } | Question::InDoubt { name, arguments }) = question;
        let Some(EffectRequest::Tool(tool)) = self.asked.get(key) else {
            return Err(format!("a person was asked about {name}, and the strategy asks for something else"));
        };
        let edited = match self.ledger.open.get(key) {
            Some(OpenEffect::Begun { arguments, .. } | OpenEffect::Answered { arguments, .. }) => {
                arguments.as_ref()
            }
            _ => None,
        };
        let meant = edited.unwrap_or(&tool.arguments);
        if *name == tool.name && steady(arguments) == steady(meant) {
            Ok(())
        } else {
            Err(format!("a person was asked about {name}({arguments}), and it is {}({meant})", tool.name))
        }
    }

    fn settle(
        &mut self,
        key: &EffectKey,
        fingerprint: &Fingerprint,
        outcome: &EffectOutcome,
    ) -> Result<(), String> {
        self.step(key)?;
        if self.decided.remove(key).is_some_and(|decided| EffectOutcome::Tool(decided) != *outcome) {
            return Err("what came of it is not what a person decided".to_owned());
        }
        let entry = self.execution.deliver(key, outcome.clone()).map_err(|error| error.to_string())?;
        if entry.fingerprint != *fingerprint {
            return Err(ANOTHER_REQUEST.to_owned());
        }
        self.hash = self.hash.then(&entry.into());
        self.step(key)?.has_ended = true;
        self.asked.remove(key);
        if self.ended.is_none() {
            self.poll();
        }
        Ok(())
    }

    /// A run ends as its strategy does, unless it was ended from outside.
    fn compare_end(&mut self, recorded: &EventBody) -> Result<(), String> {
        let replayed = match &self.ended {
            _ if is_from_outside(recorded, self.ended.is_some()) => recorded.clone(),
            Some(ending) => ending.event(),
            None => {
                return Err(format!("the journal {}, and the strategy still waits", told(recorded)));
            }
        };
        self.hash = self.hash.then(&replayed);
        if replayed == *recorded {
            Ok(())
        } else {
            Err(format!("the journal {}, the strategy {}", told(recorded), told(&replayed)))
        }
    }
}

const ANOTHER_REQUEST: &str = "the strategy asks for something else than the journal says";

/// Whether whoever drove the run ended it, and not its strategy. A limit is reached by what a strategy asks for next.
fn is_from_outside(end: &EventBody, strategy_has_ended: bool) -> bool {
    match end {
        EventBody::Cancelled | EventBody::TimedOut => true,
        EventBody::Failed { code, .. } => match code.as_str() {
            "stalled" | "agent_gone" => true,
            "limit_reached" => !strategy_has_ended,
            _ => false,
        },
        _ => false,
    }
}

fn in_words(kind: &StepKind) -> String {
    match kind {
        StepKind::Model { purpose } => format!("the model, for `{purpose}`"),
        StepKind::Tool { name } => format!("the tool `{name}`"),
        StepKind::Run { agent } => format!("a run of the agent `{agent}`"),
    }
}

/// The most characters of an answer that a difference shows.
const MAX_SHOWN: usize = 160;

fn told(end: &EventBody) -> String {
    match end {
        EventBody::Succeeded { answer } => {
            format!("answers {:?}", answer.chars().take(MAX_SHOWN).collect::<String>())
        }
        EventBody::Failed { code, message } => format!("fails with {code} ({message})"),
        other => format!("ends with {}", other.name()),
    }
}

#[cfg(test)]
mod tests;
