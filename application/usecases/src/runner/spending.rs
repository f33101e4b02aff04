//! What a run spends: set aside before a model call, or a tool's, in the transaction that journals its beginning, and settled in the
//! one that journals its outcome (ADR 0022).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, ready};
use powerhouse_domain::effects::{
    EffectFailure, EffectKey, EffectOutcome, EffectRequest, FailureClass, Issued, SubRunOutput,
};
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::ids::{AgentId, RunId, UserId};
use powerhouse_domain::model::{ModelRequest, Usage};
use powerhouse_domain::money::{BudgetRefusal, Price, PriceList, Reservation, in_flight};
use powerhouse_domain::runs::{Run, RunEvent};
use powerhouse_domain::tools::{ModelUsed, ToolOutput};
use tokio::sync::mpsc;

use super::Workshop;
use super::bill::{Bill, Granted, Settled, Wanted, What};
use super::perform::{Allowed, Delta, Work, perform};
use crate::models::Route;

/// A run's money, as its drive knows it. What is written is written by its bills alone.
pub(super) struct Purse {
    run: RunId,
    user: UserId,
    agent: AgentId,
    /// As of the last call.
    prices: PriceList,
    wanted: Vec<Wanted>,
    /// Calls that the last write has refused.
    refused: BTreeMap<EffectKey, BudgetRefusal>,
    held: BTreeMap<EffectKey, Granted>,
    settled: Vec<Settled>,
    /// Whether the tenant has budgets or prices of its own, as far as is known.
    has_terms: bool,
}

impl Purse {
    /// The purse of a run that is begun or taken over, and what calls cost that were lost with whoever made them. They
    /// are settled with the first write.
    pub(super) fn taken_over(run: &Run, journal: &[RunEvent], now: DateTime<Utc>) -> (Self, Usage) {
        let settled: Vec<_> =
            in_flight(journal).into_values().map(|held| Settled::in_full(held, now)).collect();
        let lost = settled.iter().map(|call| call.used).sum();
        let purse = Self {
            run: run.id(),
            user: run.requested_by(),
            agent: run.selection().agent,
            prices: PriceList::default(),
            wanted: Vec::new(),
            refused: BTreeMap::new(),
            held: BTreeMap::new(),
            settled,
            has_terms: false,
        };
        (purse, lost)
    }

    /// A call is to be made after the next write, if that can set aside for it.
    pub(super) fn want(
        &mut self,
        key: &EffectKey,
        request: &ModelRequest,
        route: Arc<Route>,
        at: DateTime<Utc>,
    ) {
        let what = What::Model { request: request.clone(), route };
        self.wanted.push(Wanted { key: key.clone(), what, at });
    }

    /// The same of a tool, which has a model consume so much at most.
    pub(super) fn want_tool(&mut self, key: &EffectKey, most: ModelUsed, at: DateTime<Utc>) {
        self.wanted.push(Wanted { key: key.clone(), what: What::Tool(most), at });
    }

    /// Performs an effect within what the last write set aside for it, or refuses it.
    pub(super) fn dispatch(
        &mut self,
        workshop: &Arc<Workshop>,
        allowed: &Allowed,
        issued: Issued,
        deltas: &mpsc::Sender<Delta>,
    ) -> BoxFuture<'static, (EffectKey, EffectOutcome)> {
        let Issued { key, request } = issued;
        let call_key = CallKey::of(self.run, &key, &request);
        let refused = |refusal: String| {
            let failure = EffectFailure::new(FailureClass::LimitReached, refusal);
            EffectOutcome::Failed(failure)
        };
        if let Some(refusal) = self.refused.remove(&key) {
            return Box::pin(ready((key, refused(refusal.to_string()))));
        }
        let call = self.held.get(&key).and_then(|granted| granted.call.as_ref());
        let work = match (request, call) {
            (EffectRequest::Model(_), Some(call)) => Work::Model(Box::new(call.clone())),
            (EffectRequest::Model(_), None) => return Box::pin(ready((key, refused(String::new())))),
            (EffectRequest::Tool(tool), _) => Work::Tool(tool),
            // INVARIANT: a drive begins runs itself.
            (EffectRequest::Run(_), _) => {
                let refused = SubRunOutput::refused("it could not be begun");
                return Box::pin(ready((key, EffectOutcome::Run(refused))));
            }
        };
        Box::pin(perform(Arc::clone(workshop), allowed.clone(), key, call_key, work, deltas.clone()))
    }

    /// The outcome with what it cost, which the next write settles.
    pub(super) fn settle(
        &mut self,
        key: &EffectKey,
        outcome: EffectOutcome,
        now: DateTime<Utc>,
    ) -> EffectOutcome {
        let outcome = match outcome {
            EffectOutcome::Tool(output) => return EffectOutcome::Tool(self.settle_tool(key, output, now)),
            outcome => outcome,
        };
        let Some(granted) = self.held.remove(key) else { return outcome };
        let Granted { call, reservation, at } = granted;
        match outcome {
            EffectOutcome::Model(mut reply) => {
                let asked = reply.routed.as_ref().map_or(&reservation.model, |routed| &routed.model);
                let price = self.prices.at(&reply.model, at).or_else(|| self.prices.at(asked, at));
                reply.usage = price.unwrap_or(Price::FREE).applied_to(reply.usage);
                let (used, model) = (reply.usage, reply.model.clone());
                self.settled.push(Settled { reservation, used, calls: 1, model, at: now });
                EffectOutcome::Model(reply)
            }
            mut other => {
                // A refusal before the first word costs nothing.
                let was_heard = call.is_some_and(|call| call.heard.load(Ordering::Relaxed));
                let settled = if was_heard {
                    Settled::in_full(reservation, now)
                } else {
                    Settled::unused(reservation, now)
                };
                if let EffectOutcome::Failed(failure) = &mut other {
                    failure.used = Some(settled.used).filter(|_| settled.calls > 0);
                }
                self.settled.push(settled);
                other
            }
        }
    }

    /// What a tool had a model do, as it says; all that was set aside, where it failed and does not say.
    fn settle_tool(&mut self, key: &EffectKey, mut output: ToolOutput, now: DateTime<Utc>) -> ToolOutput {
        let held = self.held.remove(key);
        if let Some(Granted { reservation, .. }) = &held
            && output.used.is_none()
            && output.is_error
        {
            output.used = Some(ModelUsed { model: reservation.model.clone(), usage: reservation.amount });
        }
        let settled = match (held, &mut output.used) {
            (None, None) => return output,
            (Some(Granted { reservation, .. }), None) => Settled::unused(reservation, now),
            (held, Some(used)) => {
                let (reservation, at) = match held {
                    Some(Granted { reservation, at, .. }) => (reservation, at),
                    // It was set aside for by nobody, and no budget bounds it.
                    None => (Reservation::nothing(&used.model), now),
                };
                let price =
                    self.prices.at(&used.model, at).or_else(|| self.prices.at(&reservation.model, at));
                used.usage = price.unwrap_or(Price::FREE).applied_to(used.usage);
                Settled { reservation, used: used.usage, calls: 1, model: used.model.clone(), at: now }
            }
        };
        self.settled.push(settled);
        output
    }

    /// Gives up what is under way and what is wanted, and says what it may have cost. The next write settles it.
    pub(super) fn give_up(&mut self, now: DateTime<Utc>) -> Usage {
        self.wanted.clear();
        let lost = std::mem::take(&mut self.held).into_values();
        let lost: Vec<_> = lost.map(|granted| Settled::in_full(granted.reservation, now)).collect();
        let used = lost.iter().map(|call| call.used).sum();
        self.settled.extend(lost);
        used
    }

    /// Whether calls were lost that no write has settled yet.
    pub(super) fn has_lost(&self) -> bool {
        !self.settled.is_empty()
    }

    /// What the next write is to settle and to set aside, where so much is lent to other runs.
    pub(super) fn bill(&mut self, lent: Usage) -> Bill {
        Bill {
            user: self.user,
            agent: self.agent,
            under_way: self.held.values().map(|granted| granted.reservation.amount).sum::<Usage>().plus(lent),
            wanted: std::mem::take(&mut self.wanted),
            settled: std::mem::take(&mut self.settled),
            decided: BTreeMap::new(),
            prices: None,
            has_terms: self.has_terms,
        }
    }

    /// The last write is there, with what it decided.
    pub(super) fn written(&mut self, bill: Bill) {
        self.refused.clear();
        self.has_terms = bill.has_terms;
        if let Some(prices) = bill.prices {
            self.prices = prices;
        }
        for (key, decision) in bill.decided {
            match decision {
                Ok(granted) => drop(self.held.insert(key, granted)),
                Err(refusal) => drop(self.refused.insert(key, refusal)),
            }
        }
    }
}
