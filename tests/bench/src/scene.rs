//! What reads are measured on: many tenants with many agents, and callers who have signed in.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};
use sqlx::Row as _;
use uuid::Uuid;

use crate::http::Connection;
use crate::read::Caller;
use crate::site::{PASSWORD, Site, say};

/// Tenants whose owners sign in. Each may ask a hundred times a second, so that no limit is met.
const CALLERS: i64 = 200;
const EMAIL: &str = "owner@example.org";

/// 1,000 tenants with 1,000 agents each. Everybody has the password of who has signed up.
const SEED: &str = r#"
    INSERT INTO tenants SELECT gen_random_uuid(), 'tenant-' || n, 'Tenant ' || n, 'enterprise', 'active', NULL, NULL, 1,
        now(), now() FROM generate_series(2, 1000) n;
    INSERT INTO users (tenant_id, id, email, display_name, password_hash, role, joined_at, version, created_at,
                       updated_at)
        SELECT tenants.id, gen_random_uuid(), email, display_name, password_hash, role, now(), 1, now(), now()
        FROM tenants, users WHERE slug <> 'tenant-1';
    INSERT INTO agents SELECT tenants.id, gen_random_uuid(), 'agent-' || n, NULL, 1, NULL, 1, now()
        FROM tenants, generate_series(1, 1000) n;
    INSERT INTO agent_versions SELECT tenant_id, id, 1, '{"kind": "react", "parameters": {},
        "description": "Answers questions about invoices, orders and deliveries.",
        "instructions": "You work in the accounts department. Be brief, and name the documents that you went by.",
        "model": null, "tools": ["calculator", "json_query"], "capabilities": ["accounting"],
        "examples": ["What do we owe Acme?", "Which orders of May are not delivered?"],
        "limits": {"steps": 20, "tokens": 50000, "cost_micros": 0, "wall_clock_ms": 300000}}', now() FROM agents
        WHERE name LIKE 'agent-%';"#;

/// Everything that is there for a measurement of reads.
pub(crate) struct Scene {
    pub(crate) site: Site,
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    pub(crate) callers: Arc<[Caller]>,
}

impl Scene {
    /// Makes the database, starts the server and signs the callers in.
    pub(crate) async fn set() -> anyhow::Result<Self> {
        let mut site = Site::make(&[("MODEL__PROVIDER", "offline")]).await?;
        let address = site.serve(&[])?;
        say("seeding 1,000 tenants with 1,000 agents each")?;
        let mut http = Connection::open(address).await?;
        let owner = json!({"email": EMAIL, "display_name": "Owner", "password": PASSWORD});
        http.post("/v1/tenants", None, &json!({"slug": "tenant-1", "name": "Tenant 1", "owner": owner}))
            .await?;
        site.run(SEED).await?;
        site.run("VACUUM (FREEZE, ANALYZE)").await?;
        say("signing in")?;
        // The server does not keep a connection that is idle for as long as that took.
        let mut http = Connection::open(address).await?;
        let mut db = site.connect().await?;
        let mut callers = Vec::new();
        let tenants = sqlx::query("SELECT id, slug FROM tenants ORDER BY id LIMIT $1").bind(CALLERS);
        for row in tenants.fetch_all(&mut db).await? {
            let (tenant, slug): (Uuid, String) = (row.try_get(0)?, row.try_get(1)?);
            let agents = sqlx::query_scalar("SELECT id FROM agents WHERE tenant_id = $1").bind(tenant);
            let agents = agents.fetch_all(&mut db).await?;
            let session = json!({"tenant": slug, "email": EMAIL, "password": PASSWORD});
            let session: Value = serde_json::from_str(&http.post("/v1/sessions", None, &session).await?)?;
            let token = session["access_token"].as_str().context("no access token")?.to_owned();
            callers.push(Caller { tenant, token, agents });
        }
        Ok(Self { site, address, callers: callers.into() })
    }
}
