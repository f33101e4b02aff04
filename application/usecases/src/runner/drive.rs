//! Driving one run: from the journal to its end, or until the lease is lost or the process stops.
//!
//! What an effect gave and what is asked for next are journalled in one transaction, before the next effect that leaves the
//! process is performed; a call that stays in it is journalled with what follows (ADR 0052). No transaction is open while
//! effects are performed (ADR 0003).

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use powerhouse_domain::agents::{Definition, PublishedVersion};
use powerhouse_domain::effects::{EffectKey, EffectOutcome, Execution, Issued, Progress};
use powerhouse_domain::ids::TenantId;
use powerhouse_domain::runs::{
    Approval, Ending, EventBody, Lease, Ledger, Provenance, Run, RunEvent, RunState, RunTransitionRefused,
    Selection, offered, settled,
};
use powerhouse_domain::strategies::{Answer, Brief, StrategyError};
use powerhouse_ports::Chain;
use powerhouse_ports::events::RunNews;
use powerhouse_ports::store::{ClaimedRun, NewEvent, StoreError, TenantView};
use powerhouse_ports::tools::RunContext;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::bill::settle_in_flight;
use super::deltas::Pending;
use super::dispatch::Dispatched;
use super::family::{Children, has_begun_runs, is_orphan, may_begin};
use super::perform::{Allowed, Delta};
use super::pulse::Holding;
use super::spending::Purse;
use super::taking::Taken;
use super::threads::SaidBefore;
use super::{Shared, Workshop};
use crate::measure::{DriveInFlight, drive_left, run_ended};
use crate::tools::Resolved;

/// How often text that has come is written, at most.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// Pieces of text on their way; a model that is faster waits.
const DELTAS_ON_THEIR_WAY: usize = 256;
/// How many claims in a row may come to nothing before the run is given up.
const MAX_UNPRODUCTIVE: u32 = 5;

/// Drives a run as far as it can.
pub(super) async fn drive(
    workshop: Arc<Workshop>,
    shared: Arc<Shared>,
    lease: Lease,
    taken: Taken,
    holding: Holding,
    stop: CancellationToken,
) {
    let _in_flight = DriveInFlight::begin();
    let result = match Drive::begin(Arc::clone(&workshop), shared, lease, taken, holding).await {
        Ok(Some(drive)) => drive.run(&stop).await,
        Ok(None) => Ok(Left::Ended),
        Err(error) => Err(error),
    };
    drive_left(match &result {
        Ok(Left::Ended) => "ended",
        Ok(Left::Stopping) => "handed_back",
        Ok(Left::Waiting) => "waiting",
        Ok(Left::Stuck) => "stuck",
        Err(StoreError::LeaseLost) => "lease_lost",
        Err(StoreError::RulesChanged) => "rules_changed",
        Err(_) => "failed",
    });
    match result {
        Ok(Left::Ended | Left::Waiting) => {}
        // Its lease runs out.
        Ok(Left::Stuck) => tracing::warn!("nothing has moved for too long: another worker is to try"),
        // The other rules are for the next drive, which begins from the journal.
        Ok(Left::Stopping) | Err(StoreError::RulesChanged) => {
            if let Err(error) = workshop.platform.release(&lease).await {
                tracing::warn!(error = %Chain(&error), "a lease could not be handed back");
            }
        }
        Err(StoreError::LeaseLost) => tracing::info!("the run was ended or taken over by another worker"),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "the run was left for another try");
        }
    }
}

/// How a drive was left.
enum Left {
    /// The run has ended, by this worker or by somebody else.
    Ended,
    /// The process stops; the run goes on elsewhere.
    Stopping,
    /// It waits for people, and is nobody's.
    Waiting,
    /// Nothing has moved for so long that another worker is to try.
    Stuck,
}

/// What woke a drive.
enum Woken {
    Settled(EffectKey, EffectOutcome),
    Text(Delta),
    FlushDue,
    HeartbeatDue,
    News(RunNews),
    TimeIsUp,
    Stopping,
}

/// By which of the tenant's rules it was decided what may begin.
pub(super) struct Decided {
    /// Their version.
    pub(super) rules: u64,
    /// How much of the outbox is older than that.
    pub(super) from: usize,
}

type InFlight = FuturesUnordered<BoxFuture<'static, (EffectKey, EffectOutcome)>>;

/// A run on its way.
pub(super) struct Drive {
    pub(super) workshop: Arc<Workshop>,
    pub(super) shared: Arc<Shared>,
    pub(super) lease: Lease,
    pub(super) holding: Holding,
    pub(super) run: Run,
    /// When the first worker took it, and later by as long as it has waited for people.
    pub(super) started_at: DateTime<Utc>,
    pub(super) allowed: Allowed,
    pub(super) purse: Purse,
    execution: Execution<Result<Answer, StrategyError>>,
    /// Every effect that was ever asked for.
    pub(super) asked: BTreeSet<EffectKey>,
    /// What the journal says of effects without an outcome.
    pub(super) ledger: Ledger,
    /// Whether others have written to the journal since it was last decided what may begin.
    pub(super) has_news: bool,
    /// What was asked for and is not under way.
    pub(super) undone: Vec<Issued>,
    /// Until when the first of the questions can be answered.
    pub(super) held_until: Option<DateTime<Utc>>,
    pub(super) in_flight: InFlight,
    pub(super) text: (mpsc::Sender<Delta>, mpsc::Receiver<Delta>),
    pub(super) pending: Pending,
    /// What is to be journalled with the next write.
    pub(super) outbox: Vec<NewEvent>,
    /// Runs that this one has begun and that have not ended.
    pub(super) children: Children,
    /// Whether it has ever begun any.
    pub(super) has_begun_runs: bool,
    /// Whether the one that began it had ended when it was taken over.
    is_orphan: bool,
    /// The names of the agents that it may have do something.
    pub(super) may_begin: BTreeSet<String>,
    /// What was said in its thread before it.
    pub(super) said_before: SaidBefore,
    /// By which rules calls of tools were let begin that the next write tells of, and what of the outbox was there before.
    pub(super) decided: Option<Decided>,
    /// What it has read from outside; nothing, where no rule has asked for it.
    pub(super) read: Option<Provenance>,
    /// What people are to be asked with the next write.
    pub(super) questions: Vec<Approval>,
    /// The newest event that this drive has read or written.
    pub(super) seq: u64,
    news: BoxStream<'static, RunNews>,
    flush: Interval,
    heartbeat: Interval,
}

impl Drive {
    /// Reads the run and its journal. Nothing when it has ended already.
    async fn begin(
        workshop: Arc<Workshop>,
        shared: Arc<Shared>,
        lease: Lease,
        taken: Taken,
        holding: Holding,
    ) -> Result<Option<Self>, StoreError> {
        let scope = lease.scope();
        let mut view = workshop.store.read(&scope).await?;
        let (news, read) = taken.opened(&workshop, &mut *view, &lease).await?;
        let Some(ClaimedRun { run, journal }) = read else { return Ok(None) };
        if run.state().name().is_final() {
            return Ok(None);
        }
        let selection = run.selection();
        let version = published(&shared, &mut *view, scope.tenant_id(), selection).await?;
        let is_orphan = is_orphan(&mut *view, &run).await?;
        let now = workshop.clock.now();
        if workshop.models.is_stale(&scope, now) {
            workshop.models.refresh(&scope, &mut *view, now).await?;
        }
        let listed = version.as_ref().map_or(&[][..], |version| &version.definition.tools);
        let resolved = workshop.tools.resolve(&mut *view, RunContext::of(scope, &run), listed).await?;
        let said_before = SaidBefore::of(&mut *view, &run, &journal).await?;
        drop(view);

        let seq = journal.last().map_or(0, |event| event.seq);
        let (run, started_at) = started(run, now)?;
        let Some(version) = version else {
            return end_without_agent(&workshop, &lease, run, &journal, now).await.map(|()| None);
        };
        let asked = asked(&journal);
        let has_begun_runs = has_begun_runs(&journal);
        let may_begin = may_begin(&version.definition, &run);
        let ledger = Ledger::of(&journal);
        let started_at = started_at + ledger.waited;
        let allowed = allowed(&version.definition, &resolved);
        let (purse, lost) = Purse::taken_over(&run, &journal, now);
        let run = run.charge(lost).unwrap_or_else(|refused| *refused.run);
        let mut outbox = vec![started_event(&lease, now)];
        // A run that is taken over must be offered what it was offered before.
        let before = offered(&journal).map(<[_]>::to_vec);
        if before.is_none() && resolved.has_declared {
            let body = EventBody::ToolsOffered { tools: resolved.specs.clone() };
            outbox.push(NewEvent { at: now, body });
        }
        outbox.extend(said_before.event().map(|body| NewEvent { at: now, body }));
        let offered = before.unwrap_or(resolved.specs);
        let said = said_before.conversation.clone();
        let brief = Brief::of(&run, &version.definition, offered).after(said);
        let strategy = version.definition.strategy.clone();
        let execution = Execution::start(settled(journal), move |fx| strategy.execute(brief, fx));
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let beat = workshop.settings.lease / 3;
        let heartbeat = tokio::time::interval_at(Instant::now() + beat, beat);
        Ok(Some(Self {
            outbox,
            said_before,
            questions: Vec::new(),
            decided: None,
            read: None,
            children: Children::default(),
            has_begun_runs,
            is_orphan,
            may_begin,
            ledger,
            has_news: false,
            undone: Vec::new(),
            held_until: None,
            in_flight: InFlight::new(),
            text: mpsc::channel(DELTAS_ON_THEIR_WAY),
            pending: Pending::default(),
            workshop,
            shared,
            lease,
            holding,
            run,
            started_at,
            allowed,
            purse,
            execution,
            asked,
            seq,
            news,
            flush,
            heartbeat,
        }))
    }

    async fn run(mut self, stop: &CancellationToken) -> Result<Left, StoreError> {
        if self.lease.unproductive() >= MAX_UNPRODUCTIVE {
            let message = format!("no worker got it any further in {MAX_UNPRODUCTIVE} attempts");
            return self.end(Ending::failed("stalled", message)).await;
        }
        if self.is_orphan {
            return self.end(Ending::WithParent).await;
        }
        if self.purse.has_lost() {
            // Before anything else is written: what was lost is charged once.
            self.write().await?;
        }
        let left = self.run.time_left(self.started_at, self.workshop.clock.now());
        if left.is_zero() {
            return self.end(Ending::TimedOut).await;
        }
        let deadline = Instant::now() + left;
        if let Some(ending) = self.advance().await? {
            return self.end(ending).await;
        }
        loop {
            self.holding.beat();
            if self.in_flight.is_empty() {
                if self.wait().await? {
                    return Ok(Left::Waiting);
                }
                if let Some(ending) = self.advance().await? {
                    return self.end(ending).await;
                }
                continue;
            }
            let goes_on = match self.woken(deadline, stop).await {
                Woken::Settled(key, outcome) => {
                    self.settle(&key, outcome);
                    true
                }
                Woken::Text(delta) => {
                    if self.pending.push(delta) {
                        self.flush().await?;
                        self.holding.progressed();
                    }
                    false
                }
                Woken::FlushDue => {
                    self.flush().await?;
                    self.holding.progressed();
                    false
                }
                Woken::HeartbeatDue => {
                    if self.holding.since_progress() >= self.workshop.settings.progress {
                        return Ok(Left::Stuck);
                    }
                    self.extend().await?;
                    if self.is_orphaned().await? {
                        return self.end(Ending::WithParent).await;
                    }
                    // The word of a run that has ended may have been lost.
                    self.look_at_children().await?
                }
                Woken::News(RunNews { seq: RunNews::OF_ANOTHER_RUN, .. }) => self.look_at_children().await?,
                Woken::News(news) => {
                    let is_newer = news.seq > self.seq;
                    if is_newer && self.catch_up().await? {
                        return Ok(Left::Ended);
                    }
                    is_newer
                }
                Woken::TimeIsUp => return self.end(Ending::TimedOut).await,
                Woken::Stopping => {
                    if !self.outbox.is_empty() {
                        self.write().await?;
                    }
                    return Ok(Left::Stopping);
                }
            };
            if goes_on && let Some(ending) = self.advance().await? {
                return self.end(ending).await;
            }
        }
    }

    async fn woken(&mut self, deadline: Instant, stop: &CancellationToken) -> Woken {
        tokio::select! {
            () = stop.cancelled() => Woken::Stopping,
            () = tokio::time::sleep_until(deadline) => Woken::TimeIsUp,
            Some((key, outcome)) = self.in_flight.next() => Woken::Settled(key, outcome),
            Some(delta) = self.text.1.recv() => Woken::Text(delta),
            _ = self.flush.tick(), if !self.pending.is_empty() => Woken::FlushDue,
            _ = self.heartbeat.tick() => Woken::HeartbeatDue,
            Some(news) = self.news.next() => Woken::News(news),
        }
    }

    /// Lets the strategy go on, journals what it asks for, and only then has it performed.
    async fn advance(&mut self) -> Result<Option<Ending>, StoreError> {
        loop {
            let progress = catch_unwind(AssertUnwindSafe(|| self.execution.poll()));
            match progress {
                Ok(Progress::Waiting(issued)) => self.undone.extend(issued),
                Ok(Progress::Done(result)) => return Ok(Some(result.into())),
                Ok(Progress::Diverged(divergence)) => return Ok(Some(divergence.into())),
                Err(_) => return Ok(Some(Ending::panicked())),
            }
            match self.dispatch().await? {
                Dispatched::Done => return Ok(None),
                Dispatched::Settled => {}
                Dispatched::Limited(ending) => return Ok(Some(ending)),
            }
        }
    }

    /// Leaves the run waiting for people, nothing being under way. Whether it does.
    async fn wait(&mut self) -> Result<bool, StoreError> {
        if self.has_news {
            return Ok(false);
        }
        let now = self.workshop.clock.now();
        let (reason, until) = if self.ledger.is_paused {
            ("somebody has paused it", None)
        } else if self.held_until.is_none() && !self.children.is_empty() {
            ("other runs have to end", None)
        } else {
            ("a person has to approve", self.held_until)
        };
        let waiting = self.run.clone().wait(reason, until).map_err(corrupt)?;
        let event = NewEvent { at: now, body: EventBody::Waiting { reason: reason.into() } };
        self.wait_as(waiting, event).await
    }

    /// Takes over an outcome: the text before it, the outcome, its cost.
    pub(super) fn settle(&mut self, key: &EffectKey, outcome: EffectOutcome) {
        while let Ok(delta) = self.text.1.try_recv() {
            self.pending.push(delta);
        }
        let now = self.workshop.clock.now();
        self.outbox.extend(self.pending.take_of(key, now));
        let outcome = self.purse.settle(key, outcome, now);
        self.said_before.hear(key, &outcome);
        let usage = outcome.usage();
        match self.execution.deliver(key, outcome) {
            Ok(entry) => self.journal(now, entry.into()),
            // INVARIANT: what is in flight was issued once, and `perform` answers with the kind that was asked for.
            Err(error) => {
                tracing::error!(error = %Chain(&error), "an outcome was not asked for");
            }
        }
        self.run = self.run.clone().charge(usage).unwrap_or_else(|refused| *refused.run);
        self.holding.progressed();
    }

    async fn end(mut self, ending: Ending) -> Result<Left, StoreError> {
        // The calls in flight are of no use any more.
        self.in_flight.clear();
        self.write_decided().await?;
        let now = self.workshop.clock.now();
        self.outbox.extend(self.pending.take(now));
        self.keep_summary().await;
        let run = self.run.clone().charge(self.purse.give_up(now)).unwrap_or_else(|refused| *refused.run);
        let (run, body) = ending.apply(run, now).map_err(corrupt)?;
        self.run = run;
        self.outbox.push(NewEvent { at: now, body });
        self.write().await?;
        let status = self.run.state().name();
        run_ended(status);
        tracing::info!(%status, "the run has ended");
        self.leave_family().await;
        Ok(Left::Ended)
    }
}

/// What the run's agent was when it was chosen. Nothing when that is no longer there.
async fn published(
    shared: &Shared,
    view: &mut dyn TenantView,
    tenant: TenantId,
    &Selection { agent, agent_version, .. }: &Selection,
) -> Result<Option<Arc<PublishedVersion>>, StoreError> {
    let key = (tenant, agent, agent_version);
    if let Some(known) = shared.versions.get(&key) {
        return Ok(Some(known));
    }
    let read = view.agents().version(agent, agent_version).await?;
    Ok(read.map(|version| shared.versions.note(key, version)))
}

/// The run as running, and since when. A run that was taken over goes on as it was.
fn started(run: Run, now: DateTime<Utc>) -> Result<(Run, DateTime<Utc>), StoreError> {
    let run =
        if let RunState::Running { .. } = run.state() { run } else { run.start(now).map_err(corrupt)? };
    let started_at = match run.state() {
        RunState::Running { started_at } => *started_at,
        _ => now,
    };
    Ok((run, started_at))
}

async fn end_without_agent(
    workshop: &Workshop,
    lease: &Lease,
    run: Run,
    journal: &[RunEvent],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let ending = Ending::failed("agent_gone", "the version of the agent that was chosen is no longer there");
    let (run, body) = ending.apply(run, now).map_err(corrupt)?;
    let mut tx = workshop.store.begin(&lease.scope()).await?;
    tx.runs().record(lease, &run, &[NewEvent { at: now, body }]).await?;
    settle_in_flight(&mut *tx, &run, journal, now).await?;
    tx.commit().await?;
    run_ended(run.state().name());
    workshop.going().tell_parent(&lease.scope(), &run).await;
    Ok(())
}

fn asked(journal: &[RunEvent]) -> BTreeSet<EffectKey> {
    journal
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::StepStarted { key, .. } | EventBody::ApprovalAsked { key, .. } => Some(key.clone()),
            _ => None,
        })
        .collect()
}

fn allowed(definition: &Definition, resolved: &Resolved) -> Allowed {
    Allowed {
        model: definition.model.clone(),
        tools: Arc::clone(&resolved.tools),
        approvals: definition.approvals.clone().into(),
    }
}

fn started_event(lease: &Lease, now: DateTime<Utc>) -> NewEvent {
    let attempt = u32::try_from(lease.token().0).unwrap_or(u32::MAX);
    NewEvent { at: now, body: EventBody::Started { attempt } }
}

/// A stored run in a state that a claimed one cannot have.
fn corrupt(_: RunTransitionRefused) -> StoreError {
    StoreError::CorruptRow { table: "runs", column: "state" }
}
