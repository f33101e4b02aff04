//! Writes what the runs of a process did: together what waits at the same time (ADR 0029).
//!
//! In the plain case all tenants' at once, by [`TenantStore::record_plain`]. What is not plain goes with what else waits of the
//! same tenant, in a transaction of that one. A write goes at once when nothing is on its way; what comes meanwhile goes
//! together after it.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::TenantId;
use powerhouse_domain::runs::Approval;
use powerhouse_ports::Chain;
use powerhouse_ports::store::{Plain, StoreError, TenantStore, TenantTx, TenantView, Work};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::bill::{Bill, settle_up};
use crate::runs::events_after;

/// The most runs that are written together.
const MOST: usize = 64;
/// What a run has to write.
pub(super) struct Entry {
    pub(super) work: Work,
    pub(super) bill: Bill,
    /// What people are to be asked.
    pub(super) questions: Vec<Approval>,
    /// The newest event that the run's drive has read or written.
    pub(super) seen: u64,
}

impl Entry {
    /// Leaves of it what was there before it was decided what is to begin: so many events, and the bill for them.
    pub(super) fn keep(&mut self, events: usize) {
        self.work.events.truncate(events);
        self.work.rules = None;
        self.bill.wanted.clear();
        self.questions.clear();
    }

    /// Where the events are in the journal, if they are there: the answer to a write may have been lost, and not the write.
    pub(super) async fn was_written(&self, view: &mut dyn TenantView) -> Result<Option<u64>, StoreError> {
        let Work { lease, events, .. } = &self.work;
        let Some(first) = events.first() else { return Ok(None) };
        let journal = events_after(view, lease.run(), self.seen).await?;
        let found = journal.iter().find(|event| event.at == first.at && event.body == first.body);
        let last = u64::try_from(events.len()).unwrap_or(u64::MAX) - 1;
        Ok(found.map(|event| event.seq + last))
    }
}

/// What came of an entry; nothing, when it is to be written in a transaction of its tenant.
type Outcome = Option<Result<u64, StoreError>>;

/// An entry, and who waits for what comes of it.
struct Sent {
    entry: Entry,
    answer: oneshot::Sender<(Entry, Outcome)>,
}

/// What is written together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    /// The plain case, of all tenants.
    Plain,
    /// Whatever is of one tenant.
    Of(TenantId),
}

impl Lane {
    /// How many transactions may be on their way.
    const fn writers(self) -> usize {
        match self {
            // While one waits for the disk, the database has work with the other.
            Self::Plain => 2,
            Self::Of(_) => 1,
        }
    }
}

/// What waits in a lane, the longest first, and how many write.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Sent>,
    writers: usize,
}

/// Writes for the drives of one process.
pub(super) struct Scribe {
    desk: Arc<Desk>,
    /// What is on its way ends with the process that began it.
    writing: Mutex<JoinSet<()>>,
}

struct Desk {
    store: Arc<dyn TenantStore>,
    queues: Mutex<HashMap<Lane, Queue>>,
}

impl Scribe {
    pub(super) fn new(store: Arc<dyn TenantStore>) -> Self {
        let desk = Arc::new(Desk { store, queues: Mutex::default() });
        Self { desk, writing: Mutex::default() }
    }

    /// Writes an entry, and gives it back with its newest sequence number, or with why it was not written.
    pub(super) async fn write(&self, entry: Entry) -> Result<(Entry, Result<u64, StoreError>), StoreError> {
        let own = Lane::Of(entry.work.lease.scope().tenant_id());
        let run = &entry.work.run;
        let frees_another = run.lineage().is_some() && run.state().name().is_final();
        let is_plain = entry.questions.is_empty() && entry.bill.is_plain() && !frees_another;
        let (entry, outcome) = self.send(if is_plain { Lane::Plain } else { own }, entry).await?;
        if let Some(outcome) = outcome {
            return Ok((entry, outcome));
        }
        let (entry, outcome) = self.send(own, entry).await?;
        Ok((entry, outcome.unwrap_or(Err(StoreError::LeaseLost))))
    }

    async fn send(&self, lane: Lane, entry: Entry) -> Result<(Entry, Outcome), StoreError> {
        let (answer, written) = oneshot::channel();
        if self.desk.put(lane, Sent { entry, answer }) {
            let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            while writing.try_join_next().is_some() {}
            writing.spawn(Arc::clone(&self.desk).serve(lane));
        }
        written.await.map_err(|gone| StoreError::Internal(Box::new(gone)))
    }
}

impl Desk {
    /// Whether one more is to write.
    fn put(&self, lane: Lane, sent: Sent) -> bool {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(lane).or_default();
        queue.waiting.push_back(sent);
        let is_called = queue.writers < lane.writers();
        queue.writers += usize::from(is_called);
        is_called
    }

    /// What is written next; nothing, and then one writes no more.
    fn take(&self, lane: Lane) -> Vec<Sent> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queues.get_mut(&lane) else { return Vec::new() };
        let taken: Vec<_> = queue.waiting.drain(..queue.waiting.len().min(MOST)).collect();
        if taken.is_empty() {
            queue.writers -= 1;
            if queue.writers == 0 {
                queues.remove(&lane);
            }
        }
        taken
    }

    async fn serve(self: Arc<Self>, lane: Lane) {
        loop {
            let sent = self.take(lane);
            if sent.is_empty() {
                return;
            }
            // Whoever waited hears that nobody answers.
            if AssertUnwindSafe(self.answer(lane, sent)).catch_unwind().await.is_err() {
                tracing::error!("writing what runs did failed unexpectedly");
            }
        }
    }

    async fn answer(&self, lane: Lane, sent: Vec<Sent>) {
        let (mut entries, answers): (Vec<_>, Vec<_>) =
            sent.into_iter().map(|Sent { entry, answer }| (entry, answer)).unzip();
        let outcomes = match (lane, entries.first().map(|entry| entry.work.lease.scope())) {
            (Lane::Of(_), Some(scope)) => {
                let outcomes = match self.together(&scope, &mut entries).await {
                    Ok(outcomes) => outcomes,
                    Err(error) => self.alone(&scope, &mut entries, error).await,
                };
                outcomes.into_iter().map(Some).collect()
            }
            _ => self.plainly(&mut entries).await,
        };
        for ((entry, outcome), answer) in entries.into_iter().zip(outcomes).zip(answers) {
            // Whoever does not wait any more has no use for it.
            let _ = answer.send((entry, outcome));
        }
    }

    /// Writes what is plain.
    async fn plainly(&self, entries: &mut [Entry]) -> Vec<Outcome> {
        let decided =
            entries.iter_mut().map(|Entry { work, bill, .. }| (bill.decide_freely(work), bill.used()));
        let decided: Vec<_> = decided.collect();
        let plain = entries.iter().zip(&decided).map(|(Entry { work, seen, .. }, (is_free, used))| Plain {
            work,
            seen: *seen,
            is_free: *is_free,
            used,
        });
        match self.store.record_plain(&plain.collect::<Vec<_>>()).await {
            Ok(newest) => newest.into_iter().map(|newest| newest.map(Ok)).collect(),
            Err(StoreError::Unavailable(source)) => {
                let why = source.to_string();
                entries.iter().map(|_| Some(Err(StoreError::Unavailable(why.clone().into())))).collect()
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), runs = entries.len(), "what runs did could not be written at once");
                entries.iter().map(|_| None).collect()
            }
        }
    }

    /// After a transaction of several that failed as a whole: each by itself, so that one harms no other.
    async fn alone(
        &self,
        scope: &TenantScope,
        entries: &mut [Entry],
        error: StoreError,
    ) -> Vec<Result<u64, StoreError>> {
        if entries.len() == 1 {
            return vec![Err(error)];
        }
        tracing::warn!(error = %Chain(&error), runs = entries.len(), "what several runs did could not be written together");
        let is_away = matches!(error, StoreError::Unavailable(_));
        let mut outcomes = Vec::new();
        for entry in entries {
            outcomes.push(if is_away {
                Err(StoreError::Unavailable("written together with others".into()))
            } else {
                let alone = self.together(scope, std::slice::from_mut(entry)).await;
                alone.and_then(|mut outcomes| outcomes.pop().unwrap_or(Err(StoreError::LeaseLost)))
            });
        }
        outcomes
    }

    /// Writes entries in one transaction: for each its newest sequence number, or why it was refused.
    async fn together(
        &self,
        scope: &TenantScope,
        entries: &mut [Entry],
    ) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        let mut outcomes: Vec<Option<Result<u64, StoreError>>> = entries.iter().map(|_| None).collect();
        while outcomes.iter().any(Option::is_none) {
            let mut tx = self.store.begin(scope).await?;
            if write(&mut *tx, entries, &mut outcomes).await? {
                tx.commit().await?;
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }
}

/// Writes the entries that have no outcome, and gives them one. Whether the transaction is to be committed: some may turn
/// out to be there already, and what was begun for them is to be undone.
async fn write(
    tx: &mut dyn TenantTx,
    entries: &mut [Entry],
    outcomes: &mut [Option<Result<u64, StoreError>>],
) -> Result<bool, StoreError> {
    let mut open: Vec<_> =
        entries.iter_mut().zip(outcomes).filter(|(_, outcome)| outcome.is_none()).collect();
    let work: Vec<&Work> = open.iter().map(|(entry, _)| &entry.work).collect();
    let advanced = tx.runs().advance(&work).await?;
    let mut numbers = Vec::new();
    let mut is_there = false;
    for ((entry, outcome), advanced) in open.iter_mut().zip(advanced) {
        match advanced {
            Ok(advanced) => {
                if advanced.before > entry.seen
                    && let Some(seq) = entry.was_written(tx).await?
                {
                    **outcome = Some(Ok(seq));
                    is_there = true;
                }
                numbers.push(advanced);
            }
            Err(refused) => **outcome = Some(Err(refused)),
        }
    }
    if is_there {
        return Ok(false);
    }
    open.retain(|(_, outcome)| outcome.is_none());
    if open.is_empty() {
        return Ok(false);
    }
    let mut billed: Vec<_> = open.iter_mut().map(|(entry, _)| (&mut entry.work, &mut entry.bill)).collect();
    settle_up(tx, &mut billed, &numbers).await?;
    let work: Vec<&Work> = open.iter().map(|(entry, _)| &entry.work).collect();
    tx.runs().journal(&work, &numbers).await?;
    for ((entry, outcome), numbers) in open.iter_mut().zip(&numbers) {
        for approval in &entry.questions {
            tx.approvals().add(approval).await?;
        }
        **outcome = Some(Ok(numbers.after(&entry.work.events)));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use async_trait::async_trait;
    use chrono::DateTime;
    use powerhouse_domain::ids::{AgentId, RunId, UserId};
    use powerhouse_domain::model::Usage;
    use powerhouse_domain::runs::{FencingToken, Lease, Run, RunLimits, Task};
    use powerhouse_domain::selection;
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;

    /// A store whose plain writes wait for leave. It has no other way.
    struct Slow {
        /// How many were in each write.
        writes: Mutex<Vec<usize>>,
        leave: Semaphore,
        knows_plain: bool,
    }

    #[async_trait]
    impl TenantStore for Slow {
        async fn begin(&self, _: &TenantScope) -> Result<Box<dyn TenantTx>, StoreError> {
            Err(StoreError::Unavailable("there is no other way".into()))
        }

        async fn read(&self, _: &TenantScope) -> Result<Box<dyn TenantView>, StoreError> {
            Err(StoreError::Unavailable("there is no other way".into()))
        }

        async fn record_plain<'a>(&self, work: &[Plain<'a>]) -> Result<Vec<Option<u64>>, StoreError> {
            self.writes.lock().unwrap().push(work.len());
            self.leave.acquire().await.unwrap().forget();
            Ok(work.iter().map(|plain| self.knows_plain.then_some(plain.seen + 1)).collect())
        }
    }

    fn entry(tenant: u128, seen: u64) -> Entry {
        let (user, agent) = (UserId::from_uuid(Uuid::nil()), AgentId::from_uuid(Uuid::nil()));
        let id = RunId::from_uuid(Uuid::from_u128(seen.into()));
        let (now, chosen) = (DateTime::UNIX_EPOCH, selection::named(agent, 1));
        let limits = RunLimits { steps: 9, tokens: 9, cost_micros: 0, wall_clock: Duration::from_secs(9) };
        let run = Run::accept(id, user, Task::new("go").unwrap(), chosen, limits, now);
        let tenant = TenantId::from_uuid(Uuid::from_u128(tenant));
        let lease = Lease::granted(tenant, id, FencingToken(1), now, 0);
        let bill = Bill {
            user,
            agent,
            under_way: Usage::default(),
            wanted: Vec::new(),
            settled: Vec::new(),
            decided: BTreeMap::new(),
            prices: None,
            has_terms: false,
        };
        Entry {
            work: Work { lease, run, events: Vec::new(), rules: None },
            bill,
            questions: Vec::new(),
            seen,
        }
    }

    fn slow(knows_plain: bool) -> (Arc<Slow>, Arc<Scribe>) {
        let store = Arc::new(Slow { writes: Mutex::default(), leave: Semaphore::new(0), knows_plain });
        let scribe = Arc::new(Scribe::new(store.clone()));
        (store, scribe)
    }

    #[tokio::test]
    async fn what_comes_while_others_are_written_goes_together_whosever_it_is() {
        let (store, scribe) = slow(true);
        let mut writing = JoinSet::new();
        for seen in 1..=9 {
            let scribe = Arc::clone(&scribe);
            writing.spawn(async move { scribe.write(entry(seen.into(), seen)).await.unwrap() });
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        while store.writes.lock().unwrap().len() < Lane::Plain.writers() {
            tokio::task::yield_now().await;
        }
        store.leave.add_permits(9);
        for (entry, outcome) in writing.join_all().await {
            assert_eq!(outcome.unwrap(), entry.seen + 1, "each has its own answer");
        }
        let writes = store.writes.lock().unwrap().clone();
        assert_eq!(writes.iter().sum::<usize>(), 9);
        assert!(writes.len() < 5, "two at once, and then what waited: {writes:?}");
        assert!(scribe.desk.queues.lock().unwrap().is_empty(), "nobody writes any more");
    }

    #[tokio::test]
    async fn what_is_not_plain_goes_the_tenants_way() {
        let (store, scribe) = slow(false);
        store.leave.add_permits(1);
        let (back, outcome) = scribe.write(entry(1, 5)).await.unwrap();
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        assert_eq!(
            (back.seen, store.writes.lock().unwrap().len()),
            (5, 1),
            "the entry comes back, to be tried again"
        );
    }

    #[tokio::test]
    async fn writing_ends_with_who_writes() {
        let (store, scribe) = slow(true);
        let waiting = tokio::spawn({
            let scribe = Arc::clone(&scribe);
            async move { scribe.write(entry(1, 1)).await.map(drop) }
        });
        while store.writes.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        drop(waiting.await);
        assert_eq!(Arc::strong_count(&scribe), 1);
        drop(scribe);
        while Arc::strong_count(&store) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
