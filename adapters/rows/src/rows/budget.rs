//! Rows of `budgets`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{AgentId, BudgetId, UserId};
use powerhouse_domain::money::{Budget, BudgetScope, Caps};
use powerhouse_ports::store::StoreError;
use sea_orm::entity::prelude::*;

use super::{corrupt, unsigned};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "budgets")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) scope: String,
    pub(crate) scope_id: Option<Uuid>,
    pub(crate) period: String,
    pub(crate) cap_micros: Option<i64>,
    pub(crate) cap_tokens: Option<i64>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(crate) const TENANT: &str = "tenant";
pub(crate) const USER: &str = "user";
pub(crate) const AGENT: &str = "agent";

/// A scope as it is stored.
pub(crate) fn scope(scope: BudgetScope) -> (&'static str, Option<Uuid>) {
    match scope {
        BudgetScope::Tenant => (TENANT, None),
        BudgetScope::User(id) => (USER, Some(id.as_uuid())),
        BudgetScope::Agent(id) => (AGENT, Some(id.as_uuid())),
    }
}

impl TryFrom<Model> for Budget {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let scope = match (row.scope.as_str(), row.scope_id) {
            (TENANT, None) => BudgetScope::Tenant,
            (USER, Some(id)) => BudgetScope::User(UserId::from_uuid(id)),
            (AGENT, Some(id)) => BudgetScope::Agent(AgentId::from_uuid(id)),
            _ => return Err(StoreError::CorruptRow { table: "budgets", column: "scope" }),
        };
        let micros = row.cap_micros.map(|cap| unsigned("budgets", "cap_micros", cap)).transpose()?;
        let tokens = row.cap_tokens.map(|cap| unsigned("budgets", "cap_tokens", cap)).transpose()?;
        Ok(Self {
            id: BudgetId::from_uuid(row.id),
            scope,
            period: row.period.parse().map_err(corrupt("budgets", "period"))?,
            caps: Caps::new(micros, tokens).map_err(corrupt("budgets", "cap_micros"))?,
            created_at: row.created_at,
            version: unsigned("budgets", "version", row.version)?,
        })
    }
}
