//! Data keys of all tenants, wrapped: for those who keep the master keys, and nothing of what is sealed with them.

use chrono::{DateTime, Utc};
use powerhouse_domain::audit::{Actor, AuditAction, Entry};
use powerhouse_domain::ids::{DataKeyId, TenantId};
use powerhouse_ports::platform::TenantDataKey;
use powerhouse_ports::secrets::WrappedKey;
use powerhouse_ports::store::{StoreError, StoredDataKey};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult as _, QueryFilter, Statement};
use uuid::Uuid;

use super::Platform;
use crate::Transaction;
use crate::audit::append;
use crate::error::store_error;
use crate::rows::data_key::{Column, Entity, Model};

const DATA_KEY: &str = "data key";
/// Data keys after one, in the order of the primary key.
const AFTER: &str = "
    SELECT tenant_id, id, master, wrapped FROM data_keys WHERE (tenant_id, id) > ($1, $2)
    ORDER BY tenant_id, id LIMIT $3";

impl<C: Transaction> Platform<C> {
    /// Data keys after one: at most `limit`.
    pub async fn data_keys(
        self,
        after: Option<(TenantId, DataKeyId)>,
        limit: u32,
    ) -> Result<Vec<TenantDataKey>, StoreError> {
        // No id is nil: each has a version.
        let (tenant, id) =
            after.map_or((Uuid::nil(), Uuid::nil()), |(tenant, id)| (tenant.as_uuid(), id.as_uuid()));
        let values = [tenant.into(), id.into(), i64::from(limit).into()];
        let statement = Statement::from_sql_and_values(self.0.get_database_backend(), AFTER, values);
        let rows = self.0.query_all_raw(statement).await.map_err(store_error(DATA_KEY))?;
        let keys = rows.iter().map(|row| {
            let row = Model::from_query_result(row, "").map_err(store_error(DATA_KEY))?;
            let tenant = TenantId::from_uuid(row.tenant_id);
            let StoredDataKey { id, key } = row.into();
            Ok(TenantDataKey { tenant, id, key })
        });
        keys.collect()
    }

    /// Stores a data key as another master key has wrapped it. Whether it was still as `before` says.
    pub async fn rewrap(
        self,
        before: &TenantDataKey,
        now_wrapped: &WrappedKey,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = Entity::update_many()
            .filter(Column::TenantId.eq(before.tenant.as_uuid()))
            .filter(Column::Id.eq(before.id.as_uuid()))
            .filter(Column::Master.eq(&before.key.master))
            .col_expr(Column::Master, Expr::val(now_wrapped.master.clone()))
            .col_expr(Column::Wrapped, Expr::val(now_wrapped.wrapped.clone()));
        if update.exec(&self.0).await.map_err(store_error(DATA_KEY))?.rows_affected == 0 {
            return Ok(false);
        }
        let entry = Entry::new(Actor::Platform, AuditAction::DataKeyRewrapped, before.id, now);
        append(&self.0, before.tenant, entry.with("master", &now_wrapped.master)).await?;
        self.0.commit().await.map_err(store_error(DATA_KEY))?;
        Ok(true)
    }
}
