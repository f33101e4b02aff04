//! A tenant's collections of documents, and what these are found by.

use async_trait::async_trait;
use powerhouse_domain::ids::DocumentId;
use powerhouse_domain::knowledge::{Chunk, Collection, CollectionName, Document, Indexed, Place, Posting};

use super::{Limit, Page, StoreError};

/// A chunk that was found, with its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundChunk {
    /// Where it is.
    pub place: Place,
    /// The chunk.
    pub chunk: Chunk,
}

/// A tenant's documents. How much is in a collection is counted with each that comes or goes.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait KnowledgeRepository: Send {
    /// A collection.
    async fn collection(&mut self, name: &CollectionName) -> Result<Option<Collection>, StoreError>;
    /// All collections, in the order of their names.
    async fn collections(&mut self) -> Result<Vec<Collection>, StoreError>;
    /// Stores a new one; `Conflict` when the name is taken.
    async fn add_collection(&mut self, collection: &Collection) -> Result<(), StoreError>;
    /// Removes one with all its documents. Whether there was one.
    async fn remove_collection(&mut self, name: &CollectionName) -> Result<bool, StoreError>;
    /// A document.
    async fn document(
        &mut self,
        collection: &CollectionName,
        id: DocumentId,
    ) -> Result<Option<Document>, StoreError>;
    /// A collection's documents in the order of their ids.
    async fn documents(
        &mut self,
        collection: &CollectionName,
        after: Option<DocumentId>,
        limit: Limit,
    ) -> Result<Page<Document, DocumentId>, StoreError>;
    /// What is told of these documents, where they are there; in any order.
    async fn documents_of(&mut self, places: &[Place]) -> Result<Vec<Document>, StoreError>;
    /// Stores a document with its chunks, and a vector for each, or none; `Conflict` when the collection has its content
    /// already, or is not there.
    async fn add_document(
        &mut self,
        document: &Document,
        indexed: &Indexed,
        vectors: &[Vec<f32>],
    ) -> Result<(), StoreError>;
    /// Removes a document. Whether it was there.
    async fn remove_document(&mut self, document: &Document) -> Result<bool, StoreError>;
    /// A document's chunks, in their order.
    async fn chunks(
        &mut self,
        collection: &CollectionName,
        document: DocumentId,
    ) -> Result<Vec<Chunk>, StoreError>;
    /// Where these words are in these collections.
    async fn postings(
        &mut self,
        collections: &[CollectionName],
        words: &[String],
    ) -> Result<Vec<Posting>, StoreError>;
    /// The chunks in these collections that mean most nearly what is wanted, the nearest first: by the cosine of `wanted`, which
    /// has norm 1, and each vector that the same model made with as many numbers. Exact. What has a cosine of 0 or less is not
    /// found; of several as near, the first by their places are; at most `most`.
    async fn nearest(
        &mut self,
        collections: &[CollectionName],
        model: &str,
        wanted: &[f32],
        most: usize,
    ) -> Result<Vec<(Place, f32)>, StoreError>;
    /// The chunks at these places, where they are there; in any order.
    async fn found(&mut self, places: &[Place]) -> Result<Vec<FoundChunk>, StoreError>;
}
