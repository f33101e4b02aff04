//! How a drive writes to its run's journal, and reads what others have written there.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::effects::{EffectRequest, Issued};
use powerhouse_domain::ids::ApprovalId;
use powerhouse_domain::runs::{ApprovalRules, EventBody, Provenance, Run};
use powerhouse_ports::events::RunNews;
use powerhouse_ports::store::{NewEvent, StoreError, TenantView, Work};

use super::drive::{Decided, Drive};
use super::scribe::Entry;
use crate::runs::events_after;

/// How often a write is tried while the store is unavailable.
const WRITE_TRIES: u32 = 6;
/// The pause after the first try; it doubles.
const WRITE_PAUSE: Duration = Duration::from_millis(100);

impl Drive {
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        let now = self.workshop.clock.now();
        self.outbox.extend(self.pending.take(now));
        self.write().await
    }

    /// Journals the outbox in one transaction, and tells who watches.
    pub(super) async fn write(&mut self) -> Result<(), StoreError> {
        let decided = self.decided.take();
        let mut entry = Entry {
            work: Work {
                lease: self.lease,
                run: self.run.clone(),
                events: std::mem::take(&mut self.outbox),
                rules: decided.as_ref().map(|decided| decided.rules),
            },
            bill: self.purse.bill(self.children.lent()),
            questions: std::mem::take(&mut self.questions),
            seen: self.seq,
        };
        let mut pause = WRITE_PAUSE;
        let mut attempt = 1;
        let seq = loop {
            self.holding.beat();
            let outcome;
            (entry, outcome) = self.shared.scribe.write(entry).await?;
            match outcome {
                Ok(seq) => break seq,
                Err(StoreError::Unavailable(_)) if attempt < WRITE_TRIES => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                    // The answer may have been lost, and not the write.
                    if let Ok(mut view) = self.workshop.store.read(&self.lease.scope()).await
                        && let Ok(Some(seq)) = entry.was_written(&mut *view).await
                    {
                        break seq;
                    }
                }
                Err(StoreError::RulesChanged) => {
                    self.shared.rules.forget(&self.lease.scope().tenant_id());
                    // What has come is kept; what is to begin, the next drive decides.
                    entry.keep(decided.as_ref().map_or(0, |decided| decided.from));
                    if !entry.work.events.is_empty() {
                        self.shared.scribe.write(entry).await?.1?;
                    }
                    return Err(StoreError::RulesChanged);
                }
                Err(error) => return Err(error),
            }
        };
        self.written(entry, seq).await
    }

    /// Journals what rules let begin, if that is still to be written. A write tells of what one state of the rules has decided,
    /// and of no end that might not come by another.
    pub(super) async fn write_decided(&mut self) -> Result<(), StoreError> {
        if self.decided.is_some() { self.write().await } else { Ok(()) }
    }

    /// What was to be written is in the journal up to here.
    async fn written(&mut self, entry: Entry, seq: u64) -> Result<(), StoreError> {
        let events = entry.work.events;
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        for event in events {
            self.ledger.note(&event.body);
        }
        self.purse.written(entry.bill);
        if seq == self.seq + count {
            self.seq = seq;
        } else {
            // Somebody has written between: an answer, or a wish to pause.
            self.catch_up().await?;
        }
        let news = RunNews { run: self.lease.run(), seq: self.seq };
        self.workshop.bus.publish(&self.lease.scope(), news).await;
        Ok(())
    }

    /// Takes into account what others have written. Whether the run has ended.
    pub(super) async fn catch_up(&mut self) -> Result<bool, StoreError> {
        let mut view = self.workshop.store.read(&self.lease.scope()).await?;
        self.read_on(&mut *view).await
    }

    async fn read_on(&mut self, view: &mut dyn TenantView) -> Result<bool, StoreError> {
        let events = events_after(view, self.lease.run(), self.seq).await?;
        for event in &events {
            self.ledger.note(&event.body);
            self.seq = event.seq;
        }
        self.has_news |= !events.is_empty();
        Ok(events.last().is_some_and(|event| event.body.is_final()))
    }

    /// The tenant's rules as they are now; none where no tool is to be called that nobody was asked about yet. Where they ask
    /// what the run has read, that is known from then on. Whether rules that are at hand are those of now, the write finds out
    /// that lets the calls begin; so they serve only where nothing is under way, which would be lost if they are not.
    pub(super) async fn rules(&mut self) -> Result<Arc<ApprovalRules>, StoreError> {
        let is_new = |issued: &&Issued| !self.ledger.open.contains_key(&issued.key);
        let called: Vec<String> = self
            .undone
            .iter()
            .filter(is_new)
            .filter_map(|issued| match &issued.request {
                EffectRequest::Tool(tool) => Some(tool.name.clone()),
                EffectRequest::Model(_) | EffectRequest::Run(_) => None,
            })
            .collect();
        if self.ledger.is_paused || called.is_empty() {
            return Ok(Arc::default());
        }
        self.write_decided().await?;
        let (agent, tenant) = (self.run.selection().agent, self.lease.scope().tenant_id());
        let is_idle = self.in_flight.is_empty();
        let known = self.shared.rules.get(&tenant).filter(|_| is_idle);
        let depend_on_reading =
            |rules: &ApprovalRules| called.iter().any(|tool| rules.depend_on_reading(agent, tool));
        let is_unread = self.read.is_none();
        if let Some(rules) = known.filter(|rules| !(is_unread && depend_on_reading(rules))) {
            self.decided = Some(self.decided_by(&rules));
            return Ok(rules);
        }
        let mut view = self.workshop.store.read(&self.lease.scope()).await?;
        let rules = self.shared.rules.note(tenant, view.approval_rules().read().await?);
        self.decided = is_idle.then(|| self.decided_by(&rules));
        if !depend_on_reading(&rules) {
            return Ok(rules);
        }
        if self.read.is_none() {
            let journal = events_after(&mut *view, self.lease.run(), 0).await?;
            let task = self.run.task().as_str();
            let is_begun = self.run.lineage().is_some();
            let mut read = if is_begun { Provenance::begun(task) } else { Provenance::given(task) };
            // With what is not written yet.
            let so_far = journal.iter().map(|event| &event.body);
            for body in so_far.chain(self.outbox.iter().map(|event| &event.body)) {
                read.note(body, |name| self.is_outside(name));
            }
            self.read = Some(read);
        }
        Ok(rules)
    }

    fn decided_by(&self, rules: &ApprovalRules) -> Decided {
        Decided { rules: rules.version(), from: self.outbox.len() }
    }

    /// Whether a tool of this name brings in what is not known here.
    fn is_outside(&self, name: &str) -> bool {
        self.allowed.tools.get(name).is_none_or(|tool| tool.reaches_out())
    }

    /// Has an event of a step journalled with the next write.
    pub(super) fn journal(&mut self, at: DateTime<Utc>, body: EventBody) {
        if let Some(mut read) = self.read.take() {
            read.note(&body, |name| self.is_outside(name));
            self.read = Some(read);
        }
        self.outbox.push(NewEvent { at, body });
    }

    /// Stores the run as waiting, unless somebody has written to its journal meanwhile: what it would wait for may have
    /// come. Whether it waits.
    pub(super) async fn wait_as(&mut self, waiting: Run, event: NewEvent) -> Result<bool, StoreError> {
        let mut tx = self.workshop.store.begin(&self.lease.scope()).await?;
        let seq = tx.runs().record(&self.lease, &waiting, std::slice::from_ref(&event)).await?;
        if seq != self.seq + 1 {
            drop(tx);
            self.catch_up().await?;
            return Ok(false);
        }
        if !self.children.is_empty() {
            // This run's row is held: what ends from here on lets it go on.
            let ended = tx.runs().ended_among(&self.children.ids()).await?;
            if !ended.is_empty() {
                drop(tx);
                self.take_ends(&ended);
                return Ok(false);
            }
        }
        tx.commit().await?;
        self.workshop.bus.publish(&self.lease.scope(), RunNews { run: self.lease.run(), seq }).await;
        Ok(true)
    }

    /// Nobody answered in time: says so, unless somebody was faster.
    pub(super) async fn lapse(&mut self, id: ApprovalId, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.workshop.store.begin(&self.lease.scope()).await?;
        let Some(found) = tx.approvals().find(id).await? else {
            return Err(StoreError::CorruptRow { table: "approvals", column: "id" });
        };
        let lapsed = found.lapsed(now);
        let written = tx.approvals().answer(&lapsed).await;
        if let (Ok(()), Some(answer)) = (&written, lapsed.answer()) {
            let body = EventBody::ApprovalAnswered {
                approval: id,
                key: lapsed.key().clone(),
                decision: answer.decision.clone(),
                by: answer.by,
            };
            tx.runs().record(&self.lease, &self.run, &[NewEvent { at: now, body }]).await?;
            tx.commit().await?;
        } else {
            drop(tx);
        }
        match written {
            Ok(()) | Err(StoreError::Conflict { .. }) => self.catch_up().await.map(drop),
            Err(error) => Err(error),
        }
    }

    /// Extends the lease.
    pub(super) async fn extend(&mut self) -> Result<(), StoreError> {
        let lease = self.workshop.settings.lease;
        let expires_at = self.workshop.clock.now() + lease;
        match self.workshop.platform.extend(&self.lease, expires_at).await {
            Ok(()) => {
                self.lease = self.lease.extended(expires_at);
                Ok(())
            }
            // The next beat, or the next write, will tell.
            Err(StoreError::Unavailable(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
