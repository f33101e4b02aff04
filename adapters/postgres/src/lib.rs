//! The stores on PostgreSQL, with row-level security in force.
//!
//! Three roles share the work. The *owner* migrates and does nothing else. The *application* owns nothing and sees the
//! rows of the tenant that its transaction is set to. The *platform* signs in and claims runs across tenants, and has
//! no right to a tenant's content. Start reading at [`PostgresStore`]; [`migrate`] makes schema and roles.

mod begun;
mod due;
mod migrate;
mod plain;
mod platform;
mod queue;
mod safety;
mod store;
mod transaction;
mod vectors;

pub use migrate::{MigrateError, Roles, migrate};
pub use safety::Unsafe;
pub use store::{OpenError, PoolSettings, Pooler, PostgresStore};
pub use vectors::Compared;
