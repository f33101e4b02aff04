//! A tenant's secrets, sealed, and the keys that they are sealed with, wrapped.

use async_trait::async_trait;
use powerhouse_domain::ids::DataKeyId;
use powerhouse_domain::secrets::{Secret, SecretName};
use powerhouse_ports::store::{Limit, Page, SealedValue, SecretRepository, StoreError, StoredDataKey};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::secret::{ActiveModel, Column, Entity, Model};
use crate::rows::{data_key, signed};

const SECRET: &str = "secret";
const DATA_KEY: &str = "data key";

/// The columns of a value.
fn sealed(secret: &Secret, value: &SealedValue) -> ActiveModel {
    ActiveModel {
        data_key: Set(value.data_key.as_uuid()),
        sealed: Set(value.sealed.clone()),
        updated_at: Set(secret.updated_at),
        version: Set(signed(secret.version)),
        ..Default::default()
    }
}

#[async_trait]
impl<C: Transaction> SecretRepository for Own<C> {
    async fn find(&mut self, name: &SecretName) -> Result<Option<Secret>, StoreError> {
        Ok(self.value(name).await?.map(|(secret, _)| secret))
    }

    async fn list(
        &mut self,
        after: Option<SecretName>,
        limit: Limit,
    ) -> Result<Page<Secret, SecretName>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_asc(Column::Name);
        if let Some(after) = after {
            query = query.filter(Column::Name.gt(after.as_str()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<Entity>(SECRET))?;
        let secrets = rows.into_iter().map(|row| row.into_domain().map(|(secret, _)| secret));
        Ok(Page::of(secrets.collect::<Result<Vec<_>, _>>()?, limit, |secret| secret.name.clone()))
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.own(Entity::find(), Column::TenantId).count(&self.tx).await.map_err(store_error(SECRET))
    }

    async fn add(&mut self, secret: &Secret, value: &SealedValue) -> Result<(), StoreError> {
        let row = ActiveModel {
            tenant_id: Set(self.tenant),
            name: Set(secret.name.as_str().to_owned()),
            created_by: Set(secret.created_by.as_uuid()),
            created_at: Set(secret.created_at),
            ..sealed(secret, value)
        };
        self.refusable(SECRET, Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn update(&mut self, secret: &Secret, value: &SealedValue) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Name.eq(secret.name.as_str()))
            .filter(Column::Version.eq(signed(secret.version) - 1))
            .set(sealed(secret, value));
        changed_one(SECRET, &self.refusable(SECRET, update.exec(&self.tx)).await?)
    }

    async fn remove(&mut self, name: &SecretName) -> Result<bool, StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId).filter(Column::Name.eq(name.as_str()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(SECRET))?.rows_affected > 0)
    }

    async fn value(&mut self, name: &SecretName) -> Result<Option<(Secret, SealedValue)>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Name.eq(name.as_str()));
        let row = query.one(&self.tx).await.map_err(read_error::<Entity>(SECRET))?;
        row.map(Model::into_domain).transpose()
    }

    async fn newest_data_key(&mut self) -> Result<Option<StoredDataKey>, StoreError> {
        let query = self
            .own(data_key::Entity::find(), data_key::Column::TenantId)
            .order_by_desc(data_key::Column::Id)
            .limit(1);
        let row = query.one(&self.tx).await.map_err(read_error::<data_key::Entity>(DATA_KEY))?;
        Ok(row.map(Into::into))
    }

    async fn data_key(&mut self, id: DataKeyId) -> Result<Option<StoredDataKey>, StoreError> {
        let query = self
            .own(data_key::Entity::find(), data_key::Column::TenantId)
            .filter(data_key::Column::Id.eq(id.as_uuid()));
        let row = query.one(&self.tx).await.map_err(read_error::<data_key::Entity>(DATA_KEY))?;
        Ok(row.map(Into::into))
    }

    async fn add_data_key(&mut self, key: &StoredDataKey) -> Result<(), StoreError> {
        let row = data_key::ActiveModel {
            tenant_id: Set(self.tenant),
            id: Set(key.id.as_uuid()),
            master: Set(key.key.master.clone()),
            wrapped: Set(key.key.wrapped.clone()),
        };
        self.refusable(DATA_KEY, data_key::Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }
}
