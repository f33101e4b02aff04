//! What a run sees of its thread, and the summary that it leaves there.

use powerhouse_domain::effects::{EffectKey, EffectOutcome};
use powerhouse_domain::ids::ThreadId;
use powerhouse_domain::runs::{EventBody, Run, RunEvent, conversation};
use powerhouse_domain::strategies::summary_made;
use powerhouse_domain::threads::{Conversation, MAX_TURNS, Summary};
use powerhouse_ports::Chain;
use powerhouse_ports::store::{StoreError, TenantView};

use super::drive::Drive;

/// What was said before a run.
#[derive(Default)]
pub(super) struct SaidBefore {
    /// As the run sees it.
    pub(super) conversation: Conversation,
    /// Whether the journal does not say it yet.
    pub(super) is_new: bool,
    thread: Option<ThreadId>,
    summary: Option<Summary>,
}

impl SaidBefore {
    /// What the run's journal says; where it says nothing, what the thread says now: the turns before the run's own, none of
    /// which can change any more.
    pub(super) async fn of(
        view: &mut dyn TenantView,
        run: &Run,
        journal: &[RunEvent],
    ) -> Result<Self, StoreError> {
        let place = run.place_in_thread();
        let thread = place.map(|place| place.thread);
        if let Some(shown) = conversation(journal) {
            let mut said = Self { conversation: shown.clone(), is_new: false, thread, summary: None };
            for event in journal {
                if let EventBody::StepEnded { key, outcome, .. } = &event.body {
                    said.hear(key, outcome);
                }
            }
            return Ok(said);
        }
        let Some(place) = place else { return Ok(Self::default()) };
        let Some(found) = view.threads().find(place.thread).await? else { return Ok(Self::default()) };
        let through = found.summary.as_ref().map_or(0, |summary| summary.through);
        let taken = view.threads().turns(place.thread, through, MAX_TURNS).await?;
        let turns = taken.into_iter().map(|taken| taken.turn).filter(|turn| turn.number < place.turn);
        let conversation = Conversation::of(found.summary.map(|summary| summary.text), turns.collect());
        Ok(Self { is_new: !conversation.is_empty(), conversation, thread, summary: None })
    }

    /// What is to be journalled of it.
    pub(super) fn event(&self) -> Option<EventBody> {
        self.is_new.then(|| EventBody::ConversationShown { conversation: self.conversation.clone() })
    }

    /// Takes note of a summary, if this outcome is one.
    pub(super) fn hear(&mut self, key: &EffectKey, outcome: &EffectOutcome) {
        if self.thread.is_some()
            && let Some(summary) = summary_made(&self.conversation, key, outcome)
        {
            self.summary = Some(summary);
        }
    }
}

impl Drive {
    /// Leaves the summary that the run has made with its thread, so that the next run need not make it. It tells of turns that
    /// are over, so it is right whatever becomes of this run; where it cannot be kept, the next run makes another.
    pub(super) async fn keep_summary(&mut self) {
        let (Some(thread), Some(summary)) = (self.said_before.thread, self.said_before.summary.take()) else {
            return;
        };
        let kept = async {
            let mut tx = self.workshop.store.begin(&self.lease.scope()).await?;
            tx.threads().summarise(thread, &summary).await?;
            tx.commit().await
        };
        if let Err(error) = kept.await {
            tracing::warn!(error = %Chain(&error), "the summary of a thread could not be kept");
        }
    }
}
