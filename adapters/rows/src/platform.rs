//! The platform's side: provisioning and signing in here, the queue and what is cleared away in modules of their own.

use chrono::{DateTime, Utc};
use powerhouse_domain::access::Principal;
use powerhouse_domain::audit::{Actor, AuditAction, Entry};
use powerhouse_domain::ids::{SessionId, TenantId, UserId};
use powerhouse_domain::tenants::{Slug, Tenant};
use powerhouse_domain::users::{Email, Membership, User};
use powerhouse_ports::platform::{Credentials, OpenSession, RefreshDigest, Rotation, Standing};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, JoinType, QueryFilter, QuerySelect,
};
use uuid::Uuid;

use crate::Transaction;
use crate::audit::append;
use crate::error::{read_error, store_error};
use crate::rows::session::{self, digest};
use crate::rows::tenant::ACTIVE;
use crate::rows::{corrupt, tenant, user};

mod data_keys;
mod deliveries;
mod idempotency;
mod queue;
mod retention;
mod schedules;

pub use queue::{granted, terms};

const SESSION: &str = "session";

/// A transaction across tenants. Each method is all that it is for, and commits what it writes.
#[derive(Debug)]
pub struct Platform<C>(C);

impl<C: Transaction> Platform<C> {
    /// The platform's side of a transaction.
    pub const fn new(tx: C) -> Self {
        Self(tx)
    }

    /// Stores a new tenant with its owner.
    pub async fn provision(
        self,
        tenant: &Tenant,
        owner: &User,
        membership: &Membership,
        password_hash: &str,
    ) -> Result<(), StoreError> {
        tenant::ActiveModel::from(tenant).insert(&self.0).await.map_err(store_error("tenant"))?;
        let row = user::ActiveModel {
            password_hash: Set(password_hash.to_owned()),
            ..user::active(owner, membership)
        };
        row.insert(&self.0).await.map_err(store_error("user"))?;
        let actor = Actor::User { user: owner.id(), session: None };
        let founded = Entry::new(actor, AuditAction::TenantFounded, tenant.id(), tenant.created_at());
        append(&self.0, tenant.id(), founded.with("plan", tenant.plan())).await?;
        self.0.commit().await.map_err(store_error("tenant"))
    }

    /// Who signs in with this address to the tenant with this slug.
    pub async fn credentials(self, slug: &Slug, email: &Email) -> Result<Option<Credentials>, StoreError> {
        let query = tenant::Entity::find().filter(tenant::Column::Slug.eq(slug.as_str()));
        let Some(tenant) = query.one(&self.0).await.map_err(read_error::<tenant::Entity>("tenant"))? else {
            return Ok(None);
        };
        let query = user::Entity::find()
            .filter(user::Column::TenantId.eq(tenant.id))
            .filter(user::Column::Email.eq(email.as_str()));
        let Some(user) = query.one(&self.0).await.map_err(read_error::<user::Entity>("user"))? else {
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

    /// Opens a session with its first refresh token.
    pub async fn open_session(
        self,
        principal: &Principal,
        digest: &RefreshDigest,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
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
        row.insert(&self.0).await.map_err(store_error(SESSION))?;
        remember(&self.0, principal.tenant_id().as_uuid(), principal.session_id().as_uuid(), digest).await?;
        let opened = Entry::by(principal, AuditAction::SessionOpened, principal.session_id(), now);
        append(&self.0, principal.tenant_id(), opened).await?;
        self.0.commit().await.map_err(store_error(SESSION))
    }

    /// Replaces a refresh token by the next one.
    pub async fn rotate(
        self,
        presented: &RefreshDigest,
        next: &RefreshDigest,
        now: DateTime<Utc>,
    ) -> Result<Rotation, StoreError> {
        let query = digest::Entity::find().filter(digest::Column::Digest.eq(presented.to_vec()));
        let Some(known) = query.one(&self.0).await.map_err(read_error::<digest::Entity>(SESSION))? else {
            return Ok(Rotation::Unknown);
        };
        let Some(found) = locked_session(&self.0, known.tenant_id, known.session_id).await? else {
            return Ok(Rotation::Unknown);
        };
        if has_ended(&found, now) {
            return Ok(Rotation::Unknown);
        }
        let (tenant, user) = (TenantId::from_uuid(found.tenant_id), UserId::from_uuid(found.user_id));
        let session = SessionId::from_uuid(found.id);
        let Some(Standing { role, .. }) = standing(&self.0, tenant, user).await? else {
            return Ok(Rotation::Unknown);
        };
        let principal = Principal::verified(tenant, user, session, role);
        let is_newest = found.current_digest == presented;
        if !is_newest && found.previous_digest.as_deref() != Some(presented) {
            end(&self.0, known.session_id, now).await?;
            let reused = Entry::by(&principal, AuditAction::RefreshReused, session, now);
            append(&self.0, tenant, reused).await?;
            self.0.commit().await.map_err(store_error(SESSION))?;
            return Ok(Rotation::Reused(principal));
        }
        // A retry with the token before: the answer to the first try was lost, and with it the newest token.
        let previous = if is_newest { found.current_digest.clone() } else { presented.to_vec() };
        session::Entity::update_many()
            .filter(session::Column::TenantId.eq(found.tenant_id))
            .filter(session::Column::Id.eq(found.id))
            .col_expr(session::Column::CurrentDigest, Expr::val(next.to_vec()))
            .col_expr(session::Column::PreviousDigest, Expr::val(previous))
            .exec(&self.0)
            .await
            .map_err(store_error(SESSION))?;
        remember(&self.0, found.tenant_id, found.id, next).await?;
        self.0.commit().await.map_err(store_error(SESSION))?;
        Ok(Rotation::Rotated(principal))
    }

    /// Ends a session.
    pub async fn end_session(self, session: SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
        for ended in end(&self.0, session.as_uuid(), now).await? {
            let actor = Actor::User { user: UserId::from_uuid(ended.user_id), session: Some(session) };
            let entry = Entry::new(actor, AuditAction::SessionEnded, session, now);
            append(&self.0, TenantId::from_uuid(ended.tenant_id), entry).await?;
        }
        self.0.commit().await.map_err(store_error(SESSION))
    }
}

/// A session of this tenant, unless it was ended: one statement, on any connection of the platform's.
pub async fn session(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    session: SessionId,
) -> Result<Option<OpenSession>, StoreError> {
    let found = session::Entity::find_by_id((tenant.as_uuid(), session.as_uuid()))
        .one(connection)
        .await
        .map_err(read_error::<session::Entity>(SESSION))?;
    let open = found.filter(|found| found.ended_at.is_none());
    Ok(open
        .map(|found| OpenSession { user_id: UserId::from_uuid(found.user_id), expires_at: found.expires_at }))
}

/// What a user of this tenant is, if user and tenant both stand: one statement, on any connection of the platform's.
pub async fn standing(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    user: UserId,
) -> Result<Option<Standing>, StoreError> {
    let its_tenant =
        user::Entity::belongs_to(tenant::Entity).from(user::Column::TenantId).to(tenant::Column::Id);
    let found: Option<(String, String)> = user::Entity::find_by_id((tenant.as_uuid(), user.as_uuid()))
        .join(JoinType::InnerJoin, its_tenant.into())
        .filter(user::Column::DisabledSince.is_null())
        .filter(tenant::Column::Status.eq(ACTIVE))
        .select_only()
        .column(user::Column::Role)
        .column(tenant::Column::Plan)
        .into_tuple()
        .one(connection)
        .await
        .map_err(store_error("user"))?;
    let Some((role, plan)) = found else { return Ok(None) };
    Ok(Some(Standing {
        role: role.parse().map_err(corrupt("users", "role"))?,
        plan: plan.parse().map_err(corrupt("tenants", "plan"))?,
    }))
}

/// Whether the database answers.
pub async fn ping(connection: &impl ConnectionTrait) -> Result<(), StoreError> {
    connection.execute_unprepared("SELECT 1").await.map_err(store_error("transaction"))?;
    Ok(())
}

async fn remember(
    tx: &impl ConnectionTrait,
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

/// A session whose row nobody else changes until the transaction ends.
async fn locked_session(
    tx: &impl ConnectionTrait,
    tenant: Uuid,
    id: Uuid,
) -> Result<Option<session::Model>, StoreError> {
    let query = session::Entity::find_by_id((tenant, id)).lock_exclusive();
    query.one(tx).await.map_err(read_error::<session::Entity>(SESSION))
}

/// Ends a session. It is returned, unless it had ended before.
async fn end(
    tx: &impl ConnectionTrait,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Vec<session::Model>, StoreError> {
    session::Entity::update_many()
        .filter(session::Column::Id.eq(id))
        .filter(session::Column::EndedAt.is_null())
        .col_expr(session::Column::EndedAt, Expr::val(now))
        .exec_with_returning(tx)
        .await
        .map_err(store_error(SESSION))
}

fn has_ended(session: &session::Model, now: DateTime<Utc>) -> bool {
    session.ended_at.is_some() || session.expires_at <= now
}
