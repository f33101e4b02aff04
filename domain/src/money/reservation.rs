//! Reservations: what a call may cost at most, set aside before it is made.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::{Amount, Budget, BudgetWindow, Price, Spending, input_bound};
use crate::effects::EffectKey;
use crate::model::{ModelRequest, Usage};
use crate::runs::{EventBody, RunEvent};

/// The fewest tokens that a call is worth making for. A call that may generate less is refused.
pub const LEAST_OUTPUT: u32 = 32;

/// What was set aside for one model call, or for what a tool has a model read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The model that was asked.
    pub model: String,
    /// The worst case.
    pub amount: Usage,
    /// Where it was set aside, in the order of the budgets' ids.
    pub windows: Vec<BudgetWindow>,
}

impl Reservation {
    /// Nothing, for a call of this model.
    pub fn nothing(model: impl Into<String>) -> Self {
        Self { model: model.into(), amount: Usage::default(), windows: Vec::new() }
    }

    /// What of a usage is spent: never more than was set aside, whatever a provider says it was.
    pub fn bounded(&self, usage: Usage) -> Usage {
        Usage {
            input_tokens: usage.input_tokens.min(self.amount.input_tokens),
            output_tokens: usage.output_tokens.min(self.amount.output_tokens),
            cost_micros: usage.cost_micros.min(self.amount.cost_micros),
            ..usage
        }
    }

    /// What of it is left of a usage.
    pub fn unspent(&self, usage: Usage) -> Usage {
        let spent = self.bounded(usage);
        let input = self.amount.input_tokens - spent.input_tokens;
        let output = self.amount.output_tokens - spent.output_tokens;
        Usage::of_tokens(input, output).at_cost(self.amount.cost_micros - spent.cost_micros)
    }
}

/// A budget that does not have what a call may cost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetRefusal {
    /// A budget is used up, or what is left is reserved for calls that are under way.
    #[error("the {period} budget {budget} of {scope} has too little left for this call{}", again(*.resets_at),
        period = .budget.period, budget = .budget.id, scope = .budget.scope)]
    UsedUp {
        /// The budget.
        budget: Box<Budget>,
        /// When it begins anew.
        resets_at: Option<DateTime<Utc>>,
    },
    /// What the run may cost.
    #[error("the run's limit of {0} millionths of a dollar has too little left for this call")]
    Run(u64),
    /// Money is bounded, and nobody knows what the model costs.
    #[error(
        "the model `{0}` has no price, so that no bound of money could be kept: add it to the price list"
    )]
    NoPrice(String),
}

fn again(resets_at: Option<DateTime<Utc>>) -> String {
    resets_at.map_or_else(String::new, |at| {
        format!("; it begins anew at {}", at.to_rfc3339_opts(SecondsFormat::Secs, true))
    })
}

impl BudgetRefusal {
    /// A budget that has too little left now.
    pub fn used_up(budget: &Budget, now: DateTime<Utc>) -> Self {
        Self::UsedUp { budget: Box::new(budget.clone()), resets_at: budget.period.end(now) }
    }
}

/// How much a call may generate within what its budgets have left: at most `wanted`. The first that has too little for
/// the fewest is named.
pub fn fitting_output(
    request: &ModelRequest,
    price: &Price,
    wanted: u32,
    budgets: &[(Budget, Spending)],
    now: DateTime<Utc>,
) -> Result<u32, BudgetRefusal> {
    let input = input_bound(request);
    let mut output = wanted;
    for (budget, so_far) in budgets {
        let (micros, tokens) = budget.left(*so_far);
        let most = price.affordable_output(micros, input).min(tokens.saturating_sub(input));
        output = output.min(u32::try_from(most).unwrap_or(u32::MAX));
        if output < wanted.min(LEAST_OUTPUT) {
            return Err(BudgetRefusal::used_up(budget, now));
        }
    }
    Ok(output)
}

/// Whether budgets have so much left. The first that has too little is named.
pub fn check_fits(
    amount: Usage,
    budgets: &[(Budget, Spending)],
    now: DateTime<Utc>,
) -> Result<(), BudgetRefusal> {
    let Amount { micros, tokens } = amount.into();
    let is_short = |(budget, so_far): &&(Budget, Spending)| {
        let left = budget.left(*so_far);
        micros > left.0 || tokens > left.1
    };
    match budgets.iter().find(is_short) {
        Some((budget, _)) => Err(BudgetRefusal::used_up(budget, now)),
        None => Ok(()),
    }
}

/// What is set aside for calls of a run that have no outcome, by their keys. Whoever takes a run over settles what was
/// open in the transaction that journals its `Started`; so what was open before one is settled.
pub fn in_flight(events: &[RunEvent]) -> BTreeMap<EffectKey, Reservation> {
    let mut open = BTreeMap::new();
    for event in events {
        match &event.body {
            EventBody::Started { .. } => open.clear(),
            EventBody::StepStarted { key, reservation: Some(reservation), .. } => {
                open.insert(key.clone(), reservation.clone());
            }
            EventBody::StepEnded { key, .. } => {
                open.remove(key);
            }
            body if body.is_final() => open.clear(),
            _ => {}
        }
    }
    open
}
