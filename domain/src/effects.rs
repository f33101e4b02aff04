//! Effects: how a strategy reaches the world without touching it.
//!
//! A strategy is an `async fn` over an [`Effects`] handle. Each call on the handle records a request under an
//! [`EffectKey`] and suspends. Whoever drives the [`Execution`] performs the requests, journals each outcome
//! and polls again. To resume after a crash, or to replay offline, the strategy runs from its start and is fed
//! the journal; a request that differs from the journalled one is a [`Divergence`], and nothing else happens.
//!
//! Keys are paths, not a single counter: each branch of a join numbers its own effects below the branch's key.
//! So the order in which concurrent effects finish never changes what a key names (ADR 0008).
//!
//! ```
//! use powerhouse_domain::effects::{EffectOutcome, Effects, Execution, Progress};
//! use powerhouse_domain::tools::ToolOutput;
//!
//! let mut execution = Execution::start([], |fx: Effects| async move {
//!     fx.tool("add", serde_json::json!({"a": 1, "b": 2})).await.map(|output| output.content)
//! });
//! let Progress::Waiting(issued) = execution.poll() else { panic!("it has asked for a tool") };
//! execution.deliver(&issued[0].key, EffectOutcome::Tool(ToolOutput::ok("3"))).unwrap();
//! assert!(matches!(execution.poll(), Progress::Done(Ok(sum)) if sum == "3"));
//! ```

use std::collections::{BTreeMap, btree_map::Entry};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::model::ModelReply;
use crate::tools::ToolOutput;

mod handle;
mod journal;

pub use handle::Effects;
pub use journal::{
    Barred, EffectFailure, EffectKey, EffectOutcome, EffectRequest, FailureClass, Fingerprint, JournalEntry,
    SubRunOutput, SubRunRequest, ToolRequest,
};

/// A request that waits to be performed.
#[derive(Clone, Debug, PartialEq)]
pub struct Issued {
    /// Where in the strategy it was made.
    pub key: EffectKey,
    /// What is to be done.
    pub request: EffectRequest,
}

/// What became of an [`Execution`] when it was polled.
#[derive(Debug, PartialEq)]
pub enum Progress<T> {
    /// It waits for outcomes. Lists what was asked since the last poll; earlier requests may still be open.
    Waiting(Vec<Issued>),
    /// The strategy returned.
    Done(T),
    /// The strategy did not do what its journal says. No further request is made.
    Diverged(Divergence),
}

/// The strategy and its journal disagree: the code or its input changed, or the strategy is not deterministic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Divergence {
    /// A request is not the one that was journalled under its key.
    #[error("effect {key} asks for something else than its journal entry")]
    ChangedRequest {
        /// The effect.
        key: EffectKey,
    },
    /// The strategy returned without making a request that was journalled.
    #[error("effect {key} is in the journal but was not asked for")]
    UnusedEntry {
        /// The first such effect.
        key: EffectKey,
    },
    /// The strategy waits for something that is no effect.
    #[error("the strategy waits for something that is not an effect")]
    Stalled,
}

/// An outcome that was not asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// No request with this key is open.
    #[error("effect {0} is not open")]
    NotOpen(EffectKey),
    /// A model's reply for a tool call, or the reverse.
    #[error("the outcome of effect {0} is of another kind than its request")]
    WrongKind(EffectKey),
}

/// One effect as the execution knows it.
#[derive(Debug)]
enum Slot {
    /// In the journal, not yet asked for in this execution.
    Journalled { fingerprint: Fingerprint, outcome: EffectOutcome },
    /// Asked for; `announced` once a poll has reported it.
    Open { request: EffectRequest, announced: bool, waker: Waker },
    /// Its outcome waits to be picked up.
    Ready(EffectOutcome),
    /// Picked up.
    Taken,
}

#[derive(Debug, Default)]
struct Ledger {
    slots: BTreeMap<EffectKey, Slot>,
    divergence: Option<Divergence>,
}

impl Ledger {
    fn poll_effect(
        &mut self,
        key: &EffectKey,
        request: &mut Option<EffectRequest>,
        waker: &Waker,
    ) -> Poll<EffectOutcome> {
        if self.divergence.is_some() {
            return Poll::Pending;
        }
        match self.slots.entry(key.clone()) {
            Entry::Vacant(vacant) => {
                if let Some(request) = request.take() {
                    vacant.insert(Slot::Open { request, announced: false, waker: waker.clone() });
                }
                Poll::Pending
            }
            Entry::Occupied(mut slot) => match std::mem::replace(slot.get_mut(), Slot::Taken) {
                Slot::Journalled { fingerprint, outcome } => {
                    if request.take().is_some_and(|request| request.fingerprint() == fingerprint) {
                        Poll::Ready(outcome)
                    } else {
                        self.divergence = Some(Divergence::ChangedRequest { key: key.clone() });
                        Poll::Pending
                    }
                }
                Slot::Ready(outcome) => Poll::Ready(outcome),
                Slot::Open { request, announced, .. } => {
                    slot.insert(Slot::Open { request, announced, waker: waker.clone() });
                    Poll::Pending
                }
                Slot::Taken => Poll::Pending,
            },
        }
    }

    fn announce(&mut self) -> Vec<Issued> {
        let mut issued = Vec::new();
        for (key, slot) in &mut self.slots {
            if let Slot::Open { request, announced, .. } = slot
                && !*announced
            {
                *announced = true;
                issued.push(Issued { key: key.clone(), request: request.clone() });
            }
        }
        issued
    }

    fn has_open(&self) -> bool {
        self.slots.values().any(|slot| matches!(slot, Slot::Open { .. }))
    }

    fn first_unused(&self) -> Option<&EffectKey> {
        self.slots.iter().find(|(_, slot)| matches!(slot, Slot::Journalled { .. })).map(|(key, _)| key)
    }
}

type SharedLedger = Arc<Mutex<Ledger>>;

/// A strategy that panicked while it held the lock ends its own run only; the ledger is still consistent.
fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A strategy in the middle of its work, without a runtime.
pub struct Execution<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    ledger: SharedLedger,
}

impl<T> std::fmt::Debug for Execution<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Execution").field("ledger", &lock(&self.ledger)).finish_non_exhaustive()
    }
}

impl<T> Execution<T> {
    /// Starts a strategy; with a non-empty journal, resumes or replays it.
    pub fn start<F, S>(journal: impl IntoIterator<Item = JournalEntry>, strategy: S) -> Self
    where
        S: FnOnce(Effects) -> F,
        F: Future<Output = T> + Send + 'static,
    {
        let slots = journal
            .into_iter()
            .map(|entry| {
                (entry.key, Slot::Journalled { fingerprint: entry.fingerprint, outcome: entry.outcome })
            })
            .collect();
        let ledger = Arc::new(Mutex::new(Ledger { slots, divergence: None }));
        let future = Box::pin(strategy(Effects::root(Arc::clone(&ledger))));
        Self { future, ledger }
    }

    /// Lets the strategy run until it waits or returns. Must not be called again after `Done`.
    pub fn poll(&mut self) -> Progress<T> {
        let polled = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let mut ledger = lock(&self.ledger);
        if let Some(divergence) = &ledger.divergence {
            return Progress::Diverged(divergence.clone());
        }
        match polled {
            Poll::Ready(output) => match ledger.first_unused() {
                Some(key) => Progress::Diverged(Divergence::UnusedEntry { key: key.clone() }),
                None => Progress::Done(output),
            },
            Poll::Pending if ledger.has_open() => Progress::Waiting(ledger.announce()),
            Poll::Pending => Progress::Diverged(Divergence::Stalled),
        }
    }

    /// Hands over the outcome of an open request and returns the entry to be journalled.
    pub fn deliver(
        &mut self,
        key: &EffectKey,
        outcome: EffectOutcome,
    ) -> Result<JournalEntry, DeliveryError> {
        let mut ledger = lock(&self.ledger);
        let Some(slot @ Slot::Open { .. }) = ledger.slots.get_mut(key) else {
            return Err(DeliveryError::NotOpen(key.clone()));
        };
        let Slot::Open { request, waker, .. } = slot else { return Err(DeliveryError::NotOpen(key.clone())) };
        if !outcome.answers(request) {
            return Err(DeliveryError::WrongKind(key.clone()));
        }
        let entry =
            JournalEntry { key: key.clone(), fingerprint: request.fingerprint(), outcome: outcome.clone() };
        let waker = waker.clone();
        *slot = Slot::Ready(outcome);
        drop(ledger);
        waker.wake();
        Ok(entry)
    }
}

/// A result that a strategy sees: the outcome, or why there is none.
pub type EffectResult<T> = Result<T, EffectFailure>;

pub(crate) fn expect_model(outcome: EffectOutcome) -> EffectResult<ModelReply> {
    match outcome {
        EffectOutcome::Model(reply) => Ok(reply),
        EffectOutcome::Failed(failure) => Err(failure),
        EffectOutcome::Tool(_) | EffectOutcome::Run(_) => Err(EffectFailure::wrong_kind()),
    }
}

pub(crate) fn expect_tool(outcome: EffectOutcome) -> EffectResult<ToolOutput> {
    match outcome {
        EffectOutcome::Tool(output) => Ok(output),
        EffectOutcome::Failed(failure) => Err(failure),
        EffectOutcome::Model(_) | EffectOutcome::Run(_) => Err(EffectFailure::wrong_kind()),
    }
}

pub(crate) fn expect_run(outcome: EffectOutcome) -> EffectResult<SubRunOutput> {
    match outcome {
        EffectOutcome::Run(output) => Ok(output),
        EffectOutcome::Failed(failure) => Err(failure),
        EffectOutcome::Model(_) | EffectOutcome::Tool(_) => Err(EffectFailure::wrong_kind()),
    }
}

#[cfg(test)]
mod tests;
