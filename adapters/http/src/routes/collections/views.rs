//! Collections and documents as callers send and read them.

use std::fmt::Write as _;

use powerhouse_domain::knowledge::{Chunk, Collection, Document};
use powerhouse_usecases::knowledge::{Found, Hit};
use salvo::oapi::ToSchema;
use serde::{Deserialize, Serialize};

use crate::reply::{Reply, instant};

/// A new collection.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCollection {
    /// What it is called: 1 to 63 lower-case letters, digits, `-` and `_`, the first a letter.
    #[salvo(schema(example = "handbook"))]
    pub(super) name: String,
    /// What is in it, at most 1,000 characters.
    #[serde(default)]
    pub(super) description: String,
}

/// A document to be put.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutDocument {
    /// What it is called, at most 200 characters; as it calls itself, when it is left out.
    #[serde(default)]
    pub(super) title: String,
    /// Where it is from, such as its URL, at most 2,000 characters. Nothing is fetched from there.
    #[serde(default)]
    pub(super) source: String,
    /// `text/plain`, `text/markdown`, `text/html` or `application/pdf`.
    #[salvo(schema(example = "text/markdown"))]
    pub(super) media_type: String,
    /// The document, at most a mebibyte; PDF in Base64, at most four mebibytes of it.
    pub(super) content: String,
}

/// A collection.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Collection"))]
pub(super) struct CollectionView {
    name: String,
    description: String,
    /// How many documents are in it.
    documents: u64,
    /// Into how many chunks they are cut.
    chunks: u64,
    created_by: String,
    created_at: String,
}

impl From<&Collection> for CollectionView {
    fn from(collection: &Collection) -> Self {
        Self {
            name: collection.name.to_string(),
            description: collection.description.clone(),
            documents: collection.documents,
            chunks: collection.chunks,
            created_by: collection.created_by.to_string(),
            created_at: instant(collection.created_at),
        }
    }
}

/// All collections.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CollectionList {
    pub(super) items: Vec<CollectionView>,
}

/// All that is told of a document.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Document"))]
pub(super) struct DocumentView {
    id: String,
    collection: String,
    title: String,
    source: String,
    media_type: &'static str,
    /// The hash of what was put, in hexadecimal digits.
    sha256: String,
    /// How many bytes its text has.
    bytes: u64,
    /// Into how many chunks it is cut.
    chunks: u64,
    /// The model of its chunks' vectors; none, when it is found by its words alone.
    embedding_model: Option<String>,
    /// How many tokens were read to make them.
    embedding_tokens: u64,
    created_by: String,
    created_at: String,
}

impl From<&Document> for DocumentView {
    fn from(document: &Document) -> Self {
        Self {
            id: document.id.to_string(),
            collection: document.collection.to_string(),
            title: document.title.clone(),
            source: document.source.clone(),
            media_type: document.media_type.as_str(),
            sha256: document.sha256.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            }),
            bytes: document.bytes,
            chunks: document.chunks,
            embedding_model: document.model.clone(),
            embedding_tokens: document.tokens,
            created_by: document.created_by.to_string(),
            created_at: instant(document.created_at),
        }
    }
}

pub(super) fn document_reply(document: &Document) -> Reply<DocumentView> {
    let location = format!("/v1/collections/{}/documents/{}", document.collection, document.id);
    Reply::created(location, DocumentView::from(document))
}

/// A page of documents.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DocumentPage {
    pub(super) items: Vec<DocumentView>,
    /// Where the next page begins; none when this is the last.
    pub(super) next_cursor: Option<String>,
}

/// A document with its text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WholeDocument {
    document: DocumentView,
    /// Its text, as it was taken out of it. The offsets of chunks are bytes of this, in UTF-8.
    text: String,
}

impl WholeDocument {
    pub(super) fn of(document: &Document, chunks: &[Chunk]) -> Self {
        let mut text = String::new();
        for chunk in chunks {
            // A chunk may repeat the end of the one before; and what is blank is in none.
            while text.len() < chunk.range.start {
                text.push('\n');
            }
            text.push_str(chunk.text.get(text.len() - chunk.range.start..).unwrap_or_default());
        }
        Self { document: document.into(), text }
    }
}

/// A chunk that was found.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "SearchHit"))]
pub(super) struct HitView {
    /// How it is cited: the document, and which chunk of it.
    #[salvo(schema(example = "doc_01h455vb4pex5vsknk084sn02q#3"))]
    citation: String,
    document: String,
    title: String,
    source: String,
    /// The headings that it stands under.
    headings: Vec<String>,
    /// At which byte of the document's text it begins.
    start: usize,
    /// Before which it ends.
    end: usize,
    text: String,
    /// How high it stands, by reciprocal rank fusion.
    score: f64,
    /// What it scores by its words (BM25); none, where it is not among the best by these.
    bm25: Option<f64>,
    /// How alike it is to the query, 0 to 1; none, where it is not among the best by this.
    cosine: Option<f32>,
}

impl From<&Hit> for HitView {
    fn from(hit: &Hit) -> Self {
        Self {
            citation: hit.place.to_string(),
            document: hit.place.document.to_string(),
            title: hit.document.title.clone(),
            source: hit.document.source.clone(),
            headings: hit.chunk.headings.clone(),
            start: hit.chunk.range.start,
            end: hit.chunk.range.end,
            text: hit.chunk.text.clone(),
            score: hit.score,
            bm25: hit.bm25,
            cosine: hit.cosine,
        }
    }
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "SearchResult"))]
pub(super) struct FoundView {
    /// The best first.
    items: Vec<HitView>,
    /// Whether it was looked for by words alone: nobody makes vectors, or whoever does did not answer.
    by_words_only: bool,
    /// The model of the vectors; none, when it was looked for by words alone.
    embedding_model: Option<String>,
}

impl From<&Found> for FoundView {
    fn from(found: &Found) -> Self {
        Self {
            items: found.hits.iter().map(Into::into).collect(),
            by_words_only: found.embedder.is_none(),
            embedding_model: found.embedder.clone(),
        }
    }
}
