//! Rows of `document_chunks`.

use powerhouse_domain::ids::DocumentId;
use powerhouse_domain::knowledge::{Chunk, Document, Place};
use powerhouse_ports::store::{FoundChunk, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;

use super::stored::{comparable, read, read_vector, write, write_vector};
use super::{corrupt, signed};

const TABLE: &str = "document_chunks";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "document_chunks")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) collection: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) document_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) ordinal: i64,
    pub(crate) begins: i64,
    pub(crate) ends: i64,
    pub(crate) headings: Json,
    pub(crate) text: String,
    pub(crate) embedder: Option<String>,
    pub(crate) vector: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What is read of a chunk when its vector is of no interest.
#[derive(FromQueryResult)]
pub(crate) struct Told {
    pub(crate) collection: String,
    pub(crate) document_id: Uuid,
    pub(crate) ordinal: i64,
    pub(crate) begins: i64,
    pub(crate) ends: i64,
    pub(crate) headings: Json,
    pub(crate) text: String,
}

impl Told {
    /// Its columns.
    pub(crate) const COLUMNS: [Column; 7] = [
        Column::Collection,
        Column::DocumentId,
        Column::Ordinal,
        Column::Begins,
        Column::Ends,
        Column::Headings,
        Column::Text,
    ];
}

/// The row of a new chunk, with its vector where it has one.
pub(crate) fn row(
    tenant: Uuid,
    document: &Document,
    ordinal: i64,
    chunk: &Chunk,
    vector: Option<&Vec<f32>>,
) -> ActiveModel {
    ActiveModel {
        tenant_id: Set(tenant),
        collection: Set(document.collection.as_str().to_owned()),
        document_id: Set(document.id.as_uuid()),
        ordinal: Set(ordinal),
        begins: Set(signed(chunk.range.start as u64)),
        ends: Set(signed(chunk.range.end as u64)),
        headings: Set(write(&chunk.headings)),
        text: Set(chunk.text.clone()),
        embedder: Set(document.model.clone().filter(|_| vector.is_some())),
        vector: Set(vector.map(|vector| write_vector(vector))),
    }
}

/// A vector as it was stored.
pub(crate) fn vector(bytes: &[u8]) -> Result<Vec<f32>, StoreError> {
    read_vector(TABLE, bytes)
}

/// What `embedding` holds of a vector as it was stored; nothing, when it is none that the database takes.
pub fn embedding(stored: &[u8]) -> Option<String> {
    comparable(&vector(stored).ok()?)
}

/// Which chunk of its document.
pub(crate) fn ordinal(stored: i64) -> Result<u32, StoreError> {
    u32::try_from(stored).map_err(corrupt(TABLE, "ordinal"))
}

impl TryFrom<Told> for FoundChunk {
    type Error = StoreError;

    fn try_from(row: Told) -> Result<Self, StoreError> {
        let bound = |column, value: i64| usize::try_from(value).map_err(corrupt(TABLE, column));
        let place = Place {
            collection: row.collection.parse().map_err(corrupt(TABLE, "collection"))?,
            document: DocumentId::from_uuid(row.document_id),
            ordinal: ordinal(row.ordinal)?,
        };
        let chunk = Chunk {
            range: bound("begins", row.begins)?..bound("ends", row.ends)?,
            text: row.text,
            headings: read(TABLE, "headings", row.headings)?,
        };
        Ok(Self { place, chunk })
    }
}
