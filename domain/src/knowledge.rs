//! Knowledge: collections of documents, cut into chunks that are found by their words and by what they mean.
//!
//! Start reading at [`Indexed::of`], which makes of a document's text what is stored, and at [`rank`], which orders what was
//! found.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::access::named_enum;
use crate::ids::{DocumentId, UserId};

mod chunking;
mod index;
mod words;

pub use chunking::{Chunk, Heading, MAX_CHUNK, MAX_OVERLAP, chunks};
pub use index::{Indexed, MAX_DISTINCT_WORDS};
pub use words::{MAX_QUERY_WORDS, Occurrence, Posting, query_words, rank};

/// The most collections of a tenant.
pub const MAX_COLLECTIONS: usize = 50;
/// The most documents of a collection.
pub const MAX_DOCUMENTS: u64 = 10_000;
/// The most chunks of all of a tenant's documents: whoever searches compares each with what is looked for.
pub const MAX_CHUNKS: u64 = 20_000;
/// The most bytes of a document as it is put, unless it is PDF, and of its text.
pub const MAX_CONTENT: usize = 1024 * 1024;
/// The most bytes of a PDF, which has its fonts and pictures with it.
pub const MAX_PDF: usize = 4 * 1024 * 1024;
/// The most characters of a document's title, and of its source.
pub const MAX_TITLE: usize = 200;
/// The most characters of what is looked for.
pub const MAX_QUERY: usize = 2_000;
/// The most chunks that one search gives.
pub const MAX_HITS: u32 = 20;
/// The most characters of a collection's name.
const MAX_NAME: usize = 63;
/// The most characters of what is said of a collection.
const MAX_DESCRIPTION: usize = 1_000;

/// What a collection is called within its tenant: `[a-z][a-z0-9_-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionName(String);

/// A text that is not a collection's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a collection's name is 1 to {MAX_NAME} lower-case letters, digits, `-` and `_`, and starts with a letter"
)]
pub struct InvalidCollectionName;

impl FromStr for CollectionName {
    type Err = InvalidCollectionName;

    fn from_str(text: &str) -> Result<Self, InvalidCollectionName> {
        let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let is_name = (1..=MAX_NAME).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(is_inner);
        if is_name { Ok(Self(text.into())) } else { Err(InvalidCollectionName) }
    }
}

impl CollectionName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

named_enum! {
    /// What a document is written in.
    MediaType as "media type" {
        /// Text as it is.
        Plain = "text/plain",
        /// Markdown (`CommonMark`, with tables).
        Markdown = "text/markdown",
        /// HTML.
        Html = "text/html",
        /// PDF: bytes, not text.
        Pdf = "application/pdf",
    }
}

/// Why a document or a collection was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadDocument {
    /// JSON Pointer (RFC 6901) to what is wrong.
    pub pointer: &'static str,
    /// The rule.
    pub reason: String,
}

impl BadDocument {
    pub(crate) fn new(pointer: &'static str, reason: impl Into<String>) -> Self {
        Self { pointer, reason: reason.into() }
    }
}

fn within(pointer: &'static str, text: &str, least: usize, most: usize) -> Result<(), BadDocument> {
    let is_within = text.trim().chars().count() >= least && text.chars().nth(most).is_none();
    let reason = || format!("has {least} to {most} characters");
    if is_within { Ok(()) } else { Err(BadDocument::new(pointer, reason())) }
}

/// A collection of documents, and how much is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its name.
    pub name: CollectionName,
    /// What is in it, for people and for agents.
    pub description: String,
    /// How many documents.
    pub documents: u64,
    /// Into how many chunks they are cut.
    pub chunks: u64,
    /// How many words these have together, as they are looked for.
    pub words: u64,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl Collection {
    /// An empty collection.
    pub fn new(
        name: CollectionName,
        description: String,
        created_by: UserId,
        now: DateTime<Utc>,
    ) -> Result<Self, BadDocument> {
        within("/description", &description, 0, MAX_DESCRIPTION)?;
        Ok(Self { name, description, documents: 0, chunks: 0, words: 0, created_by, created_at: now })
    }
}

/// The SHA-256 of a document as it was put.
pub type ContentHash = [u8; 32];

/// A document as somebody puts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDocument {
    /// What it is called; as it calls itself, when empty.
    pub title: String,
    /// Where it is from, such as its URL; may be empty.
    pub source: String,
    /// What it is written in.
    pub media_type: MediaType,
    /// The document: UTF-8, unless it is PDF.
    pub content: Vec<u8>,
}

impl NewDocument {
    /// Whether it is within the bounds.
    pub fn check(&self) -> Result<(), BadDocument> {
        within("/title", &self.title, 0, MAX_TITLE)?;
        within("/source", &self.source, 0, MAX_TITLE * 10)?;
        let most = if self.media_type == MediaType::Pdf { MAX_PDF } else { MAX_CONTENT };
        if self.content.len() > most {
            return Err(BadDocument::new("/content", format!("has at most {most} bytes")));
        }
        if self.content.trim_ascii().is_empty() {
            return Err(BadDocument::new("/content", "is empty"));
        }
        Ok(())
    }

    /// Its hash.
    pub fn hash(&self) -> ContentHash {
        Sha256::digest(&self.content).into()
    }
}

/// The text of a document, taken out of what it is written in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// What it calls itself.
    pub title: Option<String>,
    /// The text: lines without white space at their ends, and no two empty lines after each other.
    pub text: String,
    /// Its headings, in their order.
    pub headings: Vec<Heading>,
}

/// All that is told of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// The collection that it is in.
    pub collection: CollectionName,
    /// What it is called.
    pub title: String,
    /// Where it is from.
    pub source: String,
    /// What it was written in.
    pub media_type: MediaType,
    /// The hash of what was put.
    pub sha256: ContentHash,
    /// How many bytes its text has.
    pub bytes: u64,
    /// Into how many chunks it is cut.
    pub chunks: u64,
    /// How many words these have, as they are looked for.
    pub words: u64,
    /// The model of its chunks' vectors; nothing, when they have none.
    pub model: Option<String>,
    /// How many tokens were read to make these.
    pub tokens: u64,
    /// Who put it.
    pub created_by: UserId,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Where a chunk is: in which collection and document, and which of the chunks it is, from 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The collection.
    pub collection: CollectionName,
    /// The document.
    pub document: DocumentId,
    /// Which chunk.
    pub ordinal: u32,
}

/// How a chunk is cited: `doc_…#3`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.document, self.ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_plain_and_begins_with_a_letter() {
        for good in ["a", "handbook", "hr_2-x", &"x".repeat(63)] {
            assert_eq!(good.parse::<CollectionName>().unwrap().as_str(), good);
        }
        for bad in ["", "2a", "-a", "A", "a b", "a.b", "é", "a/b", &"x".repeat(64)] {
            assert_eq!(bad.parse::<CollectionName>(), Err(InvalidCollectionName), "{bad}");
        }
    }

    #[test]
    fn a_document_is_bounded_and_not_empty() {
        let document = |title: &str, content: String| NewDocument {
            title: title.into(),
            source: String::new(),
            media_type: MediaType::Plain,
            content: content.into_bytes(),
        };
        let pdf = |length| NewDocument {
            media_type: MediaType::Pdf,
            content: vec![b'x'; length],
            ..document("", String::new())
        };
        assert_eq!(document("", "x".repeat(MAX_CONTENT)).check(), Ok(()));
        assert_eq!(pdf(MAX_PDF).check(), Ok(()));
        for (bad, pointer) in [
            (pdf(MAX_PDF + 1), "/content"),
            (document("", "x".repeat(MAX_CONTENT + 1)), "/content"),
            (document("", " \n".into()), "/content"),
            (document(&"é".repeat(MAX_TITLE + 1), "x".into()), "/title"),
        ] {
            assert_eq!(bad.check().unwrap_err().pointer, pointer);
        }
    }
}
