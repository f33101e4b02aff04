//! A tenant's own providers of models, and what is masked in what is sent to any.

use async_trait::async_trait;
use powerhouse_domain::catalogue::Provider;
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_domain::masking::MaskingRules;
use powerhouse_ports::store::{Limit, ModelProviderRepository, Page, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::model_provider::{ActiveModel, Column, Entity, Keyed, changes};
use crate::rows::{masking_rules as masking, signed};

const PROVIDER: &str = "model provider";
const MASKING: &str = "masking rules";

#[async_trait]
impl<C: Transaction> ModelProviderRepository for Own<C> {
    async fn find(&mut self, id: ModelProviderId) -> Result<Option<Provider>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(PROVIDER))?.map(Provider::try_from).transpose()
    }

    async fn list(
        &mut self,
        after: Option<ModelProviderId>,
        limit: Limit,
    ) -> Result<Page<Provider, ModelProviderId>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_asc(Column::Id);
        if let Some(after) = after {
            query = query.filter(Column::Id.gt(after.as_uuid()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<Entity>(PROVIDER))?;
        let providers = rows.into_iter().map(Provider::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(providers, limit, |provider| provider.id))
    }

    async fn catalogue(&mut self) -> Result<Vec<(Provider, Option<u64>)>, StoreError> {
        let (version, name) = Keyed::VERSION;
        let query = self.own(Entity::find(), Column::TenantId).order_by_asc(Column::Name);
        let query = query.expr_as(Expr::cust(version), name).into_model::<Keyed>();
        let rows = query.all(&self.tx).await.map_err(read_error::<Entity>(PROVIDER))?;
        rows.into_iter().map(Keyed::into_domain).collect()
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.own(Entity::find(), Column::TenantId).count(&self.tx).await.map_err(store_error(PROVIDER))
    }

    async fn add(&mut self, provider: &Provider) -> Result<(), StoreError> {
        let row = ActiveModel {
            tenant_id: Set(self.tenant),
            id: Set(provider.id.as_uuid()),
            name: Set(provider.name.as_str().to_owned()),
            created_by: Set(provider.created_by.as_uuid()),
            created_at: Set(provider.created_at),
            ..changes(provider)?
        };
        self.refusable(PROVIDER, Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn update(&mut self, provider: &Provider) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(provider.id.as_uuid()))
            .filter(Column::Version.eq(signed(provider.version) - 1))
            .set(changes(provider)?);
        changed_one(PROVIDER, &update.exec(&self.tx).await.map_err(store_error(PROVIDER))?)
    }

    async fn remove(&mut self, id: ModelProviderId) -> Result<bool, StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(PROVIDER))?.rows_affected > 0)
    }
    async fn masking(&mut self) -> Result<MaskingRules, StoreError> {
        let row = self.own(masking::Entity::find(), masking::Column::TenantId).one(&self.tx).await;
        let row = row.map_err(read_error::<masking::Entity>(MASKING))?;
        row.map_or_else(|| Ok(MaskingRules::default()), MaskingRules::try_from)
    }

    async fn replace_masking(&mut self, rules: &MaskingRules) -> Result<(), StoreError> {
        let read = signed(rules.version) - 1;
        if read == 0 {
            let row = masking::ActiveModel { tenant_id: Set(self.tenant), ..masking::changes(rules) };
            self.refusable(MASKING, masking::Entity::insert(row).exec_without_returning(&self.tx)).await?;
            return Ok(());
        }
        let update = self
            .own(masking::Entity::update_many(), masking::Column::TenantId)
            .filter(masking::Column::Version.eq(read))
            .set(masking::changes(rules));
        changed_one(MASKING, &update.exec(&self.tx).await.map_err(store_error(MASKING))?)
    }
}
