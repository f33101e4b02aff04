//! Rows of `run_feedback`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::UserId;
use powerhouse_domain::runs::{Feedback, Verdict};
use powerhouse_ports::store::StoreError;
use sea_orm::entity::prelude::*;

use super::corrupt;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "run_feedback")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) run_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) user_id: Uuid,
    pub(crate) verdict: String,
    pub(crate) comment: String,
    pub(crate) at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for Feedback {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let verdict =
            [Verdict::Good, Verdict::Bad].into_iter().find(|verdict| verdict.as_str() == row.verdict);
        let verdict = verdict.ok_or(StoreError::CorruptRow { table: "run_feedback", column: "verdict" })?;
        Self::new(UserId::from_uuid(row.user_id), verdict, row.comment, row.at)
            .map_err(corrupt("run_feedback", "comment"))
    }
}
