//! Why a run went as it did: everything that its journal says, in the order in which a person asks.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Decision, EventBody, EventHash, Ledger, Question, Run, RunEvent, StepKind};
use crate::access::Role;
use crate::effects::{Barred, EffectKey, EffectOutcome, Fingerprint};
use crate::ids::{ApprovalId, BudgetId, RunId, StepId, UserId};
use crate::model::Usage;
use crate::money::in_flight;

/// Why a run went as it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The role that allowed whoever asked for the run to start it.
    pub admitted_as: Option<Role>,
    /// The run that it was made from, and the first step that was not taken over.
    pub forked: Option<(RunId, EffectKey)>,
    /// The budgets that its model calls were counted against.
    pub budgets: BTreeSet<BudgetId>,
    /// Each time that a worker began it, or took it over.
    pub attempts: Vec<Attempt>,
    /// Its steps, in the order in which the journal first tells of them.
    pub steps: Vec<StepTold>,
    /// When it waited, and for what.
    pub waits: Vec<Wait>,
    /// When people let it stand still.
    pub pauses: Vec<Pause>,
    /// How long it took.
    pub times: Times,
    /// What it cost.
    pub cost: Cost,
    /// What it did, as a hash.
    pub hash: EventHash,
}

/// A worker's claim on the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Grows with every claim; not every claim gets as far as to begin.
    pub number: u32,
    /// When it began.
    pub at: DateTime<Utc>,
}

/// A step, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTold {
    /// Counts from 1.
    pub number: usize,
    /// The first event that tells of it.
    pub seq: u64,
    /// Where the strategy asked for it.
    pub key: EffectKey,
    /// What it does.
    pub kind: StepKind,
    /// The hash of what was asked for, once it was begun; older journals have none before the end.
    pub fingerprint: Option<Fingerprint>,
    /// Its id, once it was begun.
    pub id: Option<StepId>,
    /// Each time that it was begun. More than once: whoever had begun it was lost, and it was performed again.
    pub begun: Vec<DateTime<Utc>>,
    /// Whether it was taken over from the run that this one was made from, which has paid for it.
    pub is_taken_over: bool,
    /// What people were asked about it.
    pub asked: Vec<Asked>,
    /// What came of it, and when.
    pub ended: Option<(EffectOutcome, DateTime<Utc>)>,
}

impl StepTold {
    /// From its last beginning to its end.
    pub fn duration(&self) -> Option<TimeDelta> {
        let (_, ended_at) = self.ended.as_ref()?;
        Some((*ended_at - *self.begun.last()?).max(TimeDelta::zero()))
    }

    /// Whether nobody knew, for a time, if its call had taken effect, so that a person was asked.
    pub fn was_in_doubt(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked.question, Question::InDoubt { .. }))
    }

    /// Why whoever asked for the run may not run the agent that was to do something, where that is why it did not.
    pub fn barred(&self) -> Option<Barred> {
        match self.ended {
            Some((EffectOutcome::Run(ref output), _)) => output.barred,
            _ => None,
        }
    }

    /// What it consumed.
    pub fn usage(&self) -> Usage {
        match &self.ended {
            Some((outcome, _)) => outcome.usage(),
            None => Usage::default(),
        }
    }
}

/// What a person was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The question's id.
    pub approval: ApprovalId,
    /// The question.
    pub question: Question,
    /// When.
    pub at: DateTime<Utc>,
    /// Until when an answer counted.
    pub expires_at: DateTime<Utc>,
    /// The answer.
    pub answer: Option<Told>,
}

/// What a person said.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What.
    pub decision: Decision,
    /// Who; nobody, when the time was over.
    pub by: Option<UserId>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A time in which no worker had the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What it waited for.
    pub reason: String,
    /// Since when.
    pub from: DateTime<Utc>,
    /// Until when; it still waits when there is none.
    pub until: Option<DateTime<Utc>>,
}

/// A time in which nothing was begun because somebody wanted it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Who wanted it.
    pub by: UserId,
    /// Since when.
    pub from: DateTime<Utc>,
    /// Who let it go on, and when.
    pub resumed: Option<(UserId, DateTime<Utc>)>,
}

/// How long a run took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From when it might be claimed to when a worker first had it; nothing while none has.
    pub queued: Option<TimeDelta>,
    /// For what it waited outside, in all.
    pub waited: TimeDelta,
    /// From its first worker to its end, less what it waited.
    pub worked: TimeDelta,
}

/// What a run cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// What counts for the run: its steps, and calls that were lost.
    pub used: Usage,
    /// What its steps used.
    pub steps: Usage,
    /// Calls whose outcome nobody knows: whoever made them was lost, or the run ended. They may have been billed.
    pub lost: Vec<LostCall>,
    /// What is set aside for calls that are under way.
    pub reserved: Usage,
}

impl Cost {
    /// What of the lost calls counts for the run.
    pub fn lost_and_counted(&self) -> Usage {
        self.lost.iter().filter(|call| call.counts).map(|call| call.amount).sum()
    }
}

/// A call whose outcome nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostCall {
    /// The effect.
    pub key: EffectKey,
    /// The model that was asked.
    pub model: String,
    /// The most that it can have used: so much is counted.
    pub amount: Usage,
    /// When it was found lost.
    pub at: DateTime<Utc>,
    /// Whether it counts for the run. One that is under way when the run is cancelled counts for budgets and the usage of
    /// the tenant, not for the run, whose end was written without its worker.
    pub counts: bool,
}

/// Explains a run by its journal, which is the whole journal in its order.
pub fn explain(run: &Run, events: &[RunEvent]) -> Explanation {
    let steps = told_steps(events);
    let cost = cost(run, events, &steps);
    Explanation {
        admitted_as: run.admission(),
        forked: events.iter().find_map(|event| match &event.body {
            EventBody::Forked { from, step } => Some((*from, step.clone())),
            _ => None,
        }),
        budgets: budgets(events),
        attempts: attempts(events),
        waits: waits(events),
        pauses: pauses(events),
        times: times(run, events),
        cost,
        steps,
        hash: EventHash::of(events),
    }
}

fn budgets(events: &[RunEvent]) -> BTreeSet<BudgetId> {
    events
        .iter()
        // What a fork took over was counted for the other run.
        .skip_while(|event| !matches!(event.body, EventBody::Started { .. }))
        .filter_map(|event| match &event.body {
            EventBody::StepStarted { reservation: Some(reservation), .. } => Some(&reservation.windows),
            _ => None,
        })
        .flatten()
        .map(|window| window.budget)
        .collect()
}

fn attempts(events: &[RunEvent]) -> Vec<Attempt> {
    events
        .iter()
        .filter_map(|event| match event.body {
            EventBody::Started { attempt } => Some(Attempt { number: attempt, at: event.at }),
            _ => None,
        })
        .collect()
}

fn told_steps(events: &[RunEvent]) -> Vec<StepTold> {
    let mut steps: Vec<StepTold> = Vec::new();
    let mut has_begun = false;
    for RunEvent { seq, at, body } in events {
        match body {
            EventBody::Started { .. } => has_begun = true,
            EventBody::StepStarted { step, key, kind, fingerprint, .. } => {
                let told = find_or_add(&mut steps, *seq, key, kind.clone());
                told.id.get_or_insert(*step);
                told.begun.push(*at);
                told.is_taken_over = !has_begun;
                told.fingerprint.clone_from(fingerprint);
            }
            EventBody::ApprovalAsked { approval, key, question, expires_at } => {
                let (Question::ToolCall { name, .. } | Question::InDoubt { name, .. }) = question;
                let kind = StepKind::Tool { name: name.clone() };
                find_or_add(&mut steps, *seq, key, kind).asked.push(Asked {
                    approval: *approval,
                    question: question.clone(),
                    at: *at,
                    expires_at: *expires_at,
                    answer: None,
                });
            }
            EventBody::ApprovalAnswered { approval, key, decision, by } => {
                let told = steps.iter_mut().find(|told| told.key == *key);
                let mut asked = told.into_iter().flat_map(|told| &mut told.asked);
                if let Some(asked) = asked.find(|asked| asked.approval == *approval) {
                    asked.answer = Some(Told { decision: decision.clone(), by: *by, at: *at });
                }
            }
            EventBody::StepEnded { key, fingerprint, outcome } => {
                if let Some(told) = steps.iter_mut().find(|told| told.key == *key)
                    && told.ended.is_none()
                {
                    told.ended = Some((outcome.clone(), *at));
                    told.fingerprint = Some(fingerprint.clone());
                }
            }
            _ => {}
        }
    }
    steps
}

fn find_or_add<'a>(
    steps: &'a mut Vec<StepTold>,
    seq: u64,
    key: &EffectKey,
    kind: StepKind,
) -> &'a mut StepTold {
    let index = steps.iter().position(|told| told.key == *key).unwrap_or_else(|| {
        steps.push(StepTold {
            number: steps.len() + 1,
            seq,
            key: key.clone(),
            kind,
            fingerprint: None,
            id: None,
            begun: Vec::new(),
            is_taken_over: false,
            asked: Vec::new(),
            ended: None,
        });
        steps.len() - 1
    });
    &mut steps[index]
}

fn waits(events: &[RunEvent]) -> Vec<Wait> {
    let mut waits: Vec<Wait> = Vec::new();
    for RunEvent { at, body, .. } in events {
        // A wish to pause does not end the wait.
        if let Some(last) = waits.last_mut()
            && last.until.is_none()
            && !matches!(body, EventBody::PauseAsked { .. })
        {
            last.until = Some(*at);
        }
        if let EventBody::Waiting { reason } = body {
            waits.push(Wait { reason: reason.clone(), from: *at, until: None });
        }
    }
    waits
}

fn pauses(events: &[RunEvent]) -> Vec<Pause> {
    let mut pauses: Vec<Pause> = Vec::new();
    for RunEvent { at, body, .. } in events {
        let open = pauses.last_mut().filter(|pause| pause.resumed.is_none());
        match (body, open) {
            (EventBody::PauseAsked { by }, None) => {
                pauses.push(Pause { by: *by, from: *at, resumed: None });
            }
            (EventBody::Resumed { by }, Some(open)) => open.resumed = Some((*by, *at)),
            _ => {}
        }
    }
    pauses
}

fn times(run: &Run, events: &[RunEvent]) -> Times {
    let begun = attempts(events).first().map(|first| first.at);
    let due = run.placement().not_before.unwrap_or(run.created_at()).max(run.created_at());
    let between = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).max(TimeDelta::zero());
    let waited = Ledger::of(events).waited;
    let worked = begun.zip(events.last()).map(|(begun, last)| between(begun, last.at) - waited);
    Times {
        queued: begun.map(|begun| between(due, begun)),
        waited,
        worked: worked.unwrap_or_default().max(TimeDelta::zero()),
    }
}

fn cost(run: &Run, events: &[RunEvent], steps: &[StepTold]) -> Cost {
    let mut lost = Vec::new();
    for (index, RunEvent { at, body, .. }) in events.iter().enumerate() {
        let counts = match body {
            EventBody::Cancelled => false,
            EventBody::Failed { code, .. } if code == "agent_gone" => false,
            EventBody::Started { .. } => true,
            body if body.is_final() => true,
            _ => continue,
        };
        lost.extend(in_flight(&events[..index]).into_iter().map(|(key, call)| LostCall {
            key,
            model: call.model,
            amount: call.amount,
            at: *at,
            counts,
        }));
    }
    Cost {
        used: run.usage(),
        steps: steps.iter().map(StepTold::usage).sum(),
        lost,
        reserved: in_flight(events).into_values().map(|call| call.amount).sum(),
    }
}

#[cfg(test)]
mod tests;
