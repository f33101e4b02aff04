//! Rows of `prices`: a tenant's own.

use chrono::{DateTime, Utc};
use powerhouse_domain::money::{Price, PriceEntry};
use powerhouse_ports::store::StoreError;
use sea_orm::entity::prelude::*;

use super::{corrupt, unsigned};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "prices")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false, column_name = "model")]
    pub(crate) name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) effective_from: DateTime<Utc>,
    pub(crate) input_micros: i64,
    pub(crate) output_micros: i64,
    pub(crate) max_output_tokens: i64,
    /// As other tokens that are read, when there is none.
    pub(crate) cache_read_micros: Option<i64>,
    /// The same.
    pub(crate) cache_write_micros: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for PriceEntry {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let cached =
            |column, micros: Option<i64>| unsigned("prices", column, micros.unwrap_or(row.input_micros));
        let price = Price {
            input_micros: unsigned("prices", "input_micros", row.input_micros)?,
            cache_read_micros: cached("cache_read_micros", row.cache_read_micros)?,
            cache_write_micros: cached("cache_write_micros", row.cache_write_micros)?,
            output_micros: unsigned("prices", "output_micros", row.output_micros)?,
            max_output_tokens: u32::try_from(row.max_output_tokens)
                .map_err(corrupt("prices", "max_output_tokens"))?,
        };
        Self::new(row.name, row.effective_from, price).map_err(corrupt("prices", "model"))
    }
}
