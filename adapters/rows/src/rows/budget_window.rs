//! Rows of `budget_windows`: what was spent of a budget, and what is reserved.

use chrono::{DateTime, Utc};
use powerhouse_domain::money::{Amount, Spending};
use powerhouse_ports::store::StoreError;
use sea_orm::entity::prelude::*;

use super::unsigned;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "budget_windows")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) budget_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) window_start: DateTime<Utc>,
    pub(crate) spent_micros: i64,
    pub(crate) spent_tokens: i64,
    pub(crate) reserved_micros: i64,
    pub(crate) reserved_tokens: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for Spending {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let count = |column, value| unsigned("budget_windows", column, value);
        Ok(Self {
            spent: Amount {
                micros: count("spent_micros", row.spent_micros)?,
                tokens: count("spent_tokens", row.spent_tokens)?,
            },
            reserved: Amount {
                micros: count("reserved_micros", row.reserved_micros)?,
                tokens: count("reserved_tokens", row.reserved_tokens)?,
            },
        })
    }
}
