//! The stores of the embedded default, on SQLite.
//!
//! SQLite has one writer: one connection serves every transaction that may write, in turn. That is fast, since a
//! transaction is never held over anything slow, and there is no lock to wait for. What only reads has connections of
//! its own, and waits for no writer. SQLite has no row-level security either: every statement of a tenant's transaction
//! filters by the tenant (see `powerhouse_rows::Own`), and the same contract suites as for PostgreSQL prove it.

mod due;
mod platform;
mod queue;
mod store;
#[cfg(test)]
mod tests;

pub use store::{OpenError, SqliteStore};
