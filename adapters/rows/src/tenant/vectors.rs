//! Chunks by their vectors: compared by the database where it can, and else here. Either way every vector is compared.

use powerhouse_domain::ids::DocumentId;
use powerhouse_domain::knowledge::{CollectionName, Place};
use powerhouse_domain::retrieval::cosine;
use powerhouse_ports::store::StoreError;
use sea_orm::sea_query::{Expr, ExprTrait as _, IntoIden, Query};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait, DbErr, EntityTrait, Iterable as _, Order, QueryFilter, QueryOrder,
    QuerySelect, RuntimeErr,
};
use uuid::Uuid;

use super::knowledge::CHUNK;
use super::{Own, Transaction};
use crate::error::{read_error, store_error};
use crate::rows::document_chunk as chunk;
use crate::rows::stored::comparable;

/// Vectors that are read at once: some megabytes.
const AT_ONCE: usize = 500;

/// A chunk that was compared.
struct Near<'a> {
    collection: &'a CollectionName,
    document: DocumentId,
    ordinal: u32,
    cosine: f32,
}

impl Near<'_> {
    fn place(&self) -> (&CollectionName, DocumentId, u32) {
        (self.collection, self.document, self.ordinal)
    }
}

impl<C: Transaction> Own<C> {
    /// Stores chunks, with their vectors as the database compares them where it does.
    pub(super) async fn add_chunks(&self, rows: &[chunk::ActiveModel]) -> Result<(), StoreError> {
        if !self.tx.compares_vectors() {
            let insert = chunk::Entity::insert_many(rows.to_vec());
            insert.exec_without_returning(&self.tx).await.map_err(store_error(CHUNK))?;
            return Ok(());
        }
        // The entity lacks `embedding`, which only some databases have.
        let columns = chunk::Column::iter().map(IntoIden::into_iden);
        let mut insert = Query::insert();
        insert.into_table(chunk::Entity).columns(columns.chain(["embedding".into_iden()]));
        for row in rows {
            let stored = row.vector.try_as_ref().and_then(Option::as_deref);
            let embedding = Expr::val(stored.and_then(chunk::embedding)).cast_as("vector");
            let values =
                chunk::Column::iter().filter_map(|column| row.get(column).into_value()).map(Expr::val);
            insert
                .values(values.chain([embedding]))
                .map_err(|error| store_error(CHUNK)(DbErr::Query(RuntimeErr::Internal(error.to_string()))))?;
        }
        self.tx.execute(&insert).await.map_err(store_error(CHUNK))?;
        Ok(())
    }

    /// See [`nearest`](powerhouse_ports::store::KnowledgeRepository::nearest).
    pub(super) async fn nearest_chunks(
        &self,
        collections: &[CollectionName],
        model: &str,
        wanted: &[f32],
        most: usize,
    ) -> Result<Vec<(Place, f32)>, StoreError> {
        let mut best = Vec::new();
        if self.tx.compares_vectors() {
            self.compared(collections, model, wanted, most, &mut best).await?;
        }
        for collection in collections {
            let mut after = None;
            loop {
                let page = self.vectors(collection, model, after).await?;
                let is_last = page.len() < AT_ONCE;
                after = page.last().map(|(document, ordinal, _)| (*document, *ordinal));
                for (document, ordinal, stored) in page {
                    let vector = chunk::vector(&stored.unwrap_or_default())?;
                    if let Some(cosine) = cosine(wanted, &vector) {
                        let (document, ordinal) = (DocumentId::from_uuid(document), chunk::ordinal(ordinal)?);
                        best.push(Near { collection, document, ordinal, cosine });
                    }
                }
                keep(&mut best, most);
                if is_last {
                    break;
                }
            }
        }
        keep(&mut best, most);
        let told = |Near { collection, document, ordinal, cosine }| {
            (Place { collection: collection.clone(), document, ordinal }, cosine)
        };
        Ok(best.into_iter().map(told).collect())
    }

    /// The best of those that the database compares. It computes distances of what the filters leave, so only of the tenant's
    /// vectors by this model of this length.
    async fn compared<'a>(
        &self,
        collections: &'a [CollectionName],
        model: &str,
        wanted: &[f32],
        most: usize,
        best: &mut Vec<Near<'a>>,
    ) -> Result<(), StoreError> {
        let (Some(text), false) = (comparable(wanted), collections.is_empty()) else { return Ok(()) };
        // The sub-select is evaluated once a query, not once a row. The length of what is stored is known without reading it.
        let distance = Expr::cust_with_values("embedding <=> (SELECT CAST($1 AS vector))", [text]);
        let bytes = i64::try_from(size_of_val(wanted)).unwrap_or(i64::MAX);
        let query = self
            .own(chunk::Entity::find(), chunk::Column::TenantId)
            .filter(chunk::Column::Collection.is_in(collections.iter().map(CollectionName::as_str)))
            .filter(chunk::Column::Embedder.eq(model))
            .filter(Expr::cust_with_values("octet_length(vector) = $1", [bytes]))
            .filter(Expr::cust("embedding IS NOT NULL"))
            .select_only()
            .columns([chunk::Column::Collection, chunk::Column::DocumentId, chunk::Column::Ordinal])
            .expr_as(distance, "distance")
            .order_by(Expr::cust("distance"), Order::Asc)
            // As names are ordered here, whatever the database's language.
            .order_by(Expr::cust("collection COLLATE \"C\""), Order::Asc)
            .order_by_asc(chunk::Column::DocumentId)
            .order_by_asc(chunk::Column::Ordinal)
            .limit(u64::try_from(most).unwrap_or(u64::MAX));
        let rows = query.into_tuple::<(String, Uuid, i64, f64)>().all(&self.tx).await;
        for (name, document, ordinal, distance) in rows.map_err(read_error::<chunk::Entity>(CHUNK))? {
            let Some(collection) = collections.iter().find(|one| one.as_str() == name) else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "it is computed in single precision")]
            let cosine = (1.0 - distance) as f32;
            let (document, ordinal) = (DocumentId::from_uuid(document), chunk::ordinal(ordinal)?);
            best.push(Near { collection, document, ordinal, cosine });
        }
        Ok(())
    }

    /// Vectors of this model in the order of their places, after one, that the database does not compare: all, where it
    /// compares none; else what was put by a server that did not know yet that it does, or is none that it takes.
    async fn vectors(
        &self,
        collection: &CollectionName,
        model: &str,
        after: Option<(Uuid, i64)>,
    ) -> Result<Vec<(Uuid, i64, Option<Vec<u8>>)>, StoreError> {
        let mut query = self
            .own(chunk::Entity::find(), chunk::Column::TenantId)
            .filter(chunk::Column::Collection.eq(collection.as_str()))
            .filter(chunk::Column::Embedder.eq(model))
            .order_by_asc(chunk::Column::DocumentId)
            .order_by_asc(chunk::Column::Ordinal);
        if self.tx.compares_vectors() {
            query = query.filter(chunk::Column::Vector.is_not_null()).filter(Expr::cust("embedding IS NULL"));
        }
        if let Some((document, ordinal)) = after {
            let place = [chunk::Column::DocumentId, chunk::Column::Ordinal]
                .map(|column| Expr::col((chunk::Entity, column)));
            query =
                query.filter(Expr::tuple(place).gt(Expr::tuple([Expr::val(document), Expr::val(ordinal)])));
        }
        query
            .limit(AT_ONCE as u64)
            .select_only()
            .columns([chunk::Column::DocumentId, chunk::Column::Ordinal, chunk::Column::Vector])
            .into_tuple()
            .all(&self.tx)
            .await
            .map_err(read_error::<chunk::Entity>(CHUNK))
    }
}

/// The nearest, in their order. What is not alike at all goes.
fn keep(best: &mut Vec<Near<'_>>, most: usize) {
    best.retain(|near| near.cosine > 0.0);
    best.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then_with(|| a.place().cmp(&b.place())));
    best.truncate(most);
}
