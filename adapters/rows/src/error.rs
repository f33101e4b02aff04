//! SeaORM's errors as the ports name them.

use powerhouse_ports::store::StoreError;
use sea_orm::sqlx::Error as SqlxError;
use sea_orm::{DbErr, EntityTrait, IdenStatic, Iterable, RuntimeErr, SqlErr};

/// SQLite's primary result codes for what may pass: busy, locked, I/O error, disk full, cannot open.
const PASSING: [i32; 5] = [5, 6, 10, 13, 14];

/// An error of a statement. A taken key, or a missing row that is referred to, says which kind of row was to be
/// written, and nothing more.
pub fn store_error(entity: &'static str) -> impl FnOnce(DbErr) -> StoreError {
    move |error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_) | SqlErr::ForeignKeyConstraintViolation(_)) => {
            StoreError::Conflict { entity }
        }
        _ if may_pass(&error) => StoreError::Unavailable(Box::new(error)),
        _ => StoreError::Internal(Box::new(error)),
    }
}

/// An error of a statement that reads rows of `E`: as above, and a value of another type names table and column.
pub(crate) fn read_error<E: EntityTrait>(entity: &'static str) -> impl FnOnce(DbErr) -> StoreError {
    move |error| match undecodable::<E>(&error) {
        Some(column) => StoreError::CorruptRow { table: E::default().table_name(), column },
        None => store_error(entity)(error),
    }
}

fn undecodable<E: EntityTrait>(error: &DbErr) -> Option<&'static str> {
    let SqlxError::ColumnDecode { index, .. } = driver_error(error)? else { return None };
    E::Column::iter().map(|column| column.as_str()).find(|name| index.trim_matches('"') == *name)
}

fn driver_error(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

fn may_pass(error: &DbErr) -> bool {
    if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) {
        return true;
    }
    match driver_error(error) {
        Some(SqlxError::Database(error)) => {
            // Codes come extended: the primary one is in the lowest byte.
            let code = error.code().and_then(|code| code.parse::<i32>().ok());
            code.is_some_and(|code| PASSING.contains(&(code & 0xff)))
        }
        Some(
            SqlxError::Io(_) | SqlxError::PoolTimedOut | SqlxError::PoolClosed | SqlxError::WorkerCrashed,
        ) => true,
        _ => false,
    }
}
