//! A tenant's own prices.

use async_trait::async_trait;
use powerhouse_domain::money::PriceEntry;
use powerhouse_ports::store::{PriceRepository, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::{EntityTrait, QueryOrder};

use super::{Own, Transaction};
use crate::error::{read_error, store_error};
use crate::rows::price::{ActiveModel, Column, Entity};
use crate::rows::signed;

const PRICE: &str = "price";

#[async_trait]
impl<C: Transaction> PriceRepository for Own<C> {
    async fn list(&mut self) -> Result<Vec<PriceEntry>, StoreError> {
        let query = self
            .own(Entity::find(), Column::TenantId)
            .order_by_asc(Column::Name)
            .order_by_asc(Column::EffectiveFrom);
        let rows = query.all(&self.tx).await.map_err(read_error::<Entity>(PRICE))?;
        rows.into_iter().map(PriceEntry::try_from).collect()
    }

    async fn replace(&mut self, entries: &[PriceEntry]) -> Result<(), StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId);
        delete.exec(&self.tx).await.map_err(store_error(PRICE))?;
        if entries.is_empty() {
            return Ok(());
        }
        let rows = entries.iter().map(|entry| ActiveModel {
            tenant_id: Set(self.tenant),
            name: Set(entry.model.clone()),
            effective_from: Set(entry.effective_from),
            input_micros: Set(signed(entry.price.input_micros)),
            output_micros: Set(signed(entry.price.output_micros)),
            max_output_tokens: Set(entry.price.max_output_tokens.into()),
            cache_read_micros: Set(Some(signed(entry.price.cache_read_micros))),
            cache_write_micros: Set(Some(signed(entry.price.cache_write_micros))),
        });
        let insert = Entity::insert_many(rows);
        self.refusable(PRICE, insert.exec_without_returning(&self.tx)).await?;
        Ok(())
    }
}
