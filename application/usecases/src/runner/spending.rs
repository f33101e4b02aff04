//! What a run spends: set aside before a model call, in the transaction that journals its beginning, and settled in the
//! one that journals its outcome (ADR 0022).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, ready};
use powerhouse_domain::effects::{
    EffectFailure, EffectKey, EffectOutcome, EffectRequest, FailureClass, Issued,
};
use powerhouse_domain::ids::{AgentId, RunId, UserId};
use powerhouse_domain::model::{ModelRequest, Usage};
use powerhouse_domain::money::{
    Amount, Budget, BudgetRefusal, BudgetWindow, LEAST_OUTPUT, Price, PriceList, Reservation, Spending,
    UsageKey, fitting_output, in_flight, input_bound, worst_case,
};
use powerhouse_domain::runs::{EventBody, Run, RunEvent};
use powerhouse_ports::store::{NewEvent, StoreError, TenantTx};
use tokio::sync::mpsc;

use super::Workshop;
use super::perform::{Allowed, Delta, perform};
use super::sink::Heard;

/// English text has about four bytes to a token; a run's bound of tokens is kept by this, and a budget's by the bytes.
const BYTES_OF_A_TOKEN: u64 = 4;

/// A call that is to be made once there is something set aside for it.
struct Wanted {
    key: EffectKey,
    request: ModelRequest,
    at: DateTime<Utc>,
}

/// What a call may do.
#[derive(Clone)]
struct Granted {
    request: ModelRequest,
    reservation: Reservation,
    at: DateTime<Utc>,
    heard: Heard,
}

/// What is no longer set aside, and what of it was spent.
struct Settled {
    reservation: Reservation,
    /// What was used, whatever was set aside for it.
    used: Usage,
    calls: u64,
    model: String,
    at: DateTime<Utc>,
}

impl Settled {
    /// A call whose outcome nobody will know: it may have been billed.
    fn in_full(reservation: Reservation, at: DateTime<Utc>) -> Self {
        Self { used: reservation.amount, calls: 1, model: reservation.model.clone(), reservation, at }
    }
}

/// A run's money, as its drive knows it. What is written is written by [`Purse::settle_up`] alone.
pub(super) struct Purse {
    run: RunId,
    user: UserId,
    agent: AgentId,
    /// The model that is asked.
    model: String,
    /// As of the last call.
    prices: PriceList,
    wanted: Vec<Wanted>,
    decided: BTreeMap<EffectKey, Result<Granted, BudgetRefusal>>,
    held: BTreeMap<EffectKey, Granted>,
    settled: Vec<Settled>,
}

impl Purse {
    /// The purse of a run that is begun or taken over, and what calls cost that were lost with whoever made them. They
    /// are settled with the first write.
    pub(super) fn taken_over(
        run: &Run,
        model: &str,
        journal: &[RunEvent],
        now: DateTime<Utc>,
    ) -> (Self, Usage) {
        let settled: Vec<_> =
            in_flight(journal).into_values().map(|held| Settled::in_full(held, now)).collect();
        let lost = settled.iter().map(|call| call.used).sum();
        let purse = Self {
            run: run.id(),
            user: run.requested_by(),
            agent: run.selection().agent,
            model: model.to_owned(),
            prices: PriceList::default(),
            wanted: Vec::new(),
            decided: BTreeMap::new(),
            held: BTreeMap::new(),
            settled,
        };
        (purse, lost)
    }

    /// A call is to be made after the next write, if that can set aside for it.
    pub(super) fn want(&mut self, key: &EffectKey, request: &EffectRequest, at: DateTime<Utc>) {
        if let EffectRequest::Model(request) = request {
            self.wanted.push(Wanted { key: key.clone(), request: request.clone(), at });
        }
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
        let (request, heard) = match (request, self.held.get(&key)) {
            (EffectRequest::Model(_), Some(granted)) => {
                (EffectRequest::Model(granted.request.clone()), Arc::clone(&granted.heard))
            }
            (EffectRequest::Model(_), None) => {
                let refusal = self.decided.remove(&key).and_then(Result::err);
                let message = refusal.map_or_else(String::new, |refusal| refusal.to_string());
                let failure = EffectFailure { class: FailureClass::LimitReached, message };
                return Box::pin(ready((key, EffectOutcome::Failed(failure))));
            }
            (tool, _) => (tool, Heard::default()),
        };
        Box::pin(perform(
            Arc::clone(workshop),
            allowed.clone(),
            self.run,
            key,
            request,
            deltas.clone(),
            heard,
        ))
    }

    /// The outcome with what it cost, which the next write settles.
    pub(super) fn settle(
        &mut self,
        key: &EffectKey,
        outcome: EffectOutcome,
        now: DateTime<Utc>,
    ) -> EffectOutcome {
        let Some(granted) = self.held.remove(key) else { return outcome };
        let Granted { reservation, at, heard, .. } = granted;
        match outcome {
            EffectOutcome::Model(mut reply) => {
                let price = self.prices.at(&reply.model, at).or_else(|| self.prices.at(&self.model, at));
                reply.usage = price.unwrap_or(Price::FREE).applied_to(reply.usage);
                let (used, model) = (reply.usage, reply.model.clone());
                self.settled.push(Settled { reservation, used, calls: 1, model, at: now });
                EffectOutcome::Model(reply)
            }
            other => {
                // A refusal before the first word costs nothing.
                let settled = if heard.load(Ordering::Relaxed) {
                    Settled::in_full(reservation, now)
                } else {
                    let model = reservation.model.clone();
                    Settled { reservation, used: Usage::default(), calls: 0, model, at: now }
                };
                self.settled.push(settled);
                other
            }
        }
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

    /// Whether the next write has nothing to do with money.
    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.settled.is_empty()
    }

    /// Whether calls were lost that no write has settled yet.
    pub(super) fn has_lost(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Settles what has ended and sets aside for what is wanted, in the transaction that journals both: all of it or
    /// nothing. The beginnings among the events say what was set aside for them. The run must be held in the transaction:
    /// whoever cancels it waits, or has made this the wrong lease.
    pub(super) async fn settle_up(
        &mut self,
        tx: &mut dyn TenantTx,
        run: &Run,
        events: &mut [NewEvent],
    ) -> Result<(), StoreError> {
        let budgets = self.settle_and_hold(tx).await?;
        self.decide(tx, run, budgets).await?;
        for event in events.iter_mut() {
            if let EventBody::StepStarted { key, reservation, .. } = &mut event.body {
                let granted = self.decided.get(key).and_then(|decision| decision.as_ref().ok());
                *reservation = granted.map(|granted| granted.reservation.clone());
            }
        }
        Ok(())
    }

    /// The last write is there.
    pub(super) fn written(&mut self) {
        self.settled.clear();
        self.wanted.clear();
        let (granted, refused) =
            std::mem::take(&mut self.decided).into_iter().partition(|(_, decision)| decision.is_ok());
        self.decided = refused;
        let granted: BTreeMap<_, Result<Granted, _>> = granted;
        self.held.extend(granted.into_iter().filter_map(|(key, decision)| Some((key, decision.ok()?))));
    }

    /// Settles what has ended, and gives the budgets that count what is wanted, each with its window held. Windows are
    /// taken in one order over both.
    async fn settle_and_hold(&self, tx: &mut dyn TenantTx) -> Result<Vec<Held>, StoreError> {
        let settled = by_window(&self.settled);
        let mut held = Vec::new();
        if let Some(Wanted { at, .. }) = self.wanted.first() {
            for budget in tx.budgets().applying(self.user, self.agent).await? {
                let window = budget.window(*at);
                held.push(Held { budget, window, so_far: Spending::default() });
            }
        }
        let windows: BTreeSet<BudgetWindow> =
            settled.keys().copied().chain(held.iter().map(|held| held.window)).collect();
        for window in windows {
            if let Some((reserved, spent)) = settled.get(&window) {
                tx.budgets().settle(window, *reserved, *spent).await?;
            }
            if let Some(held) = held.iter_mut().find(|held| held.window == window) {
                held.so_far = tx.budgets().hold(window).await?;
            }
        }
        add_usage(tx, self.user, self.agent, &self.settled).await?;
        Ok(held)
    }

    async fn decide(
        &mut self,
        tx: &mut dyn TenantTx,
        run: &Run,
        mut budgets: Vec<Held>,
    ) -> Result<(), StoreError> {
        self.decided.clear();
        if self.wanted.is_empty() {
            return Ok(());
        }
        self.prices = PriceList::new(tx.prices().list().await?);
        let mut under_way: Usage = self.held.values().map(|granted| granted.reservation.amount).sum();
        for Wanted { key, request, at } in &self.wanted {
            let decision = match self.fit(request, *at, run, under_way, &budgets) {
                Ok((request, amount)) => match set_aside(tx, &mut budgets, amount).await? {
                    None => {
                        under_way = under_way.plus(amount);
                        let windows = budgets.iter().map(|held| held.window).collect();
                        let reservation = Reservation { model: self.model.clone(), amount, windows };
                        Ok(Granted { request, reservation, at: *at, heard: Heard::default() })
                    }
                    Some(budget) => Err(BudgetRefusal::used_up(&budget, *at)),
                },
                Err(refusal) => Err(refusal),
            };
            self.decided.insert(key.clone(), decision);
        }
        Ok(())
    }

    /// The request as it may be sent, and what it costs at most.
    fn fit(
        &self,
        request: &ModelRequest,
        at: DateTime<Utc>,
        run: &Run,
        under_way: Usage,
        budgets: &[Held],
    ) -> Result<(ModelRequest, Usage), BudgetRefusal> {
        let limits = run.limits();
        let is_money_bound =
            limits.cost_micros > 0 || budgets.iter().any(|held| held.budget.caps.micros().is_some());
        let price = match self.prices.at(&self.model, at) {
            Some(price) => price,
            None if is_money_bound => return Err(BudgetRefusal::NoPrice(self.model.clone())),
            None => Price::FREE,
        };
        let used = run.usage().plus(under_way);
        let usual = request.max_output_tokens.unwrap_or(price.max_output_tokens);
        let input = input_bound(request);
        // The run's bound of tokens is against running away, so it is kept by a likely length of what is read.
        let left = limits.tokens.saturating_sub(used.total_tokens().saturating_add(input / BYTES_OF_A_TOKEN));
        let mut wanted = usual.min(u32::try_from(left).unwrap_or(u32::MAX).max(LEAST_OUTPUT));
        if limits.cost_micros > 0 {
            let left = limits.cost_micros.saturating_sub(used.cost_micros);
            let most = u32::try_from(price.affordable_output(left, input)).unwrap_or(u32::MAX);
            if most < wanted.min(LEAST_OUTPUT) {
                return Err(BudgetRefusal::Run(limits.cost_micros));
            }
            wanted = wanted.min(most);
        }
        let standing: Vec<(Budget, Spending)> =
            budgets.iter().map(|held| (held.budget.clone(), held.so_far)).collect();
        let output = fitting_output(request, &price, wanted, &standing, at)?;
        let mut sent = request.clone();
        // A provider that is told a bound may refuse more than its model can do; nobody is bound, so nobody is told.
        if is_money_bound || !budgets.is_empty() || output < usual {
            sent.max_output_tokens = Some(output);
        }
        Ok((sent, worst_case(request, &price, output)))
    }
}

/// A budget whose window nobody else can change for now.
struct Held {
    budget: Budget,
    window: BudgetWindow,
    so_far: Spending,
}

/// Sets an amount aside in every window, or in none: the budget that does not have it.
async fn set_aside(
    tx: &mut dyn TenantTx,
    budgets: &mut [Held],
    amount: Usage,
) -> Result<Option<Budget>, StoreError> {
    for index in 0..budgets.len() {
        let Held { budget, window, .. } = &budgets[index];
        if !tx.budgets().reserve(budget, *window, amount).await? {
            for before in &budgets[..index] {
                tx.budgets().settle(before.window, amount, Usage::default()).await?;
            }
            return Ok(Some(budget.clone()));
        }
    }
    for held in budgets {
        let reserved = &mut held.so_far.reserved;
        let Amount { micros, tokens } = amount.into();
        reserved.micros = reserved.micros.saturating_add(micros);
        reserved.tokens = reserved.tokens.saturating_add(tokens);
    }
    Ok(None)
}

/// What is no longer set aside in each window, and what of it was spent.
fn by_window(settled: &[Settled]) -> BTreeMap<BudgetWindow, (Usage, Usage)> {
    let mut windows: BTreeMap<BudgetWindow, (Usage, Usage)> = BTreeMap::new();
    for Settled { reservation, used, .. } in settled {
        let spent = reservation.bounded(*used);
        if spent != *used && !reservation.windows.is_empty() {
            tracing::warn!(model = reservation.model, ?used, "a call used more than its worst case");
        }
        for window in &reservation.windows {
            let sums = windows.entry(*window).or_default();
            *sums = (sums.0.plus(reservation.amount), sums.1.plus(spent));
        }
    }
    windows
}

async fn add_usage(
    tx: &mut dyn TenantTx,
    user: UserId,
    agent: AgentId,
    settled: &[Settled],
) -> Result<(), StoreError> {
    let mut sums: BTreeMap<UsageKey, (u64, Usage)> = BTreeMap::new();
    for Settled { used, calls, model, at, .. } in settled.iter().filter(|call| call.calls > 0) {
        let key = UsageKey { day: at.date_naive(), agent, user, model: model.clone() };
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + calls, sum.1.plus(*used));
    }
    for (key, (calls, used)) in sums {
        tx.usage().add(&key, calls, used).await?;
    }
    Ok(())
}

/// Settles in full what a run had under way when it ended. The run's row must have been written in this transaction.
pub(crate) async fn settle_in_flight(
    tx: &mut dyn TenantTx,
    run: &Run,
    journal: &[RunEvent],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let settled: Vec<_> = in_flight(journal).into_values().map(|held| Settled::in_full(held, now)).collect();
    for (window, (reserved, spent)) in by_window(&settled) {
        tx.budgets().settle(window, reserved, spent).await?;
    }
    add_usage(tx, run.requested_by(), run.selection().agent, &settled).await
}
