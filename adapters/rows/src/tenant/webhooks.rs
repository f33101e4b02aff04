//! A tenant's webhooks and what is on its way to them.

use async_trait::async_trait;
use powerhouse_domain::ids::{MessageId, WebhookId};
use powerhouse_domain::webhooks::{Announcement, Delivery, DeliveryState, DueDelivery, Endpoint};
use powerhouse_ports::store::{Limit, Page, SealedSecrets, StoreError, WebhookRepository};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::webhook::{ActiveModel, Column, Entity, changes};
use crate::rows::{signed, webhook_delivery as delivery};

const WEBHOOK: &str = "webhook";
const DELIVERY: &str = "delivery";

/// The columns of an endpoint's secrets.
fn sealed(secrets: &SealedSecrets) -> ActiveModel {
    let (previous, until) = secrets.previous.clone().unzip();
    ActiveModel {
        secret: Set(secrets.current.clone()),
        previous_secret: Set(previous),
        previous_until: Set(until),
        ..Default::default()
    }
}

#[async_trait]
impl<C: Transaction> WebhookRepository for Own<C> {
    async fn find(&mut self, id: WebhookId) -> Result<Option<Endpoint>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(WEBHOOK))?.map(Endpoint::try_from).transpose()
    }

    async fn list(
        &mut self,
        after: Option<WebhookId>,
        limit: Limit,
    ) -> Result<Page<Endpoint, WebhookId>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_asc(Column::Id);
        if let Some(after) = after {
            query = query.filter(Column::Id.gt(after.as_uuid()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<Entity>(WEBHOOK))?;
        let endpoints = rows.into_iter().map(Endpoint::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(endpoints, limit, |endpoint| endpoint.id))
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.own(Entity::find(), Column::TenantId).count(&self.tx).await.map_err(store_error(WEBHOOK))
    }

    async fn add(&mut self, endpoint: &Endpoint, secrets: &SealedSecrets) -> Result<(), StoreError> {
        let ActiveModel { secret, previous_secret, previous_until, .. } = sealed(secrets);
        let row = ActiveModel {
            tenant_id: Set(self.tenant),
            id: Set(endpoint.id.as_uuid()),
            created_by: Set(endpoint.created_by.as_uuid()),
            created_at: Set(endpoint.created_at),
            secret,
            previous_secret,
            previous_until,
            ..changes(endpoint)
        };
        self.refusable(WEBHOOK, Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn update(&mut self, endpoint: &Endpoint) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(endpoint.id.as_uuid()))
            .filter(Column::Version.eq(signed(endpoint.version) - 1))
            .set(changes(endpoint));
        changed_one(WEBHOOK, &update.exec(&self.tx).await.map_err(store_error(WEBHOOK))?)
    }

    async fn remove(&mut self, id: WebhookId) -> Result<bool, StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(WEBHOOK))?.rows_affected > 0)
    }

    async fn secrets(&mut self, id: WebhookId) -> Result<Option<SealedSecrets>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        let row = query.one(&self.tx).await.map_err(read_error::<Entity>(WEBHOOK))?;
        Ok(row.map(|row| SealedSecrets {
            current: row.secret,
            previous: row.previous_secret.zip(row.previous_until),
        }))
    }

    async fn put_secrets(&mut self, id: WebhookId, secrets: &SealedSecrets) -> Result<(), StoreError> {
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(id.as_uuid()))
            .set(sealed(secrets));
        changed_one(WEBHOOK, &update.exec(&self.tx).await.map_err(store_error(WEBHOOK))?)
    }

    async fn announce(&mut self, id: WebhookId, announcement: &Announcement) -> Result<(), StoreError> {
        let row = delivery::ActiveModel {
            tenant_id: Set(self.tenant),
            webhook_id: Set(id.as_uuid()),
            id: Set(announcement.message.as_uuid()),
            event: Set(announcement.event.as_str().to_owned()),
            run_id: Set(announcement.run.map(|run| run.as_uuid())),
            payload: Set(announcement.payload.clone()),
            attempts: Set(0),
            before_replay: Set(0),
            status: Set(DeliveryState::Pending { next_at: announcement.at }.name().to_owned()),
            next_at: Set(Some(announcement.at)),
            created_at: Set(announcement.at),
            ..Default::default()
        };
        self.refusable(DELIVERY, delivery::Entity::insert(row).exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn delivery(&mut self, id: WebhookId, message: MessageId) -> Result<Option<Delivery>, StoreError> {
        let query = self
            .own(delivery::Entity::find(), delivery::Column::TenantId)
            .filter(delivery::Column::WebhookId.eq(id.as_uuid()))
            .filter(delivery::Column::Id.eq(message.as_uuid()));
        let row = query.one(&self.tx).await.map_err(read_error::<delivery::Entity>(DELIVERY))?;
        row.map(Delivery::try_from).transpose()
    }

    async fn deliveries(
        &mut self,
        id: WebhookId,
        before: Option<MessageId>,
        limit: Limit,
    ) -> Result<Page<Delivery, MessageId>, StoreError> {
        let mut query = self
            .own(delivery::Entity::find(), delivery::Column::TenantId)
            .filter(delivery::Column::WebhookId.eq(id.as_uuid()))
            .order_by_desc(delivery::Column::Id);
        if let Some(before) = before {
            query = query.filter(delivery::Column::Id.lt(before.as_uuid()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<delivery::Entity>(DELIVERY))?;
        let deliveries = rows.into_iter().map(Delivery::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(deliveries, limit, |delivery| delivery.parts().message))
    }

    async fn record(&mut self, claim: &DueDelivery, delivered: &Delivery) -> Result<bool, StoreError> {
        // INVARIANT: attempts only grow, so no older claim, and none before a replay, writes here.
        let update = self
            .own(delivery::Entity::update_many(), delivery::Column::TenantId)
            .filter(delivery::Column::WebhookId.eq(claim.webhook().as_uuid()))
            .filter(delivery::Column::Id.eq(claim.message().as_uuid()))
            .filter(delivery::Column::Attempts.eq(i64::from(claim.attempt())))
            .filter(delivery::Column::NextAt.is_not_null())
            .set(delivery::changes(delivered));
        Ok(update.exec(&self.tx).await.map_err(store_error(DELIVERY))?.rows_affected == 1)
    }

    async fn replay(&mut self, replayed: &Delivery) -> Result<(), StoreError> {
        let parts = replayed.parts();
        let update = self
            .own(delivery::Entity::update_many(), delivery::Column::TenantId)
            .filter(delivery::Column::WebhookId.eq(parts.webhook.as_uuid()))
            .filter(delivery::Column::Id.eq(parts.message.as_uuid()))
            .filter(delivery::Column::Attempts.eq(i64::from(parts.attempts)))
            .filter(delivery::Column::NextAt.is_null())
            .set(delivery::changes(replayed));
        changed_one(DELIVERY, &update.exec(&self.tx).await.map_err(store_error(DELIVERY))?)
    }
}
