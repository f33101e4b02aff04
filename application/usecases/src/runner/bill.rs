//! What runs are billed for in one transaction: settled and set aside with the journal that tells of it, all or nothing
//! (ADR 0022).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use powerhouse_domain::effects::EffectKey;
use powerhouse_domain::ids::{AgentId, UserId};
use powerhouse_domain::model::{ModelRequest, Usage};
use powerhouse_domain::money::{
    Amount, Budget, BudgetRefusal, BudgetWindow, LEAST_OUTPUT, Price, PriceList, Reservation, Spending,
    UsageKey, check_fits, fitting_output, in_flight, input_bound, worst_case,
};
use powerhouse_domain::runs::{EventBody, Run, RunEvent};
use powerhouse_domain::tools::ModelUsed;
use powerhouse_ports::store::{Numbers, StoreError, TenantTx, Work};

use super::perform::Call;
use super::sink::Heard;
use crate::models::Route;

/// English text has about four bytes to a token; a run's bound of tokens is kept by this, and a budget's by the bytes.
const BYTES_OF_A_TOKEN: u64 = 4;

/// A call that is to be made once there is something set aside for it.
pub(super) struct Wanted {
    pub(super) key: EffectKey,
    pub(super) what: What,
    pub(super) at: DateTime<Utc>,
}

/// What is to be called.
pub(super) enum What {
    /// A model.
    Model {
        request: ModelRequest,
        /// Who is to answer it.
        route: Arc<Route>,
    },
    /// A tool that has a model consume so much, at most.
    Tool(ModelUsed),
}

/// What a call may do.
#[derive(Clone)]
pub(super) struct Granted {
    /// The call, of a model.
    pub(super) call: Option<Call>,
    pub(super) reservation: Reservation,
    pub(super) at: DateTime<Utc>,
}

/// How a call fits into what is left.
struct Fitting {
    request: ModelRequest,
    /// What it costs at most.
    amount: Usage,
    may_hedge: bool,
}

/// What is no longer set aside, and what of it was spent.
pub(super) struct Settled {
    pub(super) reservation: Reservation,
    /// What was used, whatever was set aside for it.
    pub(super) used: Usage,
    pub(super) calls: u64,
    pub(super) model: String,
    pub(super) at: DateTime<Utc>,
}

impl Settled {
    /// A call whose outcome nobody will know: it may have been billed.
    pub(super) fn in_full(reservation: Reservation, at: DateTime<Utc>) -> Self {
        Self { used: reservation.amount, calls: 1, model: reservation.model.clone(), reservation, at }
    }

    /// A call that came to nothing.
    pub(super) fn unused(reservation: Reservation, at: DateTime<Utc>) -> Self {
        let used = Usage::default();
        Self { used, calls: 0, model: reservation.model.clone(), reservation, at }
    }
}

/// What a run's next write settles and sets aside, and what it decided.
pub(super) struct Bill {
    pub(super) user: UserId,
    pub(super) agent: AgentId,
    /// What is set aside for calls that go on.
    pub(super) under_way: Usage,
    pub(super) wanted: Vec<Wanted>,
    pub(super) settled: Vec<Settled>,
    /// What was decided on what is wanted.
    pub(super) decided: BTreeMap<EffectKey, Result<Granted, BudgetRefusal>>,
    /// The prices by which that was decided.
    pub(super) prices: Option<PriceList>,
    /// Whether the tenant has budgets or prices of its own, as far as is known.
    pub(super) has_terms: bool,
}

impl Bill {
    /// Whether nothing of it is counted by a budget, as far as is known.
    pub(super) fn is_plain(&self) -> bool {
        !self.has_terms && self.settled.iter().all(|call| call.reservation.windows.is_empty())
    }

    /// Decides as if there were neither budgets nor prices of the tenant's own. Whether there was something to decide.
    pub(super) fn decide_freely(&mut self, work: &mut Work) -> bool {
        if !self.wanted.is_empty() {
            self.decide(work, &PriceList::new(Vec::new()), &Counting::new(), &mut Standing::default());
        }
        !self.wanted.is_empty()
    }

    /// What calls used that have ended, by what they are counted with.
    pub(super) fn used(&self) -> Vec<(UsageKey, u64, Usage)> {
        let mut used = Used::new();
        count_usage(&mut used, self.user, self.agent, &self.settled);
        used.into_iter().map(|(key, (calls, usage))| (key, calls, usage)).collect()
    }

    /// Decides on what is wanted, one after the other. The beginnings among the events say what is set aside for them.
    fn decide(&mut self, work: &mut Work, prices: &PriceList, counting: &Counting, standing: &mut Standing) {
        self.prices = Some(prices.clone());
        self.decided.clear();
        let mut under_way = self.under_way;
        for Wanted { key, what, at } in &self.wanted {
            let so_far = standing.of(counting);
            let decision = match what {
                What::Model { request, route } => {
                    let fitting = self.fit(request, route, *at, &work.run, under_way, &so_far);
                    fitting.map(|Fitting { request, amount, may_hedge }| {
                        let (route, model) = (Arc::clone(route), route.first().to_owned());
                        let call = Call { request, route, may_hedge, heard: Heard::default() };
                        (Some(call), model, amount)
                    })
                }
                What::Tool(most) => {
                    let amount = self.fit_tool(most, *at, &work.run, under_way, &so_far);
                    amount.map(|amount| (None, most.model.clone(), amount))
                }
            };
            let decision = decision.map(|(call, model, amount)| {
                under_way = under_way.plus(amount);
                standing.set_aside(counting, amount);
                let reservation = Reservation { model, amount, windows: windows(counting) };
                Granted { call, reservation, at: *at }
            });
            self.decided.insert(key.clone(), decision);
        }
        for event in &mut work.events {
            if let EventBody::StepStarted { key, reservation, .. } = &mut event.body {
                let granted = self.decided.get(key).and_then(|decision| decision.as_ref().ok());
                *reservation = granted.map(|granted| granted.reservation.clone());
            }
        }
    }
}

/// The budgets that count a run's calls, each with its window.
pub(super) type Counting = Vec<(Budget, BudgetWindow)>;

pub(super) fn windows(counting: &Counting) -> Vec<BudgetWindow> {
    counting.iter().map(|(_, window)| *window).collect()
}

/// How the windows stand that count what is wanted, and what is set aside in each by this transaction.
#[derive(Default)]
pub(super) struct Standing(BTreeMap<BudgetWindow, (Spending, Option<(Budget, Usage)>)>);

impl Standing {
    pub(super) fn of(&self, counting: &Counting) -> Vec<(Budget, Spending)> {
        let so_far = |window| self.0.get(window).map(|(so_far, _)| *so_far).unwrap_or_default();
        counting.iter().map(|(budget, window)| (budget.clone(), so_far(window))).collect()
    }

    pub(super) fn set_aside(&mut self, counting: &Counting, amount: Usage) {
        let Amount { micros, tokens } = amount.into();
        for (budget, window) in counting {
            let (so_far, sum) = self.0.entry(*window).or_default();
            so_far.reserved.micros = so_far.reserved.micros.saturating_add(micros);
            so_far.reserved.tokens = so_far.reserved.tokens.saturating_add(tokens);
            let (_, sum) = sum.get_or_insert_with(|| (budget.clone(), Usage::default()));
            *sum = sum.plus(amount);
        }
    }

    /// Stores what is set aside.
    pub(super) async fn reserve(self, tx: &mut dyn TenantTx) -> Result<(), StoreError> {
        for (window, (_, sum)) in self.0 {
            let Some((budget, amount)) = sum else { continue };
            // INVARIANT: the window is held, and each amount was within what was left of it.
            if !tx.budgets().reserve(&budget, window, amount).await? {
                return Err(StoreError::Conflict { entity: "budget" });
            }
        }
        Ok(())
    }
}

/// Settles what has ended and sets aside for what is wanted. The beginnings among the events say what was set aside for
/// them. The runs must have been advanced in the transaction: whoever cancels one waits, or was first.
pub(super) async fn settle_up(
    tx: &mut dyn TenantTx,
    billed: &mut [(&mut Work, &mut Bill)],
    numbers: &[Numbers],
) -> Result<(), StoreError> {
    let mut counting = Vec::new();
    let mut known: BTreeMap<(UserId, AgentId), Vec<Budget>> = BTreeMap::new();
    for ((_, bill), numbers) in billed.iter().zip(numbers) {
        counting.push(match bill.wanted.first() {
            Some(Wanted { at, .. }) if numbers.has_budgets => {
                let budgets = match known.entry((bill.user, bill.agent)) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        new.insert(tx.budgets().applying(bill.user, Some(bill.agent)).await?)
                    }
                };
                budgets.iter().map(|budget| (budget.clone(), budget.window(*at))).collect()
            }
            _ => Counting::new(),
        });
    }
    let mut standing = settle(tx, billed, &counting).await?;
    let mut prices = None;
    for (((work, bill), numbers), counting) in billed.iter_mut().zip(numbers).zip(&counting) {
        bill.has_terms = numbers.has_budgets || numbers.has_prices;
        if bill.wanted.is_empty() {
            continue;
        }
        if prices.is_none() {
            let own = if numbers.has_prices { tx.prices().list().await? } else { Vec::new() };
            prices = Some(PriceList::new(own));
        }
        if let Some(prices) = &prices {
            bill.decide(work, prices, counting, &mut standing);
        }
    }
    standing.reserve(tx).await?;
    let mut used = Used::new();
    for (_, bill) in &*billed {
        count_usage(&mut used, bill.user, bill.agent, &bill.settled);
    }
    add_usage(tx, used).await
}

/// Settles what has ended, and gives what was spent in each window that counts what is wanted; nobody else changes these
/// for now. Windows are taken in one order over both.
pub(super) async fn settle(
    tx: &mut dyn TenantTx,
    billed: &[(&mut Work, &mut Bill)],
    counting: &[Counting],
) -> Result<Standing, StoreError> {
    let settled = by_window(billed.iter().flat_map(|(_, bill)| &bill.settled));
    let held: BTreeSet<BudgetWindow> = counting.iter().flatten().map(|(_, window)| *window).collect();
    let mut standing = Standing::default();
    for window in settled.keys().copied().chain(held.iter().copied()).collect::<BTreeSet<_>>() {
        if let Some((reserved, spent)) = settled.get(&window) {
            tx.budgets().settle(window, *reserved, *spent).await?;
        }
        if held.contains(&window) {
            standing.0.insert(window, (tx.budgets().hold(window).await?, None));
        }
    }
    Ok(standing)
}

impl Bill {
    /// The request as it may be sent, and what it costs at most, whoever answers it.
    fn fit(
        &self,
        request: &ModelRequest,
        route: &Route,
        at: DateTime<Utc>,
        run: &Run,
        under_way: Usage,
        standing: &[(Budget, Spending)],
    ) -> Result<Fitting, BudgetRefusal> {
        let limits = run.limits();
        let is_money_bound = limits.cost_micros > 0 || is_money_bound(standing);
        let price = self.dearest(route, at, is_money_bound)?;
        let used = run.usage().plus(under_way);
        let most = route.max_output().unwrap_or(u32::MAX);
        let usual = request.max_output_tokens.unwrap_or(price.max_output_tokens).min(most);
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
        let output = fitting_output(request, &price, wanted, standing, at)?;
        let mut sent = request.clone();
        // A provider that is told a bound may refuse more than its model can do; nobody is bound, so nobody is told.
        if is_money_bound || !standing.is_empty() || output < usual {
            sent.max_output_tokens = Some(output);
        }
        let once = worst_case(request, &price, output);
        // Both are paid for. Where that does not fit, it is made once.
        let twice = once.plus(once);
        let cost = used.cost_micros.saturating_add(twice.cost_micros);
        let may_hedge = route.is_hedged
            && (limits.cost_micros == 0 || cost <= limits.cost_micros)
            && standing.iter().all(|(budget, so_far)| {
                let (micros, tokens) = budget.left(*so_far);
                twice.cost_micros <= micros && twice.total_tokens() <= tokens
            });
        Ok(Fitting { request: sent, amount: if may_hedge { twice } else { once }, may_hedge })
    }

    /// What a tool has a model consume at most, and what that costs.
    fn fit_tool(
        &self,
        most: &ModelUsed,
        at: DateTime<Utc>,
        run: &Run,
        under_way: Usage,
        standing: &[(Budget, Spending)],
    ) -> Result<Usage, BudgetRefusal> {
        let bound = run.limits().cost_micros;
        let is_money_bound = bound > 0 || is_money_bound(standing);
        let price = self.price(&most.model, at, is_money_bound)?;
        let amount = price.worst_of(most.usage.input_tokens, most.usage.output_tokens);
        let cost = run.usage().plus(under_way).plus(amount).cost_micros;
        if bound > 0 && cost > bound {
            return Err(BudgetRefusal::Run(bound));
        }
        check_fits(amount, standing, at)?;
        Ok(amount)
    }

    fn price(&self, model: &str, at: DateTime<Utc>, is_money_bound: bool) -> Result<Price, BudgetRefusal> {
        let none = PriceList::default();
        self.prices.as_ref().unwrap_or(&none).bounding(model, at, is_money_bound)
    }

    /// The highest price of those who may answer, each part for itself.
    fn dearest(
        &self,
        route: &Route,
        at: DateTime<Utc>,
        is_money_bound: bool,
    ) -> Result<Price, BudgetRefusal> {
        let mut dearest: Option<Price> = None;
        for model in route.models() {
            let price = self.price(model, at, is_money_bound)?;
            dearest = Some(dearest.map_or(price, |other| other.or_dearer(price)));
        }
        Ok(dearest.unwrap_or(Price::FREE))
    }
}

pub(super) fn is_money_bound(standing: &[(Budget, Spending)]) -> bool {
    standing.iter().any(|(budget, _)| budget.caps.micros().is_some())
}

/// What is no longer set aside in each window, and what of it was spent.
fn by_window<'a>(settled: impl IntoIterator<Item = &'a Settled>) -> BTreeMap<BudgetWindow, (Usage, Usage)> {
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

/// Calls and what they used, by what they are counted with.
type Used = BTreeMap<UsageKey, (u64, Usage)>;

fn count_usage(sums: &mut Used, user: UserId, agent: AgentId, settled: &[Settled]) {
    for call in settled.iter().filter(|call| call.calls > 0) {
        let (day, agent) = (call.at.date_naive(), Some(agent));
        let key = UsageKey { day, agent, user, model: call.model.clone() };
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + call.calls, sum.1.plus(call.used));
    }
}

async fn add_usage(tx: &mut dyn TenantTx, used: Used) -> Result<(), StoreError> {
    for (key, (calls, usage)) in used {
        tx.usage().add(&key, calls, usage).await?;
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
    let mut used = Used::new();
    count_usage(&mut used, run.requested_by(), run.selection().agent, &settled);
    add_usage(tx, used).await
}
