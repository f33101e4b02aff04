//! Documents: the text in what they are written in.

use async_trait::async_trait;
use powerhouse_domain::knowledge::{Extracted, MediaType};

/// A document that could not be read. What is merely broken is read as far as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text could not be taken out of the document")]
pub struct ExtractFailed;

/// Takes the text out of documents.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait TextExtractor: Send + Sync {
    /// The text of a document of at most [`MAX_CONTENT`](powerhouse_domain::knowledge::MAX_CONTENT) bytes. Takes time in
    /// proportion to these, and fetches nothing.
    async fn extract(&self, media_type: MediaType, content: String) -> Result<Extracted, ExtractFailed>;
}
