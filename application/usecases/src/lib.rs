//! What the product does. Each use case is a concrete struct that holds the ports it uses, with one method.
//!
//! Start reading at [`runs::SubmitRun`] for how a task is accepted, and at [`runner::Worker`] for how it is done.

pub mod agents;
pub mod approvals;
pub mod audit;
mod audited;
pub mod catalogue;
mod embedding;
pub mod knowledge;
mod measure;
pub mod memories;
pub mod models;
pub mod money;
mod once;
mod refused;
pub mod runner;
pub mod runs;
pub mod schedules;
pub mod secrets;
pub mod selection;
pub mod sessions;
pub mod tenants;
pub mod threads;
pub mod tools;
pub mod users;
pub mod webhooks;

pub use embedding::Embedding;
pub use once::{Answer, Keeper, Keyed, Once};
pub use refused::{Refused, permit};
