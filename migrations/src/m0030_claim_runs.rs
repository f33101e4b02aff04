//! On PostgreSQL, a claim is one call of a function, whose plan is made once for a connection. So are those of the other
//! functions that workers call. No such plan reads a table from end to end, whatever the table had in it when the plan was made.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0030_claim_runs"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(CLAIM).await?;
            keep_plans(manager, "SET plan_cache_mode = force_generic_plan", "SET enable_seqscan = off")
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            keep_plans(manager, "RESET plan_cache_mode", "RESET enable_seqscan").await?;
            manager.get_connection().execute_unprepared("DROP FUNCTION claim_runs").await?;
        }
        Ok(())
    }
}

/// How the functions that workers call are planned.
async fn keep_plans(manager: &SchemaManager<'_>, cached: &str, scanned: &str) -> Result<(), DbErr> {
    for function in ["record_work", "add_usage", "read_claimed", "claim_runs"] {
        let sql = format!("ALTER FUNCTION {function} {cached}; ALTER FUNCTION {function} {scanned}");
        manager.get_connection().execute_unprepared(&sql).await?;
    }
    Ok(())
}

/// Grants leases until `expiry`, for which it is given the time, the room in all and for anyone, and what each plan allows and
/// costs. One at a time over all replicas: two that looked at the same state would grant a tenant too much. The rule is that of
/// SQLite's query (ADR 0021).
///
/// `lanes` skips from one (tenant, agent, rank) to the next, so that a backlog costs no more than its head. A row that
/// somebody else has locked is left for the next claim. The platform's role may read no more of a run than this needs.
///
/// The plan is made whatever is in the tables (ADR 0051), and there is but one good one: `OFFSET 0` has a tenant's rows looked up
/// for each tenant that waits; `ORDER BY lease_expires_at` and `LEAST` leave no other index to read; and what was found is joined by
/// hashing or merging.
const CLAIM: &str = "
    CREATE FUNCTION claim_runs(moment timestamptz, room bigint, for_anyone bigint, terms jsonb, expiry timestamptz)
    RETURNS TABLE (tenant uuid, run uuid, token bigint, fruitless bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET enable_nestloop = off SET jit = off AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(7203115);
        RETURN QUERY WITH RECURSIVE plans AS (
            SELECT key AS plan, (value->>'allowed')::bigint AS allowed, (value->>'cost')::bigint AS cost
            FROM jsonb_each(terms)
        ),
        lanes AS (
            (SELECT tenant_id, agent_id, rank FROM runs WHERE due_at IS NOT NULL ORDER BY tenant_id, agent_id, rank LIMIT 1)
            UNION ALL
            SELECT next.* FROM lanes CROSS JOIN LATERAL (
                SELECT tenant_id, agent_id, rank FROM runs
                WHERE due_at IS NOT NULL
                  AND (tenant_id, agent_id, rank) > (lanes.tenant_id, lanes.agent_id, lanes.rank)
                ORDER BY tenant_id, agent_id, rank LIMIT 1
            ) AS next
        ),
        leased AS (
            SELECT ctid AS row, tenant_id, id, agent_id, rank, agent_limit, created_at, lease_expires_at FROM runs
            WHERE lease_expires_at IS NOT NULL ORDER BY lease_expires_at
        ),
        due AS (
            SELECT own.* FROM lanes CROSS JOIN LATERAL (
                SELECT ctid AS row, tenant_id, id, agent_id, rank, agent_limit, due_at AS since FROM runs
                WHERE tenant_id = lanes.tenant_id AND agent_id = lanes.agent_id AND rank = lanes.rank AND due_at <= moment
                ORDER BY due_at, id LIMIT room
            ) AS own
            UNION ALL
            SELECT row, tenant_id, id, agent_id, rank, agent_limit, created_at FROM leased WHERE lease_expires_at <= moment
        ),
        busy AS (
            SELECT tenant_id, agent_id, COUNT(*) AS count FROM leased WHERE lease_expires_at > moment
            GROUP BY tenant_id, agent_id
        ),
        waiting AS MATERIALIZED (
            SELECT each.tenant_id, plans.allowed, plans.cost, COALESCE(its.turn, 0) AS turn, COALESCE(of_tenant.count, 0) AS busy
            FROM (SELECT DISTINCT tenant_id FROM due) AS each
            CROSS JOIN LATERAL (SELECT plan FROM tenants WHERE id = each.tenant_id AND status = 'active' OFFSET 0) AS active
            JOIN plans ON plans.plan = active.plan
            LEFT JOIN LATERAL (SELECT turn FROM queue_turns WHERE tenant_id = each.tenant_id OFFSET 0) AS its ON TRUE
            LEFT JOIN (SELECT tenant_id, SUM(count) AS count FROM busy GROUP BY tenant_id) AS of_tenant
                   ON of_tenant.tenant_id = each.tenant_id
        ),
        in_lane AS (
            SELECT due.*, COALESCE(busy.count, 0) + ROW_NUMBER() OVER (
                PARTITION BY due.tenant_id, due.agent_id ORDER BY rank, since, id
            ) AS agent_share
            FROM due LEFT JOIN busy ON busy.tenant_id = due.tenant_id AND busy.agent_id = due.agent_id
        ),
        in_tenant AS (
            SELECT in_lane.*, ROW_NUMBER() OVER (PARTITION BY tenant_id ORDER BY rank, agent_share, since, id) AS place
            FROM in_lane WHERE agent_limit IS NULL OR agent_share <= agent_limit
        ),
        free AS (
            SELECT in_tenant.*, waiting.cost,
                   GREATEST(waiting.turn, (SELECT COALESCE(MAX(started), 0) FROM queue_turns))
                       + (place - 1) * waiting.cost AS start,
                   waiting.busy + place = 1 AS is_newcomer
            FROM in_tenant JOIN waiting ON waiting.tenant_id = in_tenant.tenant_id
            WHERE waiting.busy + place <= waiting.allowed
        ),
        in_order AS (
            SELECT free.*, COUNT(*) FILTER (WHERE NOT is_newcomer) OVER (ORDER BY start, since, id) AS others FROM free
        ),
        chosen AS (
            SELECT * FROM in_order WHERE is_newcomer OR others <= for_anyone ORDER BY start, since, id LIMIT room
        ),
        locked AS (
            SELECT ctid AS row FROM runs
            WHERE ctid = ANY (ARRAY(SELECT row FROM chosen)) AND LEAST(due_at, lease_expires_at) <= moment
            FOR UPDATE SKIP LOCKED
        ),
        granted AS (
            UPDATE runs SET fencing_token = fencing_token + 1, lease_expires_at = expiry, due_at = NULL
            WHERE ctid = ANY (ARRAY(SELECT row FROM locked))
            RETURNING tenant_id, id, fencing_token, fencing_token - 1 - progress_token AS unproductive
        ),
        served AS (
            INSERT INTO queue_turns (tenant_id, turn, started)
            SELECT tenant_id, MAX(start + cost), MAX(start) FROM granted JOIN chosen USING (tenant_id, id)
            GROUP BY tenant_id
            ON CONFLICT (tenant_id) DO UPDATE SET turn = EXCLUDED.turn, started = EXCLUDED.started
        )
        SELECT granted.* FROM granted JOIN chosen USING (tenant_id, id) ORDER BY start, since, id;
    END $$";
