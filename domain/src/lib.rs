//! The domain of Powerhouse: tenants, users, agents, runs, and the strategies that agents follow.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time and ids come in as values.
//! Start reading at [`effects`], which explains how a strategy can be a plain `async fn` and still survive a crash.

pub mod access;
pub mod agents;
pub mod audit;
pub mod breaker;
pub mod catalogue;
pub mod effects;
pub mod idempotency;
pub mod ids;
pub mod knowledge;
pub mod masking;
pub mod memory;
pub mod model;
pub mod money;
pub mod retrieval;
pub mod runs;
pub mod schedules;
pub mod secrets;
pub mod selection;
pub mod strategies;
pub mod tenants;
pub mod threads;
pub mod tools;
pub mod users;
pub mod webhooks;
