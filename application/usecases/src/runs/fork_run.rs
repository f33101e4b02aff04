//! A new run from an old one: the same up to a step, and from there anew, or with another outcome of that step.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::effects::{EffectKey, EffectOutcome, SubRunOutput};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::model::{ModelReply, Usage};
use powerhouse_domain::runs::{EventBody, Placement, Run, RunEvent, StepKind};
use powerhouse_domain::tools::ToolOutput;
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::store::{NewEvent, TenantStore};

use super::{Going, find, whole_journal};
use crate::{Once, Refused, permit};

/// From where a run is made anew.
#[derive(Clone, Debug, PartialEq)]
pub struct ForkRunCommand {
    /// The run.
    pub run: RunId,
    /// The first step that is not taken over as it was.
    pub step: EffectKey,
    /// What came of that step, instead of what did; it is performed again when left out.
    pub output: Option<String>,
}

/// Makes runs from others.
#[derive(Clone)]
pub struct ForkRun {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
    /// Lets the new run begin.
    pub going: Going,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl ForkRun {
    /// Accepts a run of the same task and agent, which has the outcomes of all steps that had ended before this one
    /// began. What they consumed was consumed by the other run.
    pub async fn execute(
        &self,
        principal: &Principal,
        command: ForkRunCommand,
        once: &Once<Run>,
    ) -> Result<Run, Refused> {
        let mut tx = once.begin(&*self.store, &principal.scope()).await?;
        let (old, sees) = find::<access::ReadRun>(&mut *tx, principal, command.run).await?;
        let old_id = sees.redeem().run;
        permit::<access::CreateRun>(principal, old.selection().agent, "agent", true)?.redeem();
        let journal = whole_journal(&mut *tx, old_id).await?;
        let now = self.clock.now();
        let taken = taken_over(&journal, &command)?;
        let new = Run::accept(
            RunId::from_uuid(self.ids.next()),
            principal.user_id(),
            old.task().clone(),
            old.selection().clone(),
            *old.limits(),
            now,
        );
        // Delay and deadline were the other run's.
        let Placement { priority, agent_limit, .. } = *old.placement();
        let new = new
            .placed(Placement { priority, agent_limit, ..Placement::default() })
            .admitted_as(principal.role());
        tx.runs().add(&new).await?;
        let forked = EventBody::Forked { from: old_id, step: command.step };
        let mut events = vec![NewEvent { at: now, body: forked }];
        events.extend(taken.into_iter().map(|body| NewEvent { at: now, body }));
        let (last, before) = events.split_last().ok_or(Refused::Stale)?;
        if !before.is_empty() {
            tx.runs().append(&new, before).await?;
        }
        let written = Going::write(&mut *tx, new, last.clone()).await?;
        let (new, seq) = written.ok_or(Refused::Stale)?;
        tx.audit()
            .append(Entry::by(principal, AuditAction::RunForked, new.id(), now).with("from", old_id))
            .await?;
        once.commit(tx, &new).await?;
        self.going.tell(&principal.scope(), new.id(), seq).await;
        Ok(new)
    }
}

/// The steps of the old journal that the new one has.
fn taken_over(journal: &[RunEvent], command: &ForkRunCommand) -> Result<Vec<EventBody>, Refused> {
    let begun = journal.iter().enumerate().find_map(|(index, event)| match &event.body {
        EventBody::StepStarted { key, kind, .. } if *key == command.step => Some((index, kind)),
        _ => None,
    });
    let (begun, kind) = begun.ok_or_else(|| Refused::invalid("/step", "the run has no such step"))?;
    let mut taken = Vec::new();
    let has_ended = |wanted: &EffectKey| {
        journal[..begun]
            .iter()
            .any(|event| matches!(&event.body, EventBody::StepEnded { key, .. } if key == wanted))
    };
    for event in &journal[..begun] {
        match &event.body {
            started @ EventBody::StepStarted { key, .. } if has_ended(key) => taken.push(started.clone()),
            // What was asked for was asked with these.
            shown @ (EventBody::ToolsOffered { .. } | EventBody::ConversationShown { .. }) => {
                taken.push(shown.clone());
            }
            EventBody::StepEnded { key, fingerprint, outcome } => taken.push(EventBody::StepEnded {
                key: key.clone(),
                fingerprint: fingerprint.clone(),
                outcome: unpaid(outcome.clone()),
            }),
            _ => {}
        }
    }
    if let Some(output) = &command.output {
        let ended = journal.iter().find_map(|event| match &event.body {
            EventBody::StepEnded { key, fingerprint, outcome } if *key == command.step => {
                Some((fingerprint.clone(), outcome.clone()))
            }
            _ => None,
        });
        let (fingerprint, outcome) = ended
            .ok_or_else(|| Refused::invalid("/output", "the step has no outcome that could be replaced"))?;
        taken.push(journal[begun].body.clone());
        let outcome = replaced(kind, outcome, output);
        taken.push(EventBody::StepEnded { key: command.step.clone(), fingerprint, outcome });
    }
    Ok(taken)
}

/// The same outcome, which cost this run nothing.
fn unpaid(outcome: EffectOutcome) -> EffectOutcome {
    match outcome {
        EffectOutcome::Model(reply) => EffectOutcome::Model(ModelReply { usage: Usage::default(), ..reply }),
        EffectOutcome::Run(output) => EffectOutcome::Run(SubRunOutput { usage: Usage::default(), ..output }),
        other => other,
    }
}

/// An outcome of this kind of step with another text, also where there was none because the step failed.
fn replaced(kind: &StepKind, outcome: EffectOutcome, output: &str) -> EffectOutcome {
    match kind {
        StepKind::Model { .. } => {
            let model = if let EffectOutcome::Model(reply) = outcome { reply.model } else { String::new() };
            EffectOutcome::Model(ModelReply::text(output, Usage::default(), model))
        }
        StepKind::Tool { .. } => EffectOutcome::Tool(ToolOutput::ok(output)),
        StepKind::Run { .. } => EffectOutcome::Run(SubRunOutput {
            run: if let EffectOutcome::Run(output) = outcome { output.run } else { None },
            content: output.to_owned(),
            is_error: false,
            usage: Usage::default(),
            barred: None,
        }),
    }
}
