//! A tenant's agents, with their versions.

use async_trait::async_trait;
use powerhouse_domain::agents::{Agent, AgentName, AgentState, PublishedVersion};
use powerhouse_domain::ids::AgentId;
use powerhouse_ports::store::{AgentRepository, Limit, Page, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, EntityTrait, JoinType, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use uuid::Uuid;

use super::{Own, Transaction, changed_one};
use crate::error::{read_both_error, read_error, store_error};
use crate::rows::agent::{ActiveModel, Column, Entity, Model};
use crate::rows::agent_version as version;
use crate::rows::stored::{StoredDefinition, read, write};
use crate::rows::{corrupt, signed, unsigned};

const AGENT: &str = "agent";

impl<C: Transaction> Own<C> {
    async fn agents(&self, query: Select<Entity>) -> Result<Vec<Agent>, StoreError> {
        let current = Entity::belongs_to(version::Entity)
            .from((Column::TenantId, Column::Id, Column::CurrentVersion))
            .to((version::Column::TenantId, version::Column::AgentId, version::Column::Number));
        let query = query.join(JoinType::LeftJoin, current.into()).select_also(version::Entity);
        let rows = query.all(&self.tx).await.map_err(read_both_error::<Entity, version::Entity>(AGENT))?;
        rows.into_iter().map(|(row, current)| agent(row, current.map(published).transpose()?)).collect()
    }

    /// Stores the version that runs use. One that is stored already is left as it is: versions never change.
    async fn put_version(&self, agent: &Agent) -> Result<(), StoreError> {
        let Some(current) = current(agent.state()) else { return Ok(()) };
        let row = version::ActiveModel {
            tenant_id: Set(self.tenant),
            agent_id: Set(agent.id().as_uuid()),
            number: Set(current.number.into()),
            definition: Set(write(&StoredDefinition::from(&current.definition))),
            published_at: Set(current.published_at),
        };
        let key = [version::Column::TenantId, version::Column::AgentId, version::Column::Number];
        version::Entity::insert(row)
            .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
            .exec_without_returning(&self.tx)
            .await
            .map_err(store_error(AGENT))?;
        Ok(())
    }
}

fn current(state: &AgentState) -> Option<&PublishedVersion> {
    match state {
        AgentState::Draft { .. } => None,
        AgentState::Published { current, .. } => Some(current),
        AgentState::Archived { last, .. } => last.as_ref(),
    }
}

fn published(row: version::Model) -> Result<PublishedVersion, StoreError> {
    let stored: StoredDefinition = read("agent_versions", "definition", row.definition)?;
    Ok(PublishedVersion {
        number: u32::try_from(row.number).map_err(corrupt("agent_versions", "number"))?,
        definition: stored.into_domain("agent_versions", "definition")?,
        published_at: row.published_at,
    })
}

fn agent(row: Model, current: Option<PublishedVersion>) -> Result<Agent, StoreError> {
    let bad = |column| StoreError::CorruptRow { table: "agents", column };
    let draft = match row.draft {
        Some(json) => {
            Some(read::<StoredDefinition>("agents", "draft", json)?.into_domain("agents", "draft")?)
        }
        None => None,
    };
    let state = match (row.archived_at, current, draft) {
        (Some(archived_at), last, _) if last.is_some() == row.current_version.is_some() => {
            AgentState::Archived { last, archived_at }
        }
        (None, Some(current), draft) => AgentState::Published { current, draft },
        (None, None, Some(draft)) if row.current_version.is_none() => AgentState::Draft { draft },
        _ => return Err(bad("current_version")),
    };
    let name = row.name.parse().map_err(corrupt("agents", "name"))?;
    let revision = unsigned("agents", "revision", row.revision)?;
    Ok(Agent::restore(AgentId::from_uuid(row.id), name, state, row.created_at, revision))
}

/// What changes of an agent.
fn changes(agent: &Agent) -> ActiveModel {
    let (draft, archived_at) = match agent.state() {
        AgentState::Draft { draft } => (Some(draft), None),
        AgentState::Published { draft, .. } => (draft.as_ref(), None),
        AgentState::Archived { archived_at, .. } => (None, Some(*archived_at)),
    };
    ActiveModel {
        draft: Set(draft.map(|draft| write(&StoredDefinition::from(draft)))),
        current_version: Set(current(agent.state()).map(|version| version.number.into())),
        archived_at: Set(archived_at),
        revision: Set(signed(agent.revision())),
        ..Default::default()
    }
}

#[async_trait]
impl<C: Transaction> AgentRepository for Own<C> {
    async fn find(&mut self, id: AgentId) -> Result<Option<Agent>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Id.eq(id.as_uuid()));
        Ok(self.agents(query).await?.pop())
    }

    async fn find_by_name(&mut self, name: &AgentName) -> Result<Option<Agent>, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::Name.eq(name.as_str()));
        Ok(self.agents(query).await?.pop())
    }

    async fn list(
        &mut self,
        after: Option<AgentId>,
        limit: Limit,
    ) -> Result<Page<Agent, AgentId>, StoreError> {
        let mut query = self.own(Entity::find(), Column::TenantId).order_by_asc(Column::Id);
        if let Some(after) = after {
            query = query.filter(Column::Id.gt(after.as_uuid()));
        }
        let agents = self.agents(query.limit(u64::from(limit.get()) + 1)).await?;
        Ok(Page::of(agents, limit, Agent::id))
    }

    async fn count_in_use(&mut self) -> Result<u64, StoreError> {
        let query = self.own(Entity::find(), Column::TenantId).filter(Column::ArchivedAt.is_null());
        query.count(&self.tx).await.map_err(store_error(AGENT))
    }

    async fn version(&mut self, id: AgentId, number: u32) -> Result<Option<PublishedVersion>, StoreError> {
        let query = self
            .own(version::Entity::find(), version::Column::TenantId)
            .filter(version::Column::AgentId.eq(id.as_uuid()))
            .filter(version::Column::Number.eq(i64::from(number)));
        query.one(&self.tx).await.map_err(read_error::<version::Entity>(AGENT))?.map(published).transpose()
    }

    async fn runnable(&mut self, limit: u32) -> Result<Vec<Agent>, StoreError> {
        let query = self
            .own(Entity::find(), Column::TenantId)
            .filter(Column::ArchivedAt.is_null())
            .filter(Column::CurrentVersion.is_not_null())
            .order_by_asc(Column::Id);
        self.agents(query.limit(u64::from(limit))).await
    }

    async fn add(&mut self, agent: &Agent) -> Result<(), StoreError> {
        let row = ActiveModel {
            tenant_id: Set(self.tenant),
            id: Set(agent.id().as_uuid()),
            name: Set(agent.name().as_str().to_owned()),
            created_at: Set(agent.created_at()),
            ..changes(agent)
        };
        self.refusable(AGENT, Entity::insert(row).exec_without_returning(&self.tx)).await?;
        self.put_version(agent).await
    }

    async fn update(&mut self, agent: &Agent) -> Result<(), StoreError> {
        let id: Uuid = agent.id().as_uuid();
        let update = self
            .own(Entity::update_many(), Column::TenantId)
            .filter(Column::Id.eq(id))
            .filter(Column::Revision.eq(signed(agent.revision()) - 1))
            .set(changes(agent));
        changed_one(AGENT, &update.exec(&self.tx).await.map_err(store_error(AGENT))?)?;
        self.put_version(agent).await
    }
}
