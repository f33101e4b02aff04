//! SeaORM's errors as the ports name them.

use powerhouse_ports::store::StoreError;
use sea_orm::{DbErr, SqlErr};

/// An error of a statement. A taken key says which kind of row it was, and nothing more.
pub(crate) fn store_error(entity: &'static str) -> impl FnOnce(DbErr) -> StoreError {
    move |error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => StoreError::Conflict { entity },
        _ => match error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => StoreError::Unavailable(Box::new(error)),
            _ if is_busy(&error) => StoreError::Unavailable(Box::new(error)),
            _ => StoreError::Internal(Box::new(error)),
        },
    }
}

/// Another process holds the file, or the disk is full.
fn is_busy(error: &DbErr) -> bool {
    let text = error.to_string();
    ["database is locked", "database or disk is full", "disk I/O error"]
        .iter()
        .any(|cause| text.contains(cause))
}
