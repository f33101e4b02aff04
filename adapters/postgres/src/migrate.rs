//! Schema and roles, made by the owner. Replicas that start together migrate once.

use std::fmt::Write as _;
use std::time::Duration;

use powerhouse_migrations::{Migrator, MigratorTrait as _};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr};
use zeroize::Zeroizing;

use crate::vectors::{self, Compared};

/// Held while migrating.
const LOCK: i64 = 7_203_114;

/// How often a role is tried to be made, and the pause between.
const MAX_TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// A role that serves: its name and, where the owner may set it, its password.
#[derive(Clone)]
struct Role {
    name: String,
    password: Option<Zeroizing<String>>,
}

/// The roles that serve. They are made if they are not there.
#[derive(Clone)]
pub struct Roles {
    /// Sees the rows of one tenant at a time.
    application: Role,
    /// Signs in and claims runs, across tenants.
    platform: Role,
}

impl Roles {
    /// Roles with these names and passwords; without a password, a role that exists keeps its own.
    pub fn new(
        application: (&str, Option<Zeroizing<String>>),
        platform: (&str, Option<Zeroizing<String>>),
    ) -> Self {
        let role =
            |(name, password): (&str, Option<Zeroizing<String>>)| Role { name: name.to_owned(), password };
        Self { application: role(application), platform: role(platform) }
    }
}

/// The database could not be migrated.
#[derive(Debug, thiserror::Error)]
#[error("the database could not be migrated")]
pub struct MigrateError(#[source] DbErr);

/// Brings the schema up to date, and gives the roles what they need and no more. Says who compares vectors from now on.
pub async fn migrate(owner: &str, roles: &Roles) -> Result<Compared, MigrateError> {
    let mut options = ConnectOptions::new(owner);
    // One connection: the lock belongs to it.
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await.map_err(MigrateError)?;
    let done = locked(&db, roles).await;
    // The lock goes with the connection.
    db.close().await.map_err(MigrateError)?;
    done.map_err(MigrateError)
}

async fn locked(db: &DatabaseConnection, roles: &Roles) -> Result<Compared, DbErr> {
    db.execute_unprepared(&format!("SELECT pg_advisory_lock({LOCK})")).await?;
    Migrator::up(db, None).await?;
    let keeper = format!("{}_partitions", roles.platform.name);
    make(db, &may_sign_in(&roles.application)).await?;
    make(db, &may_sign_in(&roles.platform)).await?;
    make(db, &owns_partitions(&keeper)).await?;
    db.execute_unprepared(&grants(&roles.application.name, &roles.platform.name, &keeper)).await?;
    vectors::ensure(db).await
}

/// Roles belong to all databases of a server, and the lock to one: another database may be migrated right now.
async fn make(db: &DatabaseConnection, sql: &str) -> Result<(), DbErr> {
    let mut tries = 1;
    while let Err(error) = db.execute_unprepared(sql).await {
        if tries == MAX_TRIES || !error.to_string().contains("tuple concurrently updated") {
            return Err(error);
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Makes a role that has nothing.
fn made(name: &str, attribute: &str) -> String {
    let (name, literal) = (identifier(name), literal(name));
    format!(
        "DO $made$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal}) THEN
                CREATE ROLE {name} {attribute};
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $made$;"
    )
}

/// A role that serves.
fn may_sign_in(role: &Role) -> String {
    let mut sql = made(&role.name, "LOGIN");
    if let Some(password) = &role.password {
        let _ = write!(sql, " ALTER ROLE {} PASSWORD {};", identifier(&role.name), literal(password));
    }
    sql
}

/// A role that nobody signs in as: it owns what is kept by month, so that the functions which add and drop months run with
/// no more rights than they need (S05). The owner of the rest is a member, and may change those tables in a migration.
fn owns_partitions(name: &str) -> String {
    let (made, literal, name) = (made(name, "NOLOGIN"), literal(name), identifier(name));
    format!(
        "{made}
        DO $member$ BEGIN
            -- As of version 16, who makes a role is a member, and may still not become it.
            IF NOT pg_has_role(current_user, {literal}, CASE WHEN current_setting('server_version_num')::int < 160000
                THEN 'MEMBER' ELSE 'SET' END) THEN GRANT {name} TO CURRENT_USER; END IF;
        END $member$;"
    )
}

/// What each role may do. The platform's policies let it see rows of every tenant, and its grants which columns.
fn grants(application: &str, platform: &str, keeper: &str) -> String {
    let keeper_literal = literal(keeper);
    let (application, platform, keeper) = (identifier(application), identifier(platform), identifier(keeper));
    let mut sql = format!(
        "GRANT USAGE ON SCHEMA public TO {application}, {platform}, {keeper};
        REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {application}, {platform};
        GRANT SELECT, UPDATE ON tenants TO {application};
        GRANT SELECT, INSERT, UPDATE, DELETE ON users TO {application};
        GRANT SELECT, INSERT, UPDATE ON agents, runs, run_feedback, approvals TO {application};
        GRANT SELECT, INSERT ON agent_versions, run_events TO {application};
        GRANT SELECT, INSERT, UPDATE, DELETE ON schedules, webhooks, secrets, tools, model_providers, memories,
            threads, collections TO {application};
        GRANT SELECT, INSERT, DELETE ON documents, document_chunks, document_words TO {application};
        GRANT SELECT, INSERT ON data_keys TO {application};
        GRANT SELECT, UPDATE (master, wrapped) ON data_keys TO {platform};
        GRANT SELECT, INSERT, UPDATE ON webhook_deliveries TO {application};
        GRANT SELECT, INSERT, DELETE ON prices TO {application};
        GRANT SELECT, INSERT, UPDATE, DELETE ON budgets TO {application};
        GRANT SELECT, INSERT, UPDATE ON budget_windows, usage, idempotency_keys, approval_rules, selectors, egress_rules,
            masking_rules TO {application};
        REVOKE ALL ON FUNCTION record_work, add_usage, read_claimed, claim_runs FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION record_work, add_usage, read_claimed TO {application};
        GRANT EXECUTE ON FUNCTION claim_runs TO {platform};
        GRANT SELECT, INSERT ON audit_records TO {application};
        GRANT INSERT ON audit_records TO {platform};
        GRANT SELECT, INSERT, UPDATE ON audit_heads TO {application}, {platform};
        GRANT SELECT, INSERT ON tenants, users TO {platform};
        GRANT SELECT, INSERT, UPDATE ON sessions, queue_turns TO {platform};
        GRANT DELETE ON sessions, runs TO {platform};
        GRANT SELECT, INSERT ON refresh_digests TO {platform};
        GRANT SELECT (ctid, tenant_id, id, agent_id, status, rank, due_at, agent_limit, fencing_token, progress_token,
                      lease_expires_at, created_at),
              UPDATE (fencing_token, progress_token, lease_expires_at, due_at) ON runs TO {platform};
        GRANT SELECT (tenant_id, id, next_at, claimed_until), UPDATE (claimed_until) ON schedules TO {platform};
        GRANT SELECT (tenant_id, webhook_id, id, attempts, next_at, ended_at), UPDATE (attempts, next_at)
            ON webhook_deliveries TO {platform};
        GRANT DELETE ON webhook_deliveries, idempotency_keys TO {platform};
        GRANT SELECT (tenant_id, user_id, key_hash, expires_at) ON idempotency_keys TO {platform};
        GRANT CREATE ON SCHEMA public TO {keeper};
        GRANT SELECT (id, status), REFERENCES ON runs TO {keeper};
        GRANT REFERENCES ON tenants TO {keeper};
        DROP POLICY IF EXISTS partitions_access ON runs;
        CREATE POLICY partitions_access ON runs FOR SELECT TO {keeper} USING (true);
        DO $owned$ DECLARE part regclass; BEGIN
            FOR part IN
                SELECT relid FROM unnest(ARRAY['run_events', 'usage', 'audit_records']::regclass[]) AS whole,
                    pg_partition_tree(whole)
            LOOP
                EXECUTE format('ALTER TABLE %s OWNER TO %I', part, {keeper_literal});
            END LOOP;
        END $owned$;"
    );
    for table in ["run_events_default", "usage", "usage_default", "audit_records", "audit_records_default"] {
        let _ = write!(
            sql,
            "DROP POLICY IF EXISTS partitions_access ON {table};
            CREATE POLICY partitions_access ON {table} TO {keeper} USING (true);"
        );
    }
    for function in ["add_run_event_months", "drop_run_event_months", "add_months", "purge_months"] {
        let _ = write!(
            sql,
            "ALTER FUNCTION {function} OWNER TO {keeper};
            ALTER FUNCTION {function} SECURITY DEFINER;
            GRANT EXECUTE ON FUNCTION {function} TO {platform};"
        );
    }
    for table in [
        "tenants",
        "users",
        "sessions",
        "refresh_digests",
        "runs",
        "queue_turns",
        "schedules",
        "webhook_deliveries",
        "idempotency_keys",
        "data_keys",
        "audit_heads",
        "audit_records",
    ] {
        let _ = write!(
            sql,
            "DROP POLICY IF EXISTS platform_access ON {table};
            CREATE POLICY platform_access ON {table} TO {platform} USING (true) WITH CHECK (true);"
        );
    }
    sql
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quoted so that neither a quote nor a backslash ends it, whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_cannot_end_their_quotes() {
        assert_eq!(identifier("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("a'b\\"), "E'a''b\\\\'");
    }
}
