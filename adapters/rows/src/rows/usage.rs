//! Rows of `usage`: a sum for each day, agent, user and model.

use chrono::NaiveDate;
use powerhouse_domain::ids::AgentId;
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "usage")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) day: NaiveDate,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) agent_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) user_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false, column_name = "model")]
    pub(crate) name: String,
    pub(crate) calls: i64,
    pub(crate) input_tokens: i64,
    pub(crate) output_tokens: i64,
    pub(crate) cost_micros: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// An agent as it is stored: zeros for none, since a key has no place for nothing.
pub(crate) fn agent_id(agent: Option<AgentId>) -> Uuid {
    agent.map_or_else(Uuid::nil, |agent| agent.as_uuid())
}

/// The agent of a stored id.
pub(crate) fn agent(id: Uuid) -> Option<AgentId> {
    (!id.is_nil()).then(|| AgentId::from_uuid(id))
}
