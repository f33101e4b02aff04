//! Rows of `users`: a person and the membership.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{TenantId, UserId};
use powerhouse_domain::users::{Membership, User, UserParts, UserStatus};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::entity::prelude::*;

use super::{corrupt, signed, unsigned};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) password_hash: String,
    pub(crate) role: String,
    pub(crate) joined_at: DateTime<Utc>,
    pub(crate) disabled_since: Option<DateTime<Utc>>,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row without its password, which is set once.
pub(crate) fn active(user: &User, membership: &Membership) -> ActiveModel {
    let parts = user.parts();
    ActiveModel {
        tenant_id: Set(membership.tenant_id().as_uuid()),
        id: Set(parts.id.as_uuid()),
        email: Set(parts.email.to_string()),
        display_name: Set(parts.display_name.to_string()),
        password_hash: NotSet,
        role: Set(membership.role().as_str().to_owned()),
        joined_at: Set(membership.since()),
        disabled_since: Set(match parts.status {
            UserStatus::Active => None,
            UserStatus::Disabled { since } => Some(since),
        }),
        version: Set(signed(parts.version)),
        created_at: Set(parts.created_at),
        updated_at: Set(parts.updated_at),
    }
}

pub(crate) fn member(row: &Model) -> Result<(User, Membership), StoreError> {
    let id = UserId::from_uuid(row.id);
    let role = row.role.parse().map_err(corrupt("users", "role"))?;
    let user = User::restore(UserParts {
        id,
        email: row.email.parse().map_err(corrupt("users", "email"))?,
        display_name: row.display_name.parse().map_err(corrupt("users", "display_name"))?,
        status: row.disabled_since.map_or(UserStatus::Active, |since| UserStatus::Disabled { since }),
        version: unsigned("users", "version", row.version)?,
        created_at: row.created_at,
        updated_at: row.updated_at,
    });
    Ok((user, Membership::new(TenantId::from_uuid(row.tenant_id), id, role, row.joined_at)))
}
