//! Budgets: how much a tenant, a user or an agent may spend in a day, a month or altogether.

use std::fmt;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use crate::access::named_enum;
use crate::ids::{AgentId, BudgetId, UserId};
use crate::model::Usage;

/// Whose calls a budget counts. A run's own bounds are its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetScope {
    /// All of the tenant's.
    Tenant,
    /// Those of runs that this user asked for.
    User(UserId),
    /// Those of this agent.
    Agent(AgentId),
}

impl fmt::Display for BudgetScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("the tenant"),
            Self::User(id) => write!(f, "{id}"),
            Self::Agent(id) => write!(f, "{id}"),
        }
    }
}

named_enum! {
    /// How long a cap is for, in UTC.
    Period as "period" {
        /// From midnight to midnight.
        Day = "day",
        /// From the first of a month to the first of the next.
        Month = "month",
        /// For ever.
        Total = "total",
    }
}

impl Period {
    /// When the window that has this time in it began.
    pub fn start(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let day = at.date_naive();
        match self {
            Self::Day => midnight(day),
            Self::Month => midnight(day.with_day(1).unwrap_or(day)),
            Self::Total => DateTime::UNIX_EPOCH,
        }
    }

    /// When the window that has this time in it is over; never, for a total.
    pub fn end(self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let start = self.start(at).date_naive();
        match self {
            Self::Day => start.checked_add_days(Days::new(1)).map(midnight),
            Self::Month => start.checked_add_months(Months::new(1)).map(midnight),
            Self::Total => None,
        }
    }
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// What may be spent in a window: money, tokens or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    micros: Option<u64>,
    tokens: Option<u64>,
}

/// Why caps are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCaps {
    /// Nothing is capped.
    #[error("a budget caps money (`cap_micros`), tokens (`cap_tokens`) or both")]
    None,
    /// More than can be counted.
    #[error("a cap is at most {}", Caps::MAX)]
    TooHigh,
}

impl Caps {
    /// The highest cap.
    pub const MAX: u64 = 1 << 60;

    /// Checks caps, in millionths of a US dollar and in tokens of both directions.
    pub const fn new(micros: Option<u64>, tokens: Option<u64>) -> Result<Self, InvalidCaps> {
        match (micros, tokens) {
            (None, None) => Err(InvalidCaps::None),
            (Some(cap), _) | (_, Some(cap)) if cap > Self::MAX => Err(InvalidCaps::TooHigh),
            (Some(_), Some(cap)) if cap > Self::MAX => Err(InvalidCaps::TooHigh),
            _ => Ok(Self { micros, tokens }),
        }
    }

    /// Money, in millionths of a US dollar.
    pub const fn micros(&self) -> Option<u64> {
        self.micros
    }

    /// Tokens, in both directions.
    pub const fn tokens(&self) -> Option<u64> {
        self.tokens
    }

    /// Whether so much is within both.
    pub fn hold(&self, amount: Usage) -> bool {
        self.micros.is_none_or(|cap| amount.cost_micros <= cap)
            && self.tokens.is_none_or(|cap| amount.total_tokens() <= cap)
    }
}

/// A budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its id.
    pub id: BudgetId,
    /// Whose calls it counts.
    pub scope: BudgetScope,
    /// For how long.
    pub period: Period,
    /// How much.
    pub caps: Caps,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Grows by one with each change.
    pub version: u64,
}

impl Budget {
    /// A new budget.
    pub const fn new(
        id: BudgetId,
        scope: BudgetScope,
        period: Period,
        caps: Caps,
        now: DateTime<Utc>,
    ) -> Self {
        Self { id, scope, period, caps, created_at: now, version: 1 }
    }

    /// The same budget with other caps. What was spent stays spent.
    #[must_use]
    pub fn capped(self, caps: Caps) -> Self {
        Self { caps, version: self.version + 1, ..self }
    }

    /// The window that counts at this time.
    pub fn window(&self, at: DateTime<Utc>) -> BudgetWindow {
        BudgetWindow { budget: self.id, start: self.period.start(at) }
    }

    /// What is left beside what was spent and reserved: money and tokens, without a bound where there is no cap.
    pub fn left(&self, so_far: Spending) -> (u64, u64) {
        let used = so_far.used();
        let left = |cap: Option<u64>, used: u64| cap.map_or(u64::MAX, |cap| cap.saturating_sub(used));
        (left(self.caps.micros, used.micros), left(self.caps.tokens, used.tokens))
    }
}

/// One window of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BudgetWindow {
    /// The budget.
    pub budget: BudgetId,
    /// When it began.
    pub start: DateTime<Utc>,
}

/// Money and tokens, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Millionths of a US dollar.
    pub micros: u64,
    /// Tokens.
    pub tokens: u64,
}

impl From<Usage> for Amount {
    fn from(usage: Usage) -> Self {
        Self { micros: usage.cost_micros, tokens: usage.total_tokens() }
    }
}

/// What was spent in a window, and what is reserved for calls that are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// Spent for good.
    pub spent: Amount,
    /// Reserved.
    pub reserved: Amount,
}

impl Spending {
    /// Both together.
    pub fn used(&self) -> Amount {
        Amount {
            micros: self.spent.micros.saturating_add(self.reserved.micros),
            tokens: self.spent.tokens.saturating_add(self.reserved.tokens),
        }
    }
}
