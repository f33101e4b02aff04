//! A tenant's rules on what people have to approve.

use async_trait::async_trait;
use powerhouse_domain::runs::ApprovalRules;
use powerhouse_ports::store::{ApprovalRuleRepository, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::{Own, Transaction, changed_one};
use crate::error::{read_error, store_error};
use crate::rows::approval_rules::{ActiveModel, Column, Entity, changes};
use crate::rows::signed;

const RULES: &str = "approval rules";

#[async_trait]
impl<C: Transaction> ApprovalRuleRepository for Own<C> {
    async fn read(&mut self) -> Result<ApprovalRules, StoreError> {
        let row = self.own(Entity::find(), Column::TenantId).one(&self.tx).await;
        let row = row.map_err(read_error::<Entity>(RULES))?;
        row.map_or_else(|| Ok(ApprovalRules::default()), ApprovalRules::try_from)
    }

    async fn replace(&mut self, rules: &ApprovalRules) -> Result<(), StoreError> {
        let read = signed(rules.version()) - 1;
        if read == 0 {
            let row = ActiveModel { tenant_id: Set(self.tenant), ..changes(rules) };
            self.refusable(RULES, Entity::insert(row).exec_without_returning(&self.tx)).await?;
            return Ok(());
        }
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Version.eq(read))
            .set(changes(rules));
        changed_one(RULES, &update.exec(&self.tx).await.map_err(store_error(RULES))?)
    }
}
