//! The same queries by the bare driver: what the server could do at best if all else were free.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use url::Url;
use uuid::Uuid;

use crate::read::Read;

/// What the server reads of an agent, with the version that runs use.
macro_rules! agents {
    ($rest:literal) => {
        concat!(
            "SELECT a.tenant_id, a.id, a.name, a.draft, a.current_version, a.archived_at, a.revision, a.created_at, \
             v.tenant_id, v.agent_id, v.number, v.definition, v.published_at \
             FROM agents a LEFT JOIN agent_versions v \
             ON v.tenant_id = a.tenant_id AND v.agent_id = a.id AND v.number = a.current_version \
             WHERE a.tenant_id = $1 ",
            $rest
        )
    };
}
const ONE: &str = agents!("AND a.id = $2");
const PAGE: &str = agents!("ORDER BY a.id LIMIT 21");

/// One connection, always in use.
pub(crate) struct Driver(PgConnection);

impl Driver {
    pub(crate) async fn open(url: &Url) -> anyhow::Result<Self> {
        Ok(Self(PgConnection::connect(url.as_str()).await?))
    }

    /// Under row-level security, in two round trips: the rollback goes with the next transaction's beginning.
    pub(crate) async fn read_as_tenant(
        &mut self,
        tenant: Uuid,
        read: Read,
        agent: Uuid,
    ) -> anyhow::Result<()> {
        let opening = AssertSqlSafe(format!("BEGIN READ ONLY; SET LOCAL app.tenant_id = '{tenant}'"));
        let mut tx = self.0.begin_with(opening).await?;
        query(&mut tx, tenant, read, agent).await
    }

    /// As a role that row-level security does not bind, in one round trip.
    pub(crate) async fn read(&mut self, tenant: Uuid, read: Read, agent: Uuid) -> anyhow::Result<()> {
        query(&mut self.0, tenant, read, agent).await
    }
}

async fn query(connection: &mut PgConnection, tenant: Uuid, read: Read, agent: Uuid) -> anyhow::Result<()> {
    let rows = match read {
        Read::One => sqlx::query(ONE).bind(tenant).bind(agent).fetch_all(connection).await?.len(),
        Read::Page => sqlx::query(PAGE).bind(tenant).fetch_all(connection).await?.len(),
    };
    let expected = if read == Read::One { 1 } else { 21 };
    anyhow::ensure!(rows == expected, "{rows} rows");
    Ok(())
}
