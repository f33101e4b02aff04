//! A transaction that is rolled back however it is left, also when its beginning is given up half way.
//!
//! sqlx counts a transaction from the moment its beginning was answered. A caller who went away before that leaves a
//! connection that is in one, and the next would get it as it is: read only, say, and with a view of the past.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, Executor as _, PgConnection, PgPool, Postgres};

/// A connection that has not answered a rollback by then is closed.
const ROLLBACK: Duration = Duration::from_secs(5);

/// A connection in a transaction. Nothing else uses it before its rollback, or its commit, was answered.
pub(crate) struct Begun {
    /// Gone once it was committed.
    connection: Option<PoolConnection<Postgres>>,
}

impl Begun {
    /// Begins by `opening`, in one round trip.
    pub(crate) async fn by(pool: &PgPool, opening: String) -> Result<Self, sqlx::Error> {
        // INVARIANT: from here on the connection is in the guard, whatever becomes of this future.
        let mut begun = Self { connection: Some(pool.acquire().await?) };
        begun.execute(AssertSqlSafe(opening)).await?;
        Ok(begun)
    }

    /// Makes the changes last.
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.execute("COMMIT").await?;
        drop(self.connection.take());
        Ok(())
    }
}

impl Deref for Begun {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("only a commit, which consumes this, takes the connection")
    }
}

impl DerefMut for Begun {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("only a commit, which consumes this, takes the connection")
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
