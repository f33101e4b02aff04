//! What a tenant used: sums that grow.

use async_trait::async_trait;
use chrono::NaiveDate;
use powerhouse_domain::ids::UserId;
use powerhouse_domain::model::Usage;
use powerhouse_domain::money::{Grouping, UsageGroup, UsageKey};
use powerhouse_ports::store::{StoreError, UsageRepository};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Alias, Expr, OnConflict};
use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, FromQueryResult, IdenStatic, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::{Own, Transaction};
use crate::error::{read_error, store_error};
use crate::rows::usage::{ActiveModel, Column, Entity, agent, agent_id};
use crate::rows::{signed, unsigned};

const USAGE: &str = "usage";

/// The columns that are added up.
const SUMMED: [Column; 4] = [Column::Calls, Column::InputTokens, Column::OutputTokens, Column::CostMicros];

/// A sum as a query answers it; what it does not tell apart is not among its columns.
#[derive(FromQueryResult)]
struct Sum {
    day: Option<NaiveDate>,
    agent_id: Option<Uuid>,
    user_id: Option<Uuid>,
    model: Option<String>,
    calls: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_micros: i64,
}

impl TryFrom<Sum> for UsageGroup {
    type Error = StoreError;

    fn try_from(row: Sum) -> Result<Self, StoreError> {
        Ok(Self {
            day: row.day,
            agent: row.agent_id.and_then(agent),
            user: row.user_id.map(UserId::from_uuid),
            model: row.model,
            calls: unsigned(USAGE, "calls", row.calls)?,
            usage: Usage::of_tokens(
                unsigned(USAGE, "input_tokens", row.input_tokens)?,
                unsigned(USAGE, "output_tokens", row.output_tokens)?,
            )
            .at_cost(unsigned(USAGE, "cost_micros", row.cost_micros)?),
        })
    }
}

#[async_trait]
impl<C: Transaction> UsageRepository for Own<C> {
    async fn add(&mut self, key: &UsageKey, calls: u64, usage: Usage) -> Result<(), StoreError> {
        let amounts = [calls, usage.input_tokens, usage.output_tokens, usage.cost_micros].map(signed);
        let row = ActiveModel {
            tenant_id: Set(self.tenant),
            day: Set(key.day),
            agent_id: Set(agent_id(key.agent)),
            user_id: Set(key.user.as_uuid()),
            name: Set(key.model.clone()),
            calls: Set(amounts[0]),
            input_tokens: Set(amounts[1]),
            output_tokens: Set(amounts[2]),
            cost_micros: Set(amounts[3]),
        };
        let columns = [Column::TenantId, Column::Day, Column::AgentId, Column::UserId, Column::Name];
        let mut upsert = OnConflict::columns(columns);
        for (column, amount) in SUMMED.into_iter().zip(amounts) {
            upsert.value(column, Expr::col((Entity, column)).add(amount));
        }
        let insert = Entity::insert(row).on_conflict(upsert);
        insert.exec_without_returning(&self.tx).await.map_err(store_error(USAGE))?;
        Ok(())
    }

    async fn sums(
        &mut self,
        from: NaiveDate,
        to: NaiveDate,
        grouping: Grouping,
        limit: u32,
    ) -> Result<Vec<UsageGroup>, StoreError> {
        let by = [
            (grouping.day, Column::Day),
            (grouping.agent, Column::AgentId),
            (grouping.user, Column::UserId),
            (grouping.model, Column::Name),
        ];
        let mut query =
            self.own(Entity::find(), Column::TenantId).filter(Column::Day.between(from, to)).select_only();
        for (_, column) in by.into_iter().filter(|(is_told, _)| *is_told) {
            query = query.column(column).group_by(column).order_by_asc(column);
        }
        for column in SUMMED {
            // PostgreSQL sums integers as a number without a bound, and no rows as nothing.
            let sum = Expr::col((Entity, column)).sum().cast_as(Alias::new("bigint"));
            query = query.column_as(Expr::expr(sum).if_null(0), column.as_str());
        }
        // Without a group there is a sum of nothing at all.
        let is_told = by.iter().any(|(is_told, _)| *is_told);
        let query = query.limit(u64::from(limit)).into_model::<Sum>();
        let rows = query.all(&self.tx).await.map_err(read_error::<Entity>(USAGE))?;
        let groups = rows.into_iter().map(UsageGroup::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(groups.into_iter().filter(|group| is_told || group.calls > 0).collect())
    }
}
