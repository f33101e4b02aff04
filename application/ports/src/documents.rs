//! Documents: the text in what they are written in.

use async_trait::async_trait;
use powerhouse_domain::knowledge::{Extracted, MediaType};

/// Why there is no text of a document. What is merely broken is read as far as it goes.
#[derive(Debug, thiserror::Error)]
pub enum ExtractFailed {
    /// It cannot be read, or takes more time or memory than a document may.
    #[error("the document cannot be read")]
    Unreadable,
    /// It opens with a password only.
    #[error("the document is encrypted")]
    Encrypted,
    /// It shows pictures, or letters of which it does not say which they are.
    #[error("the document has no text")]
    Wordless,
    /// Its text has more than [`MAX_CONTENT`](powerhouse_domain::knowledge::MAX_CONTENT) bytes.
    #[error("the document has too much text")]
    TooLong,
    /// Too many are being read.
    #[error("too many documents are being read")]
    Busy,
    /// Whatever reads it is not there.
    #[error("documents of this kind cannot be read here")]
    NoReader(#[source] std::io::Error),
}

/// Takes the text out of documents.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait TextExtractor: Send + Sync {
    /// The text of a document that passed [`check`](powerhouse_domain::knowledge::NewDocument::check). Takes bounded time and
    /// memory, whatever the document is, and fetches nothing.
    async fn extract(&self, media_type: MediaType, content: Vec<u8>) -> Result<Extracted, ExtractFailed>;
}
