//! A tenant's collections of documents, and what these are found by.

use async_trait::async_trait;
use powerhouse_domain::ids::DocumentId;
use powerhouse_domain::knowledge::{Chunk, Collection, CollectionName, Document, Indexed, Place, Posting};
use powerhouse_ports::store::{FoundChunk, KnowledgeRepository, Limit, Page, StoreError};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Own, Transaction};
use crate::error::{read_error, store_error};
use crate::rows::document_chunk::Told;
use crate::rows::{collection, document, document_chunk as chunk, document_word as word, signed};

const COLLECTION: &str = "collection";
const DOCUMENT: &str = "document";
pub(super) const CHUNK: &str = "chunk";
const WORD: &str = "word";

/// Rows that are written by one statement: a statement has a bounded number of values.
const AT_ONCE: usize = 500;

impl<C: Transaction> Own<C> {
    /// Counts what has come into a collection, or has gone.
    async fn count_document(&self, document: &Document, has_come: bool) -> Result<(), StoreError> {
        let changed = |column: collection::Column, by: u64| {
            let before = Expr::col((collection::Entity, column));
            if has_come { before.add(signed(by)) } else { before.sub(signed(by)) }
        };
        let update = self
            .own(collection::Entity::update_many(), collection::Column::TenantId)
            .filter(collection::Column::Name.eq(document.collection.as_str()))
            .col_expr(collection::Column::Documents, changed(collection::Column::Documents, 1))
            .col_expr(collection::Column::Chunks, changed(collection::Column::Chunks, document.chunks))
            .col_expr(collection::Column::Words, changed(collection::Column::Words, document.words));
        update.exec(&self.tx).await.map_err(store_error(COLLECTION))?;
        Ok(())
    }
}

#[async_trait]
impl<C: Transaction> KnowledgeRepository for Own<C> {
    async fn collection(&mut self, name: &CollectionName) -> Result<Option<Collection>, StoreError> {
        let query = self
            .own(collection::Entity::find(), collection::Column::TenantId)
            .filter(collection::Column::Name.eq(name.as_str()));
        let row = query.one(&self.tx).await.map_err(read_error::<collection::Entity>(COLLECTION))?;
        row.map(Collection::try_from).transpose()
    }

    async fn collections(&mut self) -> Result<Vec<Collection>, StoreError> {
        let query = self.own(collection::Entity::find(), collection::Column::TenantId);
        let rows = query.all(&self.tx).await.map_err(read_error::<collection::Entity>(COLLECTION))?;
        let mut all = rows.into_iter().map(Collection::try_from).collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    async fn add_collection(&mut self, new: &Collection) -> Result<(), StoreError> {
        let row = collection::ActiveModel {
            tenant_id: Set(self.tenant),
            name: Set(new.name.as_str().to_owned()),
            description: Set(new.description.clone()),
            documents: Set(signed(new.documents)),
            chunks: Set(signed(new.chunks)),
            words: Set(signed(new.words)),
            created_by: Set(new.created_by.as_uuid()),
            created_at: Set(new.created_at),
        };
        let insert = collection::Entity::insert(row);
        self.refusable(COLLECTION, insert.exec_without_returning(&self.tx)).await?;
        Ok(())
    }

    async fn remove_collection(&mut self, name: &CollectionName) -> Result<bool, StoreError> {
        let delete = self
            .own(collection::Entity::delete_many(), collection::Column::TenantId)
            .filter(collection::Column::Name.eq(name.as_str()));
        Ok(delete.exec(&self.tx).await.map_err(store_error(COLLECTION))?.rows_affected > 0)
    }

    async fn document(
        &mut self,
        collection: &CollectionName,
        id: DocumentId,
    ) -> Result<Option<Document>, StoreError> {
        let query = self
            .own(document::Entity::find(), document::Column::TenantId)
            .filter(document::Column::Collection.eq(collection.as_str()))
            .filter(document::Column::Id.eq(id.as_uuid()));
        let row = query.one(&self.tx).await.map_err(read_error::<document::Entity>(DOCUMENT))?;
        row.map(Document::try_from).transpose()
    }

    async fn documents(
        &mut self,
        collection: &CollectionName,
        after: Option<DocumentId>,
        limit: Limit,
    ) -> Result<Page<Document, DocumentId>, StoreError> {
        let mut query = self
            .own(document::Entity::find(), document::Column::TenantId)
            .filter(document::Column::Collection.eq(collection.as_str()))
            .order_by_asc(document::Column::Id);
        if let Some(after) = after {
            query = query.filter(document::Column::Id.gt(after.as_uuid()));
        }
        let rows = query.limit(u64::from(limit.get()) + 1).all(&self.tx).await;
        let rows = rows.map_err(read_error::<document::Entity>(DOCUMENT))?;
        let documents = rows.into_iter().map(Document::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(documents, limit, |document| document.id))
    }

    async fn documents_of(&mut self, places: &[Place]) -> Result<Vec<Document>, StoreError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let any = places.iter().fold(Condition::any(), |any, place| {
            any.add(
                Condition::all()
                    .add(document::Column::Collection.eq(place.collection.as_str()))
                    .add(document::Column::Id.eq(place.document.as_uuid())),
            )
        });
        let query = self.own(document::Entity::find(), document::Column::TenantId).filter(any);
        let rows = query.all(&self.tx).await.map_err(read_error::<document::Entity>(DOCUMENT))?;
        rows.into_iter().map(Document::try_from).collect()
    }

    async fn add_document(
        &mut self,
        new: &Document,
        indexed: &Indexed,
        vectors: &[Vec<f32>],
    ) -> Result<(), StoreError> {
        let insert = document::Entity::insert(document::row(self.tenant, new));
        self.refusable(DOCUMENT, insert.exec_without_returning(&self.tx)).await?;
        let chunks: Vec<_> = (0..)
            .zip(&indexed.chunks)
            .map(|(ordinal, chunk)| {
                let vector = usize::try_from(ordinal).ok().and_then(|ordinal| vectors.get(ordinal));
                chunk::row(self.tenant, new, ordinal, chunk, vector)
            })
            .collect();
        for rows in chunks.chunks(AT_ONCE) {
            self.add_chunks(rows).await?;
        }
        let words: Vec<_> =
            indexed.words.iter().map(|(word, found)| word::row(self.tenant, new, word, found)).collect();
        for rows in words.chunks(AT_ONCE * 2) {
            let insert = word::Entity::insert_many(rows.to_vec());
            insert.exec_without_returning(&self.tx).await.map_err(store_error(WORD))?;
        }
        self.count_document(new, true).await
    }

    async fn remove_document(&mut self, old: &Document) -> Result<bool, StoreError> {
        let delete = self
            .own(document::Entity::delete_many(), document::Column::TenantId)
            .filter(document::Column::Collection.eq(old.collection.as_str()))
            .filter(document::Column::Id.eq(old.id.as_uuid()));
        let was_there = delete.exec(&self.tx).await.map_err(store_error(DOCUMENT))?.rows_affected > 0;
        if was_there {
            self.count_document(old, false).await?;
        }
        Ok(was_there)
    }

    async fn chunks(
        &mut self,
        collection: &CollectionName,
        document: DocumentId,
    ) -> Result<Vec<Chunk>, StoreError> {
        let query = self
            .own(chunk::Entity::find(), chunk::Column::TenantId)
            .filter(chunk::Column::Collection.eq(collection.as_str()))
            .filter(chunk::Column::DocumentId.eq(document.as_uuid()))
            .order_by_asc(chunk::Column::Ordinal)
            .select_only()
            .columns(Told::COLUMNS);
        let rows = query.into_model::<Told>().all(&self.tx).await;
        let rows = rows.map_err(read_error::<chunk::Entity>(CHUNK))?;
        rows.into_iter().map(|row| FoundChunk::try_from(row).map(|found| found.chunk)).collect()
    }

    async fn postings(
        &mut self,
        collections: &[CollectionName],
        words: &[String],
    ) -> Result<Vec<Posting>, StoreError> {
        if collections.is_empty() || words.is_empty() {
            return Ok(Vec::new());
        }
        let query = self
            .own(word::Entity::find(), word::Column::TenantId)
            .filter(word::Column::Collection.is_in(collections.iter().map(CollectionName::as_str)))
            .filter(word::Column::Word.is_in(words.iter().map(String::as_str)));
        let rows = query.all(&self.tx).await.map_err(read_error::<word::Entity>(WORD))?;
        rows.into_iter().map(Posting::try_from).collect()
    }

    async fn nearest(
        &mut self,
        collections: &[CollectionName],
        model: &str,
        wanted: &[f32],
        most: usize,
    ) -> Result<Vec<(Place, f32)>, StoreError> {
        self.nearest_chunks(collections, model, wanted, most).await
    }

    async fn found(&mut self, places: &[Place]) -> Result<Vec<FoundChunk>, StoreError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let any = places.iter().fold(Condition::any(), |any, place| {
            any.add(
                Condition::all()
                    .add(chunk::Column::Collection.eq(place.collection.as_str()))
                    .add(chunk::Column::DocumentId.eq(place.document.as_uuid()))
                    .add(chunk::Column::Ordinal.eq(i64::from(place.ordinal))),
            )
        });
        let query = self
            .own(chunk::Entity::find(), chunk::Column::TenantId)
            .filter(any)
            .select_only()
            .columns(Told::COLUMNS);
        let rows = query.into_model::<Told>().all(&self.tx).await;
        let rows = rows.map_err(read_error::<chunk::Entity>(CHUNK))?;
        rows.into_iter().map(FoundChunk::try_from).collect()
    }
}
