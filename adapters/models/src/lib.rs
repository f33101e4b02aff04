//! Providers of language models.
//!
//! [`OpenAiCompatible`] speaks to whatever serves the chat completions API, [`OfflineModel`] stands in where no
//! model is configured, and [`ScriptedModel`] says what a test tells it to.

mod offline;
mod openai;
mod scripted;
mod tokens;

pub use offline::{OFFLINE_MODEL, OfflineModel};
pub use openai::{ApiKey, Endpoint, EndpointError, OpenAiCompatible, Retries, TimeOuts};
pub use scripted::{Scripted, ScriptedModel};
