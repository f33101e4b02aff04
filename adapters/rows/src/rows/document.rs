//! Rows of `documents`.

use chrono::{DateTime, Utc};
use powerhouse_domain::ids::{DocumentId, UserId};
use powerhouse_domain::knowledge::Document;
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::{corrupt, signed, unsigned};

const TABLE: &str = "documents";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "documents")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) collection: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) title: String,
    pub(crate) source: String,
    pub(crate) media_type: String,
    pub(crate) sha256: Vec<u8>,
    pub(crate) bytes: i64,
    pub(crate) chunks: i64,
    pub(crate) words: i64,
    pub(crate) embedder: Option<String>,
    pub(crate) tokens: i64,
    pub(crate) created_by: Uuid,
    pub(crate) created_at: DateTime<Utc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row of a new document.
pub(crate) fn row(tenant: Uuid, document: &Document) -> ActiveModel {
    ActiveModel {
        tenant_id: Set(tenant),
        collection: Set(document.collection.as_str().to_owned()),
        id: Set(document.id.as_uuid()),
        title: Set(document.title.clone()),
        source: Set(document.source.clone()),
        media_type: Set(document.media_type.as_str().to_owned()),
        sha256: Set(document.sha256.to_vec()),
        bytes: Set(signed(document.bytes)),
        chunks: Set(signed(document.chunks)),
        words: Set(signed(document.words)),
        embedder: Set(document.model.clone()),
        tokens: Set(signed(document.tokens)),
        created_by: Set(document.created_by.as_uuid()),
        created_at: Set(document.created_at),
    }
}

impl TryFrom<Model> for Document {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: DocumentId::from_uuid(row.id),
            collection: row.collection.parse().map_err(corrupt(TABLE, "collection"))?,
            title: row.title,
            source: row.source,
            media_type: row.media_type.parse().map_err(corrupt(TABLE, "media_type"))?,
            sha256: row.sha256.try_into().map_err(corrupt(TABLE, "sha256"))?,
            bytes: unsigned(TABLE, "bytes", row.bytes)?,
            chunks: unsigned(TABLE, "chunks", row.chunks)?,
            words: unsigned(TABLE, "words", row.words)?,
            model: row.embedder,
            tokens: unsigned(TABLE, "tokens", row.tokens)?,
            created_by: UserId::from_uuid(row.created_by),
            created_at: row.created_at,
        })
    }
}
