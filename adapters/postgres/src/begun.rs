//! A transaction that begins with its first statement, and is rolled back however it is left, also when its beginning is
//! given up half way.
//!
//! sqlx counts a transaction from the moment its beginning was answered. A caller who went away before that leaves a
//! connection that is in one, and the next would get it as it is: read only, say, and with a view of the past.

use std::time::Duration;

use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, Executor as _, PgConnection, PgPool, Postgres};

/// A connection that has not answered a rollback by then is closed.
const ROLLBACK: Duration = Duration::from_secs(5);

/// What a statement can be sent on.
pub(crate) trait Connect: Send {
    /// The connection, ready for the next statement.
    fn connection(&mut self) -> impl Future<Output = Result<&mut PgConnection, sqlx::Error>> + Send;
}

/// A transaction. Nothing else uses its connection before its rollback, or its commit, was answered.
pub(crate) struct Begun {
    pool: PgPool,
    /// How it begins.
    opening: String,
    /// None before its first statement, and after its commit.
    connection: Option<PoolConnection<Postgres>>,
    is_open: bool,
}

impl Begun {
    /// One that begins by `opening`, when it is first used: whoever asks nothing pays no round trip.
    pub(crate) const fn by(pool: PgPool, opening: String) -> Self {
        Self { pool, opening, connection: None, is_open: false }
    }

    /// Makes the changes last.
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        if self.connection.is_some() {
            self.connection().await?.execute("COMMIT").await?;
            drop(self.connection.take());
        }
        Ok(())
    }
}

impl Connect for Begun {
    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let Self { pool, opening, connection, is_open } = self;
        let connection = match connection {
            // Its beginning was given up: it may be in a transaction or not, and of a tenant or not.
            Some(_) if !*is_open => return Err(sqlx::Error::Io(std::io::ErrorKind::NotConnected.into())),
            Some(connection) => connection,
            // INVARIANT: from here on the connection is in the guard, whatever becomes of this future.
            None => connection.insert(pool.acquire().await?),
        };
        if !*is_open {
            connection.execute(AssertSqlSafe(opening.as_str())).await?;
            *is_open = true;
        }
        Ok(connection)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            connection.close_on_drop();
            return;
        };
        // Nobody waits for it.
        runtime.spawn(async move {
            let rolled_back = tokio::time::timeout(ROLLBACK, connection.execute("ROLLBACK")).await;
            if !matches!(rolled_back, Ok(Ok(_))) {
                connection.close_on_drop();
            }
        });
    }
}
