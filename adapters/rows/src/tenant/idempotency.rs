//! Answers that were given to requests with a key.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::idempotency::IdempotencyKey;
use powerhouse_domain::ids::UserId;
use powerhouse_ports::store::{IdempotencyRepository, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{CaseStatement, Expr, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, QueryFilter};

use super::{Own, Transaction, changed_one};
use crate::error::{is_lock_timeout, read_error, store_error};
use crate::rows::idempotency_key::{ActiveModel, Column, Entity};

const KEY: &str = "idempotency key";

#[async_trait]
impl<C: Transaction> IdempotencyRepository for Own<C> {
    async fn claim(
        &mut self,
        user: UserId,
        key: &IdempotencyKey,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row = ActiveModel {
            tenant_id: Set(self.tenant),
            user_id: Set(user.as_uuid()),
            key_hash: Set(key.digest().to_vec()),
            answer: Set(None),
            expires_at: Set(expires_at),
        };
        // One statement: whoever comes second waits for the first one's end, and then has its row.
        let stored = |column| Expr::col((Entity, column));
        let unless_expired = |renewed: Expr, column| {
            CaseStatement::new().case(stored(Column::ExpiresAt).lte(now), renewed).finally(stored(column))
        };
        let mut kept = OnConflict::columns([Column::TenantId, Column::UserId, Column::KeyHash]);
        kept.value(Column::Answer, unless_expired(Expr::val(None::<Vec<u8>>), Column::Answer))
            .value(Column::ExpiresAt, unless_expired(Expr::val(expires_at), Column::ExpiresAt));
        match Entity::insert(row).on_conflict(kept).exec_with_returning(&self.tx).await {
            Ok(row) => Ok(row.answer),
            Err(error) if is_lock_timeout(&error) => Err(StoreError::Conflict { entity: KEY }),
            Err(error) => Err(read_error::<Entity>(KEY)(error)),
        }
    }

    async fn answer(&mut self, user: UserId, key: &IdempotencyKey, sealed: &[u8]) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::UserId.eq(user.as_uuid()))
            .filter(Column::KeyHash.eq(key.digest().to_vec()))
            .set(ActiveModel { answer: Set(Some(sealed.to_vec())), ..Default::default() });
        changed_one(KEY, &update.exec(&self.tx).await.map_err(store_error(KEY))?)
    }
}
