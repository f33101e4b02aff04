//! The platform's side: provisioning and signing in here, the queue in `platform/queue.rs`.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::access::Principal;
use powerhouse_domain::ids::{SessionId, TenantId, UserId};
use powerhouse_domain::runs::Lease;
use powerhouse_domain::tenants::{Slug, Tenant};
use powerhouse_domain::users::{Email, Membership, User};
use powerhouse_ports::platform::{Credentials, PlatformStore, RefreshDigest, Rotation, Standing};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter,
};
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::{read_error, store_error};
use crate::rows::session::{self, digest};
use crate::rows::tenant::ACTIVE;
use crate::rows::{corrupt, tenant, user};

mod queue;

const SESSION: &str = "session";

#[async_trait]
impl PlatformStore for SqliteStore {
    async fn provision(
        &self,
        tenant: &Tenant,
        owner: &User,
        membership: &Membership,
        password_hash: &str,
    ) -> Result<(), StoreError> {
        let tx = self.transaction().await?;
        tenant::ActiveModel::from(tenant).insert(&tx).await.map_err(store_error("tenant"))?;
        let row = user::ActiveModel {
            password_hash: Set(password_hash.to_owned()),
            ..user::active(owner, membership)
        };
        row.insert(&tx).await.map_err(store_error("user"))?;
        tx.commit().await.map_err(store_error("tenant"))
    }

    async fn credentials(&self, slug: &Slug, email: &Email) -> Result<Option<Credentials>, StoreError> {
        let tx = self.snapshot().await?;
        let query = tenant::Entity::find().filter(tenant::Column::Slug.eq(slug.as_str()));
        let Some(tenant) = query.one(&tx).await.map_err(read_error::<tenant::Entity>("tenant"))? else {
            return Ok(None);
        };
        let query = user::Entity::find()
            .filter(user::Column::TenantId.eq(tenant.id))
            .filter(user::Column::Email.eq(email.as_str()));
        let Some(user) = query.one(&tx).await.map_err(read_error::<user::Entity>("user"))? else {
            return Ok(None);
        };
        Ok(Some(Credentials {
            tenant_id: TenantId::from_uuid(tenant.id),
            user_id: UserId::from_uuid(user.id),
            role: user.role.parse().map_err(corrupt("users", "role"))?,
            is_active: tenant.status == ACTIVE && user.disabled_since.is_none(),
            password_hash: user.password_hash,
        }))
    }

    async fn open_session(
        &self,
        principal: &Principal,
        digest: &RefreshDigest,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let tx = self.transaction().await?;
        let row = session::ActiveModel {
            tenant_id: Set(principal.tenant_id().as_uuid()),
            id: Set(principal.session_id().as_uuid()),
            user_id: Set(principal.user_id().as_uuid()),
            current_digest: Set(digest.to_vec()),
            previous_digest: Set(None),
            created_at: Set(now),
            expires_at: Set(expires_at),
            ended_at: Set(None),
        };
        row.insert(&tx).await.map_err(store_error(SESSION))?;
        remember(&tx, principal.tenant_id().as_uuid(), principal.session_id().as_uuid(), digest).await?;
        tx.commit().await.map_err(store_error(SESSION))
    }

    async fn rotate(
        &self,
        presented: &RefreshDigest,
        next: &RefreshDigest,
        now: DateTime<Utc>,
    ) -> Result<Rotation, StoreError> {
        let tx = self.transaction().await?;
        let query = digest::Entity::find().filter(digest::Column::Digest.eq(presented.to_vec()));
        let Some(known) = query.one(&tx).await.map_err(read_error::<digest::Entity>(SESSION))? else {
            return Ok(Rotation::Unknown);
        };
        let Some(found) = session(&tx, known.tenant_id, known.session_id).await? else {
            return Ok(Rotation::Unknown);
        };
        if has_ended(&found, now) {
            return Ok(Rotation::Unknown);
        }
        let is_newest = found.current_digest == presented;
        if !is_newest && found.previous_digest.as_deref() != Some(presented) {
            end(&tx, known.session_id, now).await?;
            tx.commit().await.map_err(store_error(SESSION))?;
            return Ok(Rotation::Reused);
        }
        let Some(standing) = standing(&tx, &found, now).await? else { return Ok(Rotation::Unknown) };
        // A retry with the token before: the answer to the first try was lost, and with it the newest token.
        let previous = if is_newest { found.current_digest.clone() } else { presented.to_vec() };
        session::Entity::update_many()
            .filter(session::Column::TenantId.eq(found.tenant_id))
            .filter(session::Column::Id.eq(found.id))
            .col_expr(session::Column::CurrentDigest, Expr::val(next.to_vec()))
            .col_expr(session::Column::PreviousDigest, Expr::val(previous))
            .exec(&tx)
            .await
            .map_err(store_error(SESSION))?;
        remember(&tx, found.tenant_id, found.id, next).await?;
        tx.commit().await.map_err(store_error(SESSION))?;
        Ok(Rotation::Rotated(standing.principal))
    }

    async fn end_session(&self, session: SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
        let tx = self.transaction().await?;
        end(&tx, session.as_uuid(), now).await?;
        tx.commit().await.map_err(store_error(SESSION))
    }

    async fn current(
        &self,
        principal: &Principal,
        now: DateTime<Utc>,
    ) -> Result<Option<Standing>, StoreError> {
        let tx = self.snapshot().await?;
        let (tenant, id) = (principal.tenant_id().as_uuid(), principal.session_id().as_uuid());
        match session(&tx, tenant, id).await? {
            Some(found) if found.user_id == principal.user_id().as_uuid() => standing(&tx, &found, now).await,
            _ => Ok(None),
        }
    }

    async fn claim(&self, limit: u32, now: DateTime<Utc>, lease: Duration) -> Result<Vec<Lease>, StoreError> {
        queue::claim(self, limit, now, lease).await
    }

    async fn extend(&self, lease: &Lease, expires_at: DateTime<Utc>) -> Result<(), StoreError> {
        queue::set_expiry(self, lease, Some(expires_at)).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        queue::set_expiry(self, lease, None).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let tx = self.snapshot().await?;
        tx.execute_unprepared("SELECT 1").await.map_err(store_error("transaction"))?;
        Ok(())
    }
}

async fn remember(
    tx: &DatabaseTransaction,
    tenant: Uuid,
    session: Uuid,
    digest: &RefreshDigest,
) -> Result<(), StoreError> {
    let row = digest::ActiveModel {
        tenant_id: Set(tenant),
        digest: Set(digest.to_vec()),
        session_id: Set(session),
    };
    digest::Entity::insert(row).exec_without_returning(tx).await.map_err(store_error(SESSION))?;
    Ok(())
}

async fn session(
    tx: &DatabaseTransaction,
    tenant: Uuid,
    id: Uuid,
) -> Result<Option<session::Model>, StoreError> {
    session::Entity::find_by_id((tenant, id)).one(tx).await.map_err(read_error::<session::Entity>(SESSION))
}

async fn end(tx: &DatabaseTransaction, id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    session::Entity::update_many()
        .filter(session::Column::Id.eq(id))
        .filter(session::Column::EndedAt.is_null())
        .col_expr(session::Column::EndedAt, Expr::val(now))
        .exec(tx)
        .await
        .map_err(store_error(SESSION))?;
    Ok(())
}

fn has_ended(session: &session::Model, now: DateTime<Utc>) -> bool {
    session.ended_at.is_some() || session.expires_at <= now
}

/// Whose session it is, if session, user and tenant all stand.
async fn standing(
    tx: &DatabaseTransaction,
    session: &session::Model,
    now: DateTime<Utc>,
) -> Result<Option<Standing>, StoreError> {
    if has_ended(session, now) {
        return Ok(None);
    }
    let user = user::Entity::find_by_id((session.tenant_id, session.user_id)).one(tx).await;
    let Some(user) =
        user.map_err(read_error::<user::Entity>("user"))?.filter(|user| user.disabled_since.is_none())
    else {
        return Ok(None);
    };
    let tenant = tenant::Entity::find_by_id(session.tenant_id).one(tx).await;
    let Some(tenant) =
        tenant.map_err(read_error::<tenant::Entity>("tenant"))?.filter(|tenant| tenant.status == ACTIVE)
    else {
        return Ok(None);
    };
    let principal = Principal::verified(
        TenantId::from_uuid(session.tenant_id),
        UserId::from_uuid(user.id),
        SessionId::from_uuid(session.id),
        user.role.parse().map_err(corrupt("users", "role"))?,
    );
    Ok(Some(Standing { principal, plan: tenant.plan.parse().map_err(corrupt("tenants", "plan"))? }))
}
