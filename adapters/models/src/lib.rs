//! Providers of language models.
//!
//! [`OpenAiCompatible`] speaks to whatever serves the chat completions API and [`Anthropic`] to the Messages API, both
//! over what providers behind HTTP have in common. [`OfflineModel`] stands in where no model is configured, and
//! [`ScriptedModel`] says what a test tells it to.

mod anthropic;
mod events;
mod flaws;
mod http;
mod offline;
mod openai;
mod opener;
mod retry;
mod scripted;
mod tokens;

pub use anthropic::Anthropic;
pub use http::{ApiKey, Endpoint, EndpointError, HttpProvider, TimeOuts};
pub use offline::{OFFLINE_EMBEDDINGS, OFFLINE_MODEL, OfflineEmbedder, OfflineModel};
pub use openai::OpenAiCompatible;
pub use opener::EgressOpener;
pub use retry::Retries;
pub use scripted::{Scripted, ScriptedModel};
