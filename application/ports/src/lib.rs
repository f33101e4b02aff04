//! The driven ports: what the application asks of the outside world, and nothing about how it is done.
//!
//! Every trait is object safe and held as `Arc<dyn Port>` (ADR 0004). A change here needs an ADR in the same
//! change. With the feature `mock`, each port has a `mockall` double for injecting failures.
//! Start reading at [`store`], the only way to a tenant's data.

pub mod cache;
mod chain;
pub mod clock;
pub mod crypto;
pub mod documents;
pub mod embeddings;
pub mod events;
pub mod limits;
pub mod models;
pub mod platform;
pub mod request;
pub mod secrets;
pub mod store;
pub mod tokens;
pub mod tools;
pub mod webhooks;

pub use chain::Chain;
