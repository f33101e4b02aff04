//! Price lists: what a model's tokens cost, and since when.

use chrono::{DateTime, Utc};

use super::BudgetRefusal;
use crate::model::Usage;

/// The tokens that a price is for.
const MILLION: u128 = 1_000_000;
/// The longest name of a model, in characters.
const MAX_NAME: usize = 128;
/// The highest price of a million tokens: a million dollars.
const MAX_MICROS: u64 = 1_000_000_000_000;
/// The most that a call may generate, where a price says nothing else.
const DEFAULT_OUTPUT: u32 = 8_192;

/// What a million tokens cost, in millionths of a US dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// A million tokens read.
    pub input_micros: u64,
    /// A million tokens generated.
    pub output_micros: u64,
    /// A million tokens read that the provider had kept from an earlier call.
    pub cache_read_micros: u64,
    /// A million tokens read that the provider keeps for later calls.
    pub cache_write_micros: u64,
    /// The most tokens that a call may generate when it does not say so itself.
    pub max_output_tokens: u32,
}

impl Price {
    /// What costs nothing.
    pub const FREE: Self = Self::new(0, 0);

    /// A price, with the usual bound of what a call may generate, where no cache makes a difference.
    pub const fn new(input_micros: u64, output_micros: u64) -> Self {
        Self {
            input_micros,
            output_micros,
            cache_read_micros: input_micros,
            cache_write_micros: input_micros,
            max_output_tokens: DEFAULT_OUTPUT,
        }
    }

    /// The same where tokens that a provider had kept, or keeps, cost so much.
    #[must_use]
    pub const fn with_cache(self, cache_read_micros: u64, cache_write_micros: u64) -> Self {
        Self { cache_read_micros, cache_write_micros, ..self }
    }

    /// The most that a million tokens read may cost.
    fn dearest_input(&self) -> u128 {
        self.input_micros.max(self.cache_read_micros).max(self.cache_write_micros).into()
    }

    /// The same usage with what it costs, rounded up.
    #[must_use]
    pub fn applied_to(&self, usage: Usage) -> Usage {
        let kept = usage.cache_read_tokens.min(usage.input_tokens);
        let keeps = usage.cache_write_tokens.min(usage.input_tokens - kept);
        let parts = [
            (usage.input_tokens - kept - keeps, self.input_micros),
            (kept, self.cache_read_micros),
            (keeps, self.cache_write_micros),
            (usage.output_tokens, self.output_micros),
        ];
        usage.at_cost(cost(parts.map(|(tokens, micros)| u128::from(tokens) * u128::from(micros))))
    }

    /// So many tokens with the most that they may cost, whatever a cache has to do with them.
    pub fn worst_of(&self, input_tokens: u64, output_tokens: u64) -> Usage {
        let input = u128::from(input_tokens) * self.dearest_input();
        let output = u128::from(output_tokens) * u128::from(self.output_micros);
        Usage::of_tokens(input_tokens, output_tokens).at_cost(cost([input, output]))
    }

    /// How many tokens may be generated for so much, when so many are read; none when reading alone may cost more.
    pub fn affordable_output(&self, micros: u64, input_tokens: u64) -> u64 {
        let left =
            (u128::from(micros) * MILLION).checked_sub(u128::from(input_tokens) * self.dearest_input());
        match (left, u128::from(self.output_micros)) {
            (None, _) => 0,
            (Some(_), 0) => u64::MAX,
            (Some(left), price) => u64::try_from(left / price).unwrap_or(u64::MAX),
        }
    }

    /// The dearer of two prices, each part for itself: what a call costs at most that either may answer.
    #[must_use]
    pub fn or_dearer(self, other: Self) -> Self {
        Self {
            input_micros: self.input_micros.max(other.input_micros),
            output_micros: self.output_micros.max(other.output_micros),
            cache_read_micros: self.cache_read_micros.max(other.cache_read_micros),
            cache_write_micros: self.cache_write_micros.max(other.cache_write_micros),
            max_output_tokens: self.max_output_tokens.max(other.max_output_tokens),
        }
    }
}

/// What parts cost together, in millionths of a dollar: each is tokens times the price of a million.
fn cost<const N: usize>(parts: [u128; N]) -> u64 {
    let sum = parts.into_iter().fold(0, u128::saturating_add);
    u64::try_from(sum.div_ceil(MILLION)).unwrap_or(u64::MAX)
}

/// A model's price from some time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceEntry {
    /// The model, as its provider names it.
    pub model: String,
    /// Since when.
    pub effective_from: DateTime<Utc>,
    /// The price.
    pub price: Price,
}

/// Why an entry is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrice {
    /// The name is blank or too long.
    #[error("a model's name has 1 to {MAX_NAME} characters, and none is a control character")]
    Model,
    /// A price is too high to be one.
    #[error("a million tokens cost at most {MAX_MICROS} millionths of a dollar")]
    Amount,
    /// No call could generate anything.
    #[error("a call must be allowed to generate at least one token")]
    Output,
}

impl PriceEntry {
    /// Checks an entry.
    pub fn new(
        model: impl Into<String>,
        effective_from: DateTime<Utc>,
        price: Price,
    ) -> Result<Self, InvalidPrice> {
        let model = model.into();
        let is_name = !model.trim().is_empty()
            && model.chars().nth(MAX_NAME).is_none()
            && !model.chars().any(char::is_control);
        if !is_name {
            return Err(InvalidPrice::Model);
        }
        if price.dearest_input().max(price.output_micros.into()) > MAX_MICROS.into() {
            return Err(InvalidPrice::Amount);
        }
        if price.max_output_tokens == 0 {
            return Err(InvalidPrice::Output);
        }
        Ok(Self { model, effective_from, price })
    }
}

/// The platform's own prices, per million tokens. A tenant's entries go before these.
const DEFAULTS: [(&str, Price); 18] = [
    ("powerhouse-offline", Price::FREE),
    ("powerhouse-offline-ngrams-1", Price::FREE),
    ("text-embedding-3-small", Price::new(20_000, 0)),
    ("text-embedding-3-large", Price::new(130_000, 0)),
    ("text-embedding-ada-002", Price::new(100_000, 0)),
    ("gpt-5", openai(1_250_000, 125_000, 10_000_000)),
    ("gpt-5-mini", openai(250_000, 25_000, 2_000_000)),
    ("gpt-5-nano", openai(50_000, 5_000, 400_000)),
    ("gpt-4.1", openai(2_000_000, 500_000, 8_000_000)),
    ("gpt-4.1-mini", openai(400_000, 100_000, 1_600_000)),
    ("gpt-4.1-nano", openai(100_000, 25_000, 400_000)),
    ("gpt-4o", openai(2_500_000, 1_250_000, 10_000_000)),
    ("gpt-4o-mini", openai(150_000, 75_000, 600_000)),
    ("o3", openai(2_000_000, 500_000, 8_000_000)),
    ("o4-mini", openai(1_100_000, 275_000, 4_400_000)),
    ("claude-opus-4-1", anthropic(15_000_000, 75_000_000)),
    ("claude-sonnet-4-5", anthropic(3_000_000, 15_000_000)),
    ("claude-haiku-4-5", anthropic(1_000_000, 5_000_000)),
];

/// OpenAI keeps by itself, at no charge.
const fn openai(input: u64, cache_read: u64, output: u64) -> Price {
    Price::new(input, output).with_cache(cache_read, input)
}

/// Anthropic reads what it kept at a tenth, and takes a quarter more for keeping it.
const fn anthropic(input: u64, output: u64) -> Price {
    Price::new(input, output).with_cache(input / 10, input / 4 * 5)
}

/// A tenant's prices, and behind them the platform's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceList {
    own: Vec<PriceEntry>,
}

impl PriceList {
    /// The most entries that a tenant may have.
    pub const MAX_ENTRIES: usize = 1_000;

    /// A list with these entries of the tenant's own.
    pub const fn new(own: Vec<PriceEntry>) -> Self {
        Self { own }
    }

    /// The platform's prices, in force since ever.
    pub fn defaults() -> Vec<PriceEntry> {
        let entry = |(model, price): (&str, Price)| PriceEntry {
            model: model.to_owned(),
            effective_from: DateTime::UNIX_EPOCH,
            price,
        };
        DEFAULTS.into_iter().map(entry).collect()
    }

    /// The price of a model at some time: the tenant's newest that is in force, else the platform's. A dated or
    /// `latest` name, such as `gpt-5-mini-2025-08-07`, has the price of the model that it is a release of.
    pub fn at(&self, model: &str, at: DateTime<Utc>) -> Option<Price> {
        self.exactly(model, at).or_else(|| self.exactly(released(model)?, at))
    }

    /// What a call used, at the price of the model that answered; at that of the one that was asked, where it has none; and for
    /// nothing, where neither has.
    pub fn charged(&self, used: Usage, answered: &str, asked: &str, at: DateTime<Utc>) -> Usage {
        let price = self.at(answered, at).or_else(|| self.at(asked, at));
        price.unwrap_or(Price::FREE).applied_to(used)
    }

    /// The price of a call that budgets may count: a model without a price costs nothing while money is not bounded, and is
    /// refused once it is.
    pub fn bounding(
        &self,
        model: &str,
        at: DateTime<Utc>,
        is_money_bound: bool,
    ) -> Result<Price, BudgetRefusal> {
        match self.at(model, at) {
            Some(price) => Ok(price),
            None if is_money_bound => Err(BudgetRefusal::NoPrice(model.to_owned())),
            None => Ok(Price::FREE),
        }
    }

    fn exactly(&self, model: &str, at: DateTime<Utc>) -> Option<Price> {
        let in_force = self.own.iter().filter(|entry| entry.model == model && entry.effective_from <= at);
        let own = in_force.max_by_key(|entry| entry.effective_from).map(|entry| entry.price);
        own.or_else(|| DEFAULTS.iter().find(|(name, _)| *name == model).map(|(_, price)| *price))
    }
}

/// The model that a dated name is a release of: without `-latest`, `-2025-08-07` or `-20250807`.
fn released(model: &str) -> Option<&str> {
    if let Some(name) = model.strip_suffix("-latest") {
        return Some(name);
    }
    ["-0000-00-00", "-00000000"].into_iter().find_map(|form| {
        let (name, date) = model.split_at_checked(model.len().checked_sub(form.len())?)?;
        let fits =
            |(c, expected): (u8, u8)| if expected == b'0' { c.is_ascii_digit() } else { c == expected };
        date.bytes().zip(form.bytes()).all(fits).then_some(name)
    })
}
