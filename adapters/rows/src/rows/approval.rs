//! Rows of `approvals`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{ApprovalId, RunId};
use powerhouse_domain::runs::Approval;
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::corrupt;
use super::stored::{read, write};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "approvals")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) run_id: Uuid,
    pub(crate) effect_key: String,
    pub(crate) question: Json,
    pub(crate) asked_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) answer: Option<Json>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A whole row.
pub(crate) fn asked(tenant: Uuid, approval: &Approval) -> ActiveModel {
    ActiveModel {
        tenant_id: Set(tenant),
        id: Set(approval.id().as_uuid()),
        run_id: Set(approval.run().as_uuid()),
        effect_key: Set(approval.key().to_string()),
        question: Set(write(approval.question())),
        asked_at: Set(approval.asked_at()),
        expires_at: Set(approval.expires_at()),
        answer: Set(approval.answer().map(write)),
    }
}

impl TryFrom<Model> for Approval {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let asked = Self::ask(
            ApprovalId::from_uuid(row.id),
            RunId::from_uuid(row.run_id),
            row.effect_key.parse().map_err(corrupt("approvals", "effect_key"))?,
            read("approvals", "question", row.question)?,
            row.asked_at,
            row.expires_at,
        );
        Ok(asked.restore(row.answer.map(|answer| read("approvals", "answer", answer)).transpose()?))
    }
}
