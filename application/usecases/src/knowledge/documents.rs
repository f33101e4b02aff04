//! Putting, reading and removing documents.

use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::access::{Principal, TenantScope};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::ids::DocumentId;
use powerhouse_domain::knowledge::{
    BadDocument, Chunk, CollectionName, Document, Indexed, MAX_CHUNKS, MAX_CONTENT, MAX_DOCUMENTS,
    NewDocument,
};
use powerhouse_domain::masking::Classes;
use powerhouse_domain::model::Usage;
use powerhouse_ports::Chain;
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::documents::{ExtractFailed, TextExtractor};
use powerhouse_ports::embeddings::Embeddings;
use powerhouse_ports::store::{Limit, Page, TenantStore, TenantView};

use super::{NO_COLLECTION, NO_DOCUMENT, changing, reading};
use crate::embedding::{NoVectors, Payer};
use crate::{Embedding, Once, Refused, audited};

/// How long a document's vectors may take, all together.
const EMBEDDING_PATIENCE: Duration = Duration::from_mins(2);
/// When to try again to put a document while too many are being read.
const READING_RETRY: Duration = Duration::from_secs(10);

/// Puts documents.
#[derive(Clone)]
pub struct AddDocument {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Takes the text out of them.
    pub extractor: Arc<dyn TextExtractor>,
    /// Makes vectors of it, unless nobody does.
    pub embedding: Option<Embedding>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
}

impl AddDocument {
    /// Puts a document into a collection, from where it is found at once. Nothing is stored unless all of it is.
    pub async fn execute(
        &self,
        principal: &Principal,
        collection: CollectionName,
        new: NewDocument,
        once: &Once<Document>,
    ) -> Result<Document, Refused> {
        let permit = changing(principal, collection)?;
        let scope = permit.scope();
        new.check()?;
        // Before the work, which is paid for; and again with it.
        drop(once.begin(&*self.store, &scope).await?);
        self.room(&scope, permit.resource(), 1).await?;
        let sha256 = new.hash();
        let NewDocument { title, source, media_type, content } = new;
        let extracted = self.extractor.extract(media_type, content).await.map_err(not_read)?;
        // A long text keeps a processor busy: not on a thread that serves others.
        let classes = match &self.embedding {
            Some(embedding) => embedding.masked(&scope).await?,
            None => Classes::NONE,
        };
        let index = move || {
            let indexed = Indexed::of(&title, &extracted)?;
            let texts = indexed.texts_without(classes, &title, &extracted);
            Ok::<_, BadDocument>((indexed, texts))
        };
        let indexed = tokio::task::spawn_blocking(index).await;
        let (indexed, texts) = indexed.map_err(|error| Refused::Internal(error.to_string()))??;
        let chunks = indexed.chunks.len() as u64;
        self.room(&scope, permit.resource(), chunks).await?;
        let Embeddings { vectors, usage, model } = self.embed(principal, texts).await?;
        let document = Document {
            id: DocumentId::from_uuid(self.ids.next()),
            collection: permit.resource().clone(),
            title: indexed.title.clone(),
            source,
            media_type,
            sha256,
            bytes: indexed.bytes as u64,
            chunks,
            words: indexed.length,
            model: Some(model).filter(|_| !vectors.is_empty()),
            tokens: usage.total_tokens(),
            created_by: permit.granted_to(),
            created_at: self.clock.now(),
        };
        let mut tx = once.begin(&*self.store, &scope).await?;
        has_room(&mut *tx, &document.collection, chunks).await?;
        let taken = Refused::taken("document_exists", "this document is in the collection already");
        tx.knowledge().add_document(&document, &indexed, &vectors).await.map_err(taken)?;
        let entry = Entry::by(principal, AuditAction::DocumentAdded, document.id, document.created_at)
            .with("collection", &document.collection);
        once.commit_audited(tx, &document, entry).await?;
        permit.redeem();
        Ok(document)
    }

    async fn room(
        &self,
        scope: &TenantScope,
        collection: &CollectionName,
        chunks: u64,
    ) -> Result<(), Refused> {
        let mut view = self.store.read(scope).await?;
        has_room(&mut *view, collection, chunks).await
    }

    /// A vector for each chunk; none where nobody makes any.
    async fn embed(&self, principal: &Principal, texts: Vec<String>) -> Result<Embeddings, Refused> {
        let Some(embedding) = &self.embedding else {
            return Ok(Embeddings { vectors: Vec::new(), usage: Usage::default(), model: String::new() });
        };
        let failed = |why: &dyn std::fmt::Display| Refused::Elsewhere {
            code: "embedding_failed",
            reason: format!("no vectors could be made of the document, and nothing was stored: {why}"),
        };
        let asked = embedding.of(Payer::of(principal, None), texts, EMBEDDING_PATIENCE).await?;
        asked.made.map_err(|error| {
            tracing::warn!(error = %Chain(&error), "the vectors of a document could not be made");
            match error {
                NoVectors::Model(error) => failed(&error),
                NoVectors::TooLong => failed(&"it took too long; try again, or put the document in parts"),
            }
        })
    }
}

/// What is said of a document whose text could not be had.
fn not_read(why: ExtractFailed) -> Refused {
    let (code, reason) = match why {
        ExtractFailed::Unreadable => (
            "document_unreadable",
            "cannot be read: it is broken, or takes more time or memory than a document may; save it anew, or put its text",
        ),
        ExtractFailed::Encrypted => {
            ("document_encrypted", "opens with a password only: save it without one, and put it again")
        }
        ExtractFailed::Wordless => (
            "document_without_text",
            "has pages, but no text, as a scan has none: put it through character recognition first",
        ),
        ExtractFailed::TooLong => {
            let reason = format!("has more than {MAX_CONTENT} bytes of text: put it in parts");
            return Refused::unsupported("document_too_long", "/content", &reason);
        }
        ExtractFailed::Busy => return Refused::Overloaded { retry_after: READING_RETRY },
        ExtractFailed::NoReader(error) => {
            return Refused::Internal(format!("documents cannot be read: {error}"));
        }
    };
    Refused::unsupported(code, "/content", reason)
}

/// Whether so many more chunks may be put into a collection.
async fn has_room(
    view: &mut (impl TenantView + ?Sized),
    name: &CollectionName,
    more: u64,
) -> Result<(), Refused> {
    let collections = view.knowledge().collections().await?;
    let collection = collections.iter().find(|collection| collection.name == *name).ok_or(NO_COLLECTION)?;
    if collection.documents >= MAX_DOCUMENTS {
        let reason = format!("a collection has at most {MAX_DOCUMENTS} documents");
        return Err(Refused::conflict("too_many_documents", reason));
    }
    let chunks: u64 = collections.iter().map(|collection| collection.chunks).sum();
    if chunks.saturating_add(more) > MAX_CHUNKS {
        let reason = format!(
            "a tenant's documents have at most {MAX_CHUNKS} chunks together: {chunks} are there, and this has {more}"
        );
        return Err(Refused::conflict("too_many_chunks", reason));
    }
    Ok(())
}

/// Lists documents.
#[derive(Clone)]
pub struct ListDocuments {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ListDocuments {
    /// A collection's documents, in the order in which they were put.
    pub async fn execute(
        &self,
        principal: &Principal,
        collection: CollectionName,
        after: Option<DocumentId>,
        limit: Limit,
    ) -> Result<Page<Document, DocumentId>, Refused> {
        let permit = reading(principal, collection)?;
        let mut view = self.store.read(&permit.scope()).await?;
        let name = permit.redeem();
        view.knowledge().collection(&name).await?.ok_or(NO_COLLECTION)?;
        Ok(view.knowledge().documents(&name, after, limit).await?)
    }
}

/// Reads a document.
#[derive(Clone)]
pub struct ReadDocument {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadDocument {
    /// What is told of a document, with its chunks.
    pub async fn execute(
        &self,
        principal: &Principal,
        collection: CollectionName,
        id: DocumentId,
    ) -> Result<(Document, Vec<Chunk>), Refused> {
        let permit = reading(principal, collection)?;
        let mut view = self.store.read(&permit.scope()).await?;
        let name = permit.redeem();
        let document = view.knowledge().document(&name, id).await?.ok_or(NO_DOCUMENT)?;
        let chunks = view.knowledge().chunks(&name, id).await?;
        Ok((document, chunks))
    }
}

/// Removes documents.
#[derive(Clone)]
pub struct DeleteDocument {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl DeleteDocument {
    /// Removes a document: it is found no more.
    pub async fn execute(
        &self,
        principal: &Principal,
        collection: CollectionName,
        id: DocumentId,
    ) -> Result<(), Refused> {
        let permit = changing(principal, collection)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let document = tx.knowledge().document(&permit.redeem(), id).await?.ok_or(NO_DOCUMENT)?;
        if !tx.knowledge().remove_document(&document).await? {
            return Err(NO_DOCUMENT);
        }
        let entry = Entry::by(principal, AuditAction::DocumentRemoved, id, self.clock.now())
            .with("collection", &document.collection);
        audited::commit(tx, entry).await?;
        Ok(())
    }
}
