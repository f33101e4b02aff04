//! Price lists: what a model's tokens cost, and since when.

use chrono::{DateTime, Utc};

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
    /// The most tokens that a call may generate when it does not say so itself.
    pub max_output_tokens: u32,
}

impl Price {
    /// What costs nothing.
    pub const FREE: Self = Self { input_micros: 0, output_micros: 0, max_output_tokens: DEFAULT_OUTPUT };

    /// A price, with the usual bound of what a call may generate.
    pub const fn new(input_micros: u64, output_micros: u64) -> Self {
        Self { input_micros, output_micros, max_output_tokens: DEFAULT_OUTPUT }
    }

    /// What so many tokens cost, rounded up.
    pub fn cost(&self, input_tokens: u64, output_tokens: u64) -> u64 {
        let input = u128::from(input_tokens) * u128::from(self.input_micros);
        let output = u128::from(output_tokens) * u128::from(self.output_micros);
        u64::try_from(input.saturating_add(output).div_ceil(MILLION)).unwrap_or(u64::MAX)
    }

    /// The same usage with what it costs.
    #[must_use]
    pub fn applied_to(&self, usage: Usage) -> Usage {
        Usage { cost_micros: self.cost(usage.input_tokens, usage.output_tokens), ..usage }
    }

    /// How many tokens may be generated for so much, when so many are read; none when reading alone costs more.
    pub fn affordable_output(&self, micros: u64, input_tokens: u64) -> u64 {
        let left = (u128::from(micros) * MILLION)
            .saturating_sub(u128::from(input_tokens) * u128::from(self.input_micros));
        match (u128::from(self.output_micros), self.cost(input_tokens, 0) <= micros) {
            (_, false) => 0,
            (0, true) => u64::MAX,
            (price, true) => u64::try_from(left / price).unwrap_or(u64::MAX),
        }
    }
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
        if price.input_micros.max(price.output_micros) > MAX_MICROS {
            return Err(InvalidPrice::Amount);
        }
        if price.max_output_tokens == 0 {
            return Err(InvalidPrice::Output);
        }
        Ok(Self { model, effective_from, price })
    }
}

/// The platform's own prices, per million tokens read and generated. A tenant's entries go before these.
const DEFAULTS: [(&str, u64, u64); 14] = [
    ("powerhouse-offline", 0, 0),
    ("gpt-5", 1_250_000, 10_000_000),
    ("gpt-5-mini", 250_000, 2_000_000),
    ("gpt-5-nano", 50_000, 400_000),
    ("gpt-4.1", 2_000_000, 8_000_000),
    ("gpt-4.1-mini", 400_000, 1_600_000),
    ("gpt-4.1-nano", 100_000, 400_000),
    ("gpt-4o", 2_500_000, 10_000_000),
    ("gpt-4o-mini", 150_000, 600_000),
    ("o3", 2_000_000, 8_000_000),
    ("o4-mini", 1_100_000, 4_400_000),
    ("claude-opus-4-1", 15_000_000, 75_000_000),
    ("claude-sonnet-4-5", 3_000_000, 15_000_000),
    ("claude-haiku-4-5", 1_000_000, 5_000_000),
];

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
        let entry = |(model, input, output): (&str, u64, u64)| PriceEntry {
            model: model.to_owned(),
            effective_from: DateTime::UNIX_EPOCH,
            price: Price::new(input, output),
        };
        DEFAULTS.into_iter().map(entry).collect()
    }

    /// The price of a model at some time: the tenant's newest that is in force, else the platform's. A dated or
    /// `latest` name, such as `gpt-5-mini-2025-08-07`, has the price of the model that it is a release of.
    pub fn at(&self, model: &str, at: DateTime<Utc>) -> Option<Price> {
        self.exactly(model, at).or_else(|| self.exactly(released(model)?, at))
    }

    fn exactly(&self, model: &str, at: DateTime<Utc>) -> Option<Price> {
        let in_force = self.own.iter().filter(|entry| entry.model == model && entry.effective_from <= at);
        let own = in_force.max_by_key(|entry| entry.effective_from).map(|entry| entry.price);
        own.or_else(|| {
            DEFAULTS
                .iter()
                .find(|(name, ..)| *name == model)
                .map(|(_, input, output)| Price::new(*input, *output))
        })
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
