//! A tenant's users.

use async_trait::async_trait;
use powerhouse_domain::access::Role;
use powerhouse_domain::ids::UserId;
use powerhouse_domain::users::{Email, Membership, User};
use powerhouse_ports::store::{Limit, Page, StoreError, UserRepository};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};

use uuid::Uuid;

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::signed;
use crate::rows::user::{Column, Entity, active, member};

const USER: &str = "user";

#[async_trait]
impl<C: Transaction> UserRepository for Own<C> {
    async fn find(&mut self, id: UserId) -> Result<Option<(User, Membership)>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(USER))?.as_ref().map(member).transpose()
    }

    async fn find_by_email(&mut self, email: &Email) -> Result<Option<(User, Membership)>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Email.eq(email.as_str()));
        query.one(&self.tx).await.map_err(read_error::<Entity>(USER))?.as_ref().map(member).transpose()
    }

    async fn list(
        &mut self,
        after: Option<UserId>,
        limit: Limit,
    ) -> Result<Page<(User, Membership), UserId>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_asc(Column::Id);
        if let Some(after) = after {
            query = query.filter(Column::Id.gt(after.as_uuid()));
        }
        let rows = query
            .limit(u64::from(limit.get()) + 1)
            .all(&self.tx)
            .await
            .map_err(read_error::<Entity>(USER))?;
        let members = rows.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(members, limit, |(user, _)| user.id()))
    }

    async fn add(&mut self, user: &User, membership: &Membership, password: &str) -> Result<(), StoreError> {
        let mut row = active(user, membership);
        // Whatever the membership says, the row goes to the transaction's tenant.
        row.tenant_id = Set(self.tenant);
        row.password_hash = Set(password.to_owned());
        self.refusable(USER, row.insert(&self.tx)).await?;
        Ok(())
    }

    async fn update(&mut self, user: &User, membership: &Membership, read: u64) -> Result<(), StoreError> {
        let mut row = active(user, membership);
        row.tenant_id = NotSet;
        row.id = NotSet;
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(user.id().as_uuid()))
            .filter(Column::Version.eq(signed(read)))
            .set(row);
        changed_one(USER, &self.refusable(USER, update.exec(&self.tx)).await?)
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.own(Entity::find(), Column::TenantId).count(&self.tx).await.map_err(store_error(USER))
    }

    async fn remove(&mut self, id: UserId) -> Result<bool, StoreError> {
        let delete = self.own(Entity::delete_many(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(USER))?.rows_affected > 0)
    }

    async fn owners(&mut self) -> Result<u64, StoreError> {
        let query = self
            .own(Entity::find(), Column::TenantId)
            .filter(Column::Role.eq(Role::Owner.as_str()))
            .filter(Column::DisabledSince.is_null())
            .select_only()
            .column(Column::Id)
            .lock_exclusive()
            .into_tuple::<Uuid>();
        let owners = query.all(&self.tx).await.map_err(store_error(USER))?;
        Ok(u64::try_from(owners.len()).unwrap_or(u64::MAX))
    }
}
