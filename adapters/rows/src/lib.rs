//! The tables as SeaORM entities, and the repositories on them, for whichever database a transaction is on.
//!
//! Only the stores' adapters depend on this crate: they open connections, begin transactions and know their
//! database's dialect where it matters. Start reading at [`Own`], a tenant's transaction; [`platform`] is the other
//! side.

mod audit;
pub mod claimed;
mod error;
pub mod plain;
pub mod platform;
mod pool;
mod rows;
mod tenant;

pub use error::store_error;
pub use pool::observe_pool;
pub use rows::document_chunk::embedding;
pub use tenant::{Own, Transaction};
