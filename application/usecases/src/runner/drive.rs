//! Driving one run: from the journal to its end, or until the lease is lost or the process stops.
//!
//! What an effect gave and what is asked for next are journalled in one transaction, before the next effect is
//! performed. No transaction is open while effects are performed (ADR 0003).

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use powerhouse_domain::agents::Definition;
use powerhouse_domain::effects::{EffectKey, EffectOutcome, Execution, Issued, Progress};
use powerhouse_domain::ids::StepId;
use powerhouse_domain::model::Usage;
use powerhouse_domain::runs::{
    EventBody, Lease, Run, RunEvent, RunState, RunTransitionRefused, StepKind, settled,
};
use powerhouse_domain::strategies::{Answer, Brief, StrategyError};
use powerhouse_ports::Chain;
use powerhouse_ports::events::RunNews;
use powerhouse_ports::store::{NewEvent, StoreError};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Workshop;
use super::deltas::Pending;
use super::ending::Ending;
use super::perform::{Allowed, Delta};
use super::spending::{Purse, settle_in_flight};
use crate::measure::{DriveInFlight, run_ended};
use crate::runs::whole_journal;

/// How often text that has come is written, at most.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// Pieces of text on their way; a model that is faster waits.
const DELTAS_ON_THEIR_WAY: usize = 256;
/// How often a write is tried while the store is unavailable.
const WRITE_TRIES: u32 = 6;
/// The pause after the first try; it doubles.
const WRITE_PAUSE: Duration = Duration::from_millis(100);

/// Drives a run as far as it can.
pub(super) async fn drive(workshop: Arc<Workshop>, lease: Lease, stop: CancellationToken) {
    let in_flight = DriveInFlight::begin();
    let result = match Drive::begin(Arc::clone(&workshop), lease).await {
        Ok(Some(drive)) => drive.run(&stop).await,
        Ok(None) => Ok(Left::Ended),
        Err(error) => Err(error),
    };
    in_flight.left(match &result {
        Ok(Left::Ended) => "ended",
        Ok(Left::Stopping) => "handed_back",
        Err(StoreError::LeaseLost) => "lease_lost",
        Err(_) => "failed",
    });
    match result {
        Ok(Left::Ended) => {}
        Ok(Left::Stopping) => {
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

type InFlight = FuturesUnordered<BoxFuture<'static, (EffectKey, EffectOutcome)>>;

struct Drive {
    workshop: Arc<Workshop>,
    lease: Lease,
    run: Run,
    started_at: DateTime<Utc>,
    allowed: Allowed,
    purse: Purse,
    execution: Execution<Result<Answer, StrategyError>>,
    /// Every effect that was ever asked for.
    asked: BTreeSet<EffectKey>,
    in_flight: InFlight,
    text: (mpsc::Sender<Delta>, mpsc::Receiver<Delta>),
    pending: Pending,
    /// What is to be journalled with the next write.
    outbox: Vec<NewEvent>,
    /// The newest event that this drive has read or written.
    seq: u64,
    news: BoxStream<'static, RunNews>,
    flush: Interval,
    heartbeat: Interval,
}

impl Drive {
    /// Reads the run and its journal. Nothing when it has ended already.
    async fn begin(workshop: Arc<Workshop>, lease: Lease) -> Result<Option<Self>, StoreError> {
        let scope = lease.scope();
        // Before the first read, so that no cancellation falls between.
        let news = workshop.bus.subscribe(&scope, lease.run()).await;
        let mut view = workshop.store.read(&scope).await?;
        let Some(run) = view.runs().find(lease.run()).await? else { return Ok(None) };
        if run.state().name().is_final() {
            return Ok(None);
        }
        let journal = whole_journal(&mut *view, lease.run()).await?;
        let selection = run.selection();
        let version = view.agents().version(selection.agent, selection.agent_version).await?;
        drop(view);

        let now = workshop.clock.now();
        let seq = journal.last().map_or(0, |event| event.seq);
        let (run, started_at) = started(run, now)?;
        let Some(version) = version else {
            return end_without_agent(&workshop, &lease, run, &journal, now).await.map(|()| None);
        };
        let asked = asked(&journal);
        let allowed = allowed(&workshop, &version.definition);
        let (purse, lost) = Purse::taken_over(&run, &allowed.model, &journal, now);
        let run = run.charge(lost).unwrap_or_else(|refused| *refused.run);
        let execution = execute(&workshop, &version.definition, &run, journal);
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let beat = workshop.settings.lease / 3;
        let heartbeat = tokio::time::interval_at(Instant::now() + beat, beat);
        let attempt = u32::try_from(lease.token().0).unwrap_or(u32::MAX);
        Ok(Some(Self {
            outbox: vec![NewEvent { at: now, body: EventBody::Started { attempt } }],
            in_flight: InFlight::new(),
            text: mpsc::channel(DELTAS_ON_THEIR_WAY),
            pending: Pending::default(),
            workshop,
            lease,
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
        let elapsed = (self.workshop.clock.now() - self.started_at).to_std().unwrap_or_default();
        let deadline = Instant::now() + self.run.limits().wall_clock.saturating_sub(elapsed);
        if let Some(ending) = self.advance().await? {
            return self.end(ending).await;
        }
        loop {
            match self.woken(deadline, stop).await {
                Woken::Settled(key, outcome) => {
                    self.settle(&key, outcome);
                    if let Some(ending) = self.advance().await? {
                        return self.end(ending).await;
                    }
                }
                Woken::Text(delta) => {
                    if self.pending.push(delta) {
                        self.flush().await?;
                    }
                }
                Woken::FlushDue => self.flush().await?,
                Woken::HeartbeatDue => self.extend().await?,
                Woken::News(news) => {
                    if news.seq > self.seq && self.has_ended().await? {
                        return Ok(Left::Ended);
                    }
                }
                Woken::TimeIsUp => return self.end(Ending::TimedOut).await,
                Woken::Stopping => return Ok(Left::Stopping),
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
        let progress = catch_unwind(AssertUnwindSafe(|| self.execution.poll()));
        let issued = match progress {
            Ok(Progress::Waiting(issued)) => issued,
            Ok(Progress::Done(result)) => return Ok(Some(result.into())),
            Ok(Progress::Diverged(divergence)) => return Ok(Some(divergence.into())),
            Err(_) => {
                return Ok(Some(Ending::failed(
                    "strategy_failed",
                    "the agent's strategy failed unexpectedly",
                )));
            }
        };
        let now = self.workshop.clock.now();
        for Issued { key, request } in &issued {
            if !self.asked.contains(key) {
                let steps = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
                if let Err(limit) = self.run.limits().check(steps, self.run.usage(), self.started_at, now) {
                    return Ok(Some(limit.into()));
                }
                self.asked.insert(key.clone());
            }
            let step = StepId::from_uuid(self.workshop.ids.next());
            let kind = StepKind::from(request);
            let body = EventBody::StepStarted { step, key: key.clone(), kind, reservation: None };
            self.outbox.push(NewEvent { at: now, body });
            self.purse.want(key, request, now);
        }
        self.write().await?;
        for issued in issued {
            let performed = self.purse.dispatch(&self.workshop, &self.allowed, issued, &self.text.0);
            self.in_flight.push(performed);
        }
        Ok(None)
    }

    /// Takes over an outcome: the text before it, the outcome, its cost.
    fn settle(&mut self, key: &EffectKey, outcome: EffectOutcome) {
        while let Ok(delta) = self.text.1.try_recv() {
            self.pending.push(delta);
        }
        let now = self.workshop.clock.now();
        self.outbox.extend(self.pending.take_of(key, now));
        let outcome = self.purse.settle(key, outcome, now);
        let usage = match &outcome {
            EffectOutcome::Model(reply) => reply.usage,
            EffectOutcome::Tool(_) | EffectOutcome::Failed(_) => Usage::default(),
        };
        match self.execution.deliver(key, outcome) {
            Ok(entry) => self.outbox.push(NewEvent { at: now, body: entry.into() }),
            // INVARIANT: what is in flight was issued once, and `perform` answers with the kind that was asked for.
            Err(error) => {
                tracing::error!(error = %Chain(&error), "an outcome was not asked for");
            }
        }
        self.run = self.run.clone().charge(usage).unwrap_or_else(|refused| *refused.run);
    }

    async fn end(mut self, ending: Ending) -> Result<Left, StoreError> {
        // The calls in flight are of no use any more.
        self.in_flight.clear();
        let now = self.workshop.clock.now();
        self.outbox.extend(self.pending.take(now));
        let run = self.run.clone().charge(self.purse.give_up(now)).unwrap_or_else(|refused| *refused.run);
        let (run, body) = ending.apply(run, now).map_err(corrupt)?;
        self.run = run;
        self.outbox.push(NewEvent { at: now, body });
        self.write().await?;
        let status = self.run.state().name();
        run_ended(status);
        tracing::info!(%status, "the run has ended");
        Ok(Left::Ended)
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let now = self.workshop.clock.now();
        self.outbox.extend(self.pending.take(now));
        self.write().await
    }

    /// Journals the outbox in one transaction, and tells who watches.
    async fn write(&mut self) -> Result<(), StoreError> {
        let mut pause = WRITE_PAUSE;
        for attempt in 1.. {
            match self.try_write().await {
                Ok(seq) => {
                    self.outbox.clear();
                    self.purse.written();
                    self.seq = seq;
                    break;
                }
                Err(StoreError::Unavailable(_)) if attempt < WRITE_TRIES => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(error),
            }
        }
        let news = RunNews { run: self.lease.run(), seq: self.seq };
        self.workshop.bus.publish(&self.lease.scope(), news).await;
        Ok(())
    }

    async fn try_write(&mut self) -> Result<u64, StoreError> {
        let mut tx = self.workshop.store.begin(&self.lease.scope()).await?;
        let seq = self.purse.record(&mut *tx, &self.lease, &self.run, self.seq, &mut self.outbox).await?;
        tx.commit().await?;
        Ok(seq)
    }

    async fn extend(&mut self) -> Result<(), StoreError> {
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

    async fn has_ended(&mut self) -> Result<bool, StoreError> {
        let mut view = self.workshop.store.read(&self.lease.scope()).await?;
        Ok(view.runs().find(self.lease.run()).await?.is_none_or(|run| run.state().name().is_final()))
    }
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
    Ok(())
}

fn asked(journal: &[RunEvent]) -> BTreeSet<EffectKey> {
    journal
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::StepStarted { key, .. } => Some(key.clone()),
            _ => None,
        })
        .collect()
}

fn allowed(workshop: &Workshop, definition: &Definition) -> Allowed {
    Allowed {
        model: definition.model.clone().unwrap_or_else(|| workshop.default_model.clone()),
        tools: definition.tools.clone().into(),
    }
}

fn execute(
    workshop: &Workshop,
    definition: &Definition,
    run: &Run,
    journal: Vec<RunEvent>,
) -> Execution<Result<Answer, StrategyError>> {
    let specs = definition.tools.iter().filter_map(|name| workshop.tools.get(name)).map(|tool| tool.spec());
    let brief = Brief {
        task: run.task().as_str().to_owned(),
        instructions: definition.instructions.clone(),
        tools: specs.collect(),
    };
    let strategy = definition.strategy;
    Execution::start(settled(journal), move |fx| strategy.execute(brief, fx))
}

/// A stored run in a state that a claimed one cannot have.
fn corrupt(_: RunTransitionRefused) -> StoreError {
    StoreError::CorruptRow { table: "runs", column: "state" }
}
