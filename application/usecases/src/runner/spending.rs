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
use powerhouse_domain::money::{BudgetRefusal, PriceList, Reservation, in_flight};
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
                reply.usage = self.prices.charged(reply.usage, &reply.model, asked, at);
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
                used.usage = self.prices.charged(used.usage, &used.model, &reservation.model, at);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use powerhouse_domain::money::{BudgetWindow, Price, PriceEntry};
    use powerhouse_domain::runs::{RunLimits, Task};
    use powerhouse_domain::selection;
    use uuid::Uuid;

    use super::*;
    use crate::runner::perform::Call;
    use crate::runner::sink::Heard;

    fn key() -> EffectKey {
        "0".parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    /// The purse of a run for which forty tokens of `v`, at a millionth of a dollar each, are set aside for an effect.
    fn holding(call: Option<Call>) -> Purse {
        let id = Uuid::from_u128(1);
        let (user, agent) = (UserId::from_uuid(id), AgentId::from_uuid(id));
        let limits = RunLimits { steps: 9, tokens: 9, cost_micros: 0, wall_clock: Duration::from_secs(9) };
        let chosen = selection::named(agent, 1);
        let run = Run::accept(RunId::from_uuid(id), user, Task::new("go").unwrap(), chosen, limits, now());
        let (mut purse, _) = Purse::taken_over(&run, &[], now());
        let mut bill = purse.bill(Usage::default());
        let windows =
            vec![BudgetWindow { budget: "budget_01h455vb4pex5vsknk084sn02q".parse().unwrap(), start: now() }];
        let reservation =
            Reservation { model: "v".into(), amount: Usage::of_tokens(40, 0).at_cost(40), windows };
        bill.decided.insert(key(), Ok(Granted { call, reservation, at: now() }));
        bill.prices =
            Some(PriceList::new(vec![PriceEntry::new("v", now(), Price::new(1_000_000, 0)).unwrap()]));
        purse.written(bill);
        purse
    }

    /// What counts for the run when an effect ends so, and what the next write settles: calls, and what they used.
    fn settled(mut purse: Purse, outcome: EffectOutcome) -> (Usage, Vec<(u64, Usage)>) {
        let outcome = purse.settle(&key(), outcome, now());
        let bill = purse.bill(Usage::default());
        assert!(
            bill.settled.iter().all(|call| call.reservation.windows.len() == 1),
            "it is no longer set aside"
        );
        assert_eq!(bill.settled.len(), 1, "once");
        (outcome.usage(), bill.settled.iter().map(|call| (call.calls, call.used)).collect())
    }

    #[test]
    fn a_tool_pays_what_it_says_nothing_or_all_that_was_set_aside() {
        let used = |tokens| Some(ModelUsed { model: "v".into(), usage: Usage::of_tokens(tokens, 0) });
        let cost = |tokens| Usage::of_tokens(tokens, 0).at_cost(tokens);
        for (output, counts, calls) in [
            (ToolOutput::ok("found").using(used(7)), cost(7), 1),
            (ToolOutput::ok("by words alone"), Usage::default(), 0),
            (ToolOutput::error("it took too long"), cost(40), 1),
            (ToolOutput::error("no such collection").using(used(7)), cost(7), 1),
        ] {
            let told = format!("{output:?}");
            let (run, bill) = settled(holding(None), EffectOutcome::Tool(output));
            assert_eq!((run, bill), (counts, vec![(calls, counts)]), "{told}");
        }
    }

    #[test]
    fn a_call_that_fails_after_its_first_word_counts_for_its_run_too() {
        let provider = powerhouse_ports::models::MockModelProvider::new();
        let models = crate::models::Models::of(Arc::new(provider), "v");
        let scope = powerhouse_domain::runs::Lease::granted(
            powerhouse_domain::ids::TenantId::from_uuid(Uuid::nil()),
            RunId::from_uuid(Uuid::nil()),
            powerhouse_domain::runs::FencingToken(1),
            now(),
            0,
        )
        .scope();
        for (was_heard, counts) in [(true, Usage::of_tokens(40, 0).at_cost(40)), (false, Usage::default())] {
            let heard = Heard::default();
            heard.store(was_heard, Ordering::Relaxed);
            let request = ModelRequest::answer("answer", Vec::new());
            let call = Call { request, route: models.route(&scope, None), may_hedge: false, heard };
            let failure = EffectFailure::new(FailureClass::Unavailable, "it broke off");
            let (run, bill) = settled(holding(Some(call)), EffectOutcome::Failed(failure));
            assert_eq!((run, bill), (counts, vec![(u64::from(was_heard), counts)]));
        }
    }
}
