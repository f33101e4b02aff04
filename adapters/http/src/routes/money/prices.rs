//! What models cost.

use chrono::{DateTime, Utc};
use powerhouse_domain::money::{InvalidPrice, Price, PriceEntry};
use powerhouse_usecases::money::{ReadPrices, ReplacePrices, TenantPrices};
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use crate::body::{invalid, json};
use crate::guard::principal;
use crate::problem::Problem;
use crate::reply::{Reply, instant};

/// What a million tokens of a model cost from some time on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "Price"))]
struct PriceBody {
    /// The model, as its provider names it.
    #[salvo(schema(example = "gpt-5-mini"))]
    model: String,
    /// Since when; RFC 3339.
    #[salvo(schema(example = "2026-01-01T00:00:00Z"))]
    effective_from: String,
    /// A million tokens read, in millionths of a US dollar.
    input_micros: u64,
    /// A million tokens generated, in millionths of a US dollar.
    output_micros: u64,
    /// A million tokens read that the provider had kept from an earlier call; `input_micros` when absent.
    #[serde(default)]
    cache_read_micros: Option<u64>,
    /// A million tokens read that the provider keeps for later calls; `input_micros` when absent.
    #[serde(default)]
    cache_write_micros: Option<u64>,
    /// The most tokens that a call may generate when it does not say so itself.
    #[serde(default = "usual_output")]
    max_output_tokens: u32,
}

fn usual_output() -> u32 {
    Price::FREE.max_output_tokens
}

impl From<&PriceEntry> for PriceBody {
    fn from(entry: &PriceEntry) -> Self {
        let Price { input_micros, output_micros, cache_read_micros, cache_write_micros, max_output_tokens } =
            entry.price;
        Self {
            model: entry.model.clone(),
            effective_from: instant(entry.effective_from),
            input_micros,
            output_micros,
            cache_read_micros: Some(cache_read_micros),
            cache_write_micros: Some(cache_write_micros),
            max_output_tokens,
        }
    }
}

impl PriceBody {
    fn into_domain(self, index: usize) -> Result<PriceEntry, Problem> {
        let at = |field: &str| format!("/items/{index}/{field}");
        let effective_from: DateTime<Utc> = self.effective_from.parse().map_err(|_| {
            invalid(&at("effective_from"), "a time is written as in RFC 3339: 2026-01-01T00:00:00Z")
        })?;
        let price = Price {
            input_micros: self.input_micros,
            output_micros: self.output_micros,
            cache_read_micros: self.cache_read_micros.unwrap_or(self.input_micros),
            cache_write_micros: self.cache_write_micros.unwrap_or(self.input_micros),
            max_output_tokens: self.max_output_tokens,
        };
        PriceEntry::new(self.model, effective_from, price).map_err(|error| {
            let field = match error {
                InvalidPrice::Model => "model",
                InvalidPrice::Amount => "input_micros",
                InvalidPrice::Output => "max_output_tokens",
            };
            invalid(&at(field), error)
        })
    }
}

/// A price list of the tenant's own, whole.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPrices {
    /// The entries; at most a thousand, and one for each model and time.
    items: Vec<PriceBody>,
}

/// What models cost.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Prices"))]
pub(super) struct PricesView {
    /// The tenant's own entries.
    items: Vec<PriceBody>,
    /// The platform's, for models or times that the tenant has no entry for.
    defaults: Vec<PriceBody>,
}

impl From<&TenantPrices> for PricesView {
    fn from(prices: &TenantPrices) -> Self {
        Self {
            items: prices.own.iter().map(Into::into).collect(),
            defaults: prices.defaults.iter().map(Into::into).collect(),
        }
    }
}

pub(super) struct GetPrices(pub(super) ReadPrices);

/// What models cost, per million tokens
#[endpoint(operation_id = "get_prices", tags("money"), security(["bearer" = []]),
    responses((status_code = 200, description = "The price list.", body = PricesView)))]
impl GetPrices {
    async fn handle(&self, depot: &mut Depot) -> Result<Reply<PricesView>, Problem> {
        Ok(Reply::ok(PricesView::from(&self.0.execute(principal(depot)?).await?)))
    }
}

pub(super) struct PutPrices(pub(super) ReplacePrices);

/// Put a list in the place of the tenant's own prices
///
/// Each entry holds from its time on, until the next of its model. Calls that were made are not counted again.
#[endpoint(operation_id = "update_prices", tags("money"), security(["bearer" = []]), request_body = NewPrices,
    responses((status_code = 200, description = "The price list as changed.", body = PricesView)))]
impl PutPrices {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<PricesView>, Problem> {
        let NewPrices { items } = json(req).await?;
        let entries = items.into_iter().enumerate().map(|(index, item)| item.into_domain(index));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        Ok(Reply::ok(PricesView::from(&self.0.execute(principal(depot)?, entries).await?)))
    }
}
