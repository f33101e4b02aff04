//! The stores of the embedded default, on SQLite.
//!
//! SQLite has one writer: one connection serves every transaction, in turn. That is fast, since a transaction is
//! never held over anything slow, and there is no lock to wait for. SQLite has no row-level security either: every
//! statement of a tenant's transaction filters by the tenant (see `tenant.rs`), and the same contract suites as for
//! PostgreSQL prove it.

mod error;
mod platform;
mod rows;
mod store;
mod tenant;

pub use store::{OpenError, SqliteStore};
