//! SeaORM's errors as the ports name them.

use powerhouse_ports::store::StoreError;
use sea_orm::sqlx::Error as SqlxError;
use sea_orm::{DbErr, EntityTrait, IdenStatic, Iterable, RuntimeErr, SqlErr};

/// SQLite's primary result codes for what may pass: busy, locked, I/O error, disk full, cannot open.
const PASSING: [i32; 5] = [5, 6, 10, 13, 14];

/// PostgreSQL's codes have five characters, SQLite's fewer.
const SQLSTATE_LENGTH: usize = 5;
/// PostgreSQL's codes, or classes of them, for what may pass: connection, transaction rolled back (deadlock), resources,
/// an object in use (lock time-out), the operator's intervention (shutdown, statement time-out), the system.
const PASSING_STATES: [&str; 6] = ["08", "40", "53", "55", "57", "58"];

/// An error of a statement. A taken key, or a missing row that is referred to, says which kind of row was to be
/// written, and nothing more.
pub fn store_error(entity: &'static str) -> impl FnOnce(DbErr) -> StoreError {
    move |error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_) | SqlErr::ForeignKeyConstraintViolation(_)) => {
            StoreError::Conflict { entity }
        }
        _ if may_pass(&error) => {
            metrics::counter!("powerhouse_database_unavailable_total").increment(1);
            StoreError::Unavailable(Box::new(error))
        }
        _ => StoreError::Internal(Box::new(error)),
    }
}

/// An error of a statement that reads rows of `E`: as above, and a value of another type names table and column.
pub(crate) fn read_error<E: EntityTrait>(entity: &'static str) -> impl FnOnce(DbErr) -> StoreError {
    move |error| undecodable::<E>(&error, "").unwrap_or_else(|| store_error(entity)(error))
}

/// The same of a statement that reads rows of `E`, each with one of `F`.
pub(crate) fn read_both_error<E: EntityTrait, F: EntityTrait>(
    entity: &'static str,
) -> impl FnOnce(DbErr) -> StoreError {
    move |error| {
        // As `SeaORM` calls the columns of either.
        let undecodable = undecodable::<E>(&error, "A_").or_else(|| undecodable::<F>(&error, "B_"));
        undecodable.unwrap_or_else(|| store_error(entity)(error))
    }
}

fn undecodable<E: EntityTrait>(error: &DbErr, prefix: &str) -> Option<StoreError> {
    let SqlxError::ColumnDecode { index, .. } = driver_error(error)? else { return None };
    let named = index.trim_matches('"').strip_prefix(prefix)?;
    let column = E::Column::iter().map(|column| column.as_str()).find(|name| *name == named)?;
    Some(StoreError::CorruptRow { table: E::default().table_name(), column })
}

fn driver_error(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// Whether a statement has waited for another transaction for longer than it may.
pub(crate) fn is_lock_timeout(error: &DbErr) -> bool {
    matches!(driver_error(error), Some(SqlxError::Database(error)) if error.code().as_deref() == Some("55P03"))
}

fn may_pass(error: &DbErr) -> bool {
    if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) {
        return true;
    }
    match driver_error(error) {
        Some(SqlxError::Database(error)) => {
            let code = error.code().unwrap_or_default();
            if code.len() == SQLSTATE_LENGTH {
                return PASSING_STATES.iter().any(|class| code.starts_with(class));
            }
            // Codes come extended: the primary one is in the lowest byte.
            code.parse::<i32>().is_ok_and(|code| PASSING.contains(&(code & 0xff)))
        }
        Some(
            SqlxError::Io(_) | SqlxError::PoolTimedOut | SqlxError::PoolClosed | SqlxError::WorkerCrashed,
        ) => true,
        _ => false,
    }
}
