//! Rows of `document_words`.

use powerhouse_domain::ids::DocumentId;
use powerhouse_domain::knowledge::{Document, Occurrence, Posting};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::corrupt;

const TABLE: &str = "document_words";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "document_words")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) collection: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) word: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) document_id: Uuid,
    /// Chunk, count and length, four bytes each.
    pub(crate) occurrences: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row of a word in a new document.
pub(crate) fn row(tenant: Uuid, document: &Document, word: &str, occurrences: &[Occurrence]) -> ActiveModel {
    let bytes = occurrences.iter().flat_map(|found| [found.ordinal, found.count, found.length]);
    ActiveModel {
        tenant_id: Set(tenant),
        collection: Set(document.collection.as_str().to_owned()),
        word: Set(word.to_owned()),
        document_id: Set(document.id.as_uuid()),
        occurrences: Set(bytes.flat_map(u32::to_le_bytes).collect()),
    }
}

impl TryFrom<Model> for Posting {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let (numbers, rest) = row.occurrences.as_chunks::<4>();
        let numbers: Vec<u32> = numbers.iter().map(|number| u32::from_le_bytes(*number)).collect();
        let (found, more) = numbers.as_chunks::<3>();
        if !rest.is_empty() || !more.is_empty() {
            return Err(StoreError::CorruptRow { table: TABLE, column: "occurrences" });
        }
        let found = found.iter().map(|[ordinal, count, length]| Occurrence {
            ordinal: *ordinal,
            count: *count,
            length: *length,
        });
        Ok(Self {
            collection: row.collection.parse().map_err(corrupt(TABLE, "collection"))?,
            document: DocumentId::from_uuid(row.document_id),
            word: row.word,
            occurrences: found.collect(),
        })
    }
}
