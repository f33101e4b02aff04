//! Rows of `memories`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{AgentId, MemoryId, RunId, UserId};
use powerhouse_domain::memory::{Importance, Memory, MemoryVector, Whose};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::corrupt;
use super::stored::{read_vector, write_vector};

const TABLE: &str = "memories";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "memories")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) agent_id: Uuid,
    /// The user; nobody's id when it is for all.
    pub(crate) user_id: Uuid,
    pub(crate) kind: String,
    pub(crate) text: String,
    pub(crate) importance: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) accessed_at: DateTime<Utc>,
    /// The model of the vector; with it there is a vector.
    pub(crate) embedded_by: Option<String>,
    /// Its numbers in single precision, the lowest byte first.
    pub(crate) vector: Option<Vec<u8>>,
    pub(crate) run_id: Option<Uuid>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A user as it is stored.
pub(crate) fn user_of(whose: Whose) -> Uuid {
    whose.user.map_or(Uuid::nil(), |user| user.as_uuid())
}

/// What changes of a memory.
pub(crate) fn changes(memory: &Memory) -> ActiveModel {
    let vector = memory.vector.as_ref();
    ActiveModel {
        text: Set(memory.text.as_str().to_owned()),
        importance: Set(memory.importance.get().into()),
        accessed_at: Set(memory.accessed_at),
        embedded_by: Set(vector.map(|vector| vector.model.clone())),
        vector: Set(vector.map(|vector| write_vector(&vector.parts))),
        run_id: Set(memory.run.map(|run| run.as_uuid())),
        ..Default::default()
    }
}

/// A whole row.
pub(crate) fn added(tenant: Uuid, memory: &Memory) -> ActiveModel {
    ActiveModel {
        tenant_id: Set(tenant),
        id: Set(memory.id.as_uuid()),
        agent_id: Set(memory.whose.agent.as_uuid()),
        user_id: Set(user_of(memory.whose)),
        kind: Set(memory.kind.as_str().to_owned()),
        created_at: Set(memory.created_at),
        ..changes(memory)
    }
}

pub(crate) fn importance(stored: i64) -> Result<Importance, StoreError> {
    let number = u8::try_from(stored).map_err(corrupt(TABLE, "importance"))?;
    Importance::new(number).map_err(corrupt(TABLE, "importance"))
}

fn vector(model: Option<String>, bytes: Option<&[u8]>) -> Result<Option<MemoryVector>, StoreError> {
    let (Some(model), Some(bytes)) = (model, bytes) else { return Ok(None) };
    let vector = MemoryVector::new(model, read_vector(TABLE, bytes)?);
    vector.map(Some).ok_or(StoreError::CorruptRow { table: TABLE, column: "vector" })
}

impl TryFrom<Model> for Memory {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let user = (!row.user_id.is_nil()).then(|| UserId::from_uuid(row.user_id));
        Ok(Self {
            id: MemoryId::from_uuid(row.id),
            whose: Whose { agent: AgentId::from_uuid(row.agent_id), user },
            kind: row.kind.parse().map_err(corrupt(TABLE, "kind"))?,
            text: row.text.parse().map_err(corrupt(TABLE, "text"))?,
            importance: importance(row.importance)?,
            created_at: row.created_at,
            accessed_at: row.accessed_at,
            vector: vector(row.embedded_by, row.vector.as_deref())?,
            run: row.run_id.map(RunId::from_uuid),
        })
    }
}
