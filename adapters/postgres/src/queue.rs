//! Which runs a worker may have next, in PostgreSQL's dialect.

/// What may be claimed, in the order of service: `$1` is now, `$2` the limit, `$3` what each plan allows. The rule is
/// that of SQLite's query: of each tenant's runs the oldest, no share above the plan's limit, the smallest share
/// first, and among equals the tenant that was served least recently.
///
/// The platform's role may read no more of a run than this needs.
pub(crate) const CANDIDATES: &str = "
    WITH plans AS (SELECT key AS plan, value::bigint AS allowed FROM jsonb_each_text($3::jsonb)),
    busy AS (
        SELECT tenant_id, COUNT(*) AS count FROM runs
        WHERE lease_expires_at > $1 AND status IN ('queued', 'running')
        GROUP BY tenant_id
    ),
    oldest AS (
        SELECT own.* FROM tenants CROSS JOIN LATERAL (
            SELECT tenant_id, id, fencing_token, created_at FROM runs
            WHERE status = 'queued' AND tenant_id = tenants.id
              AND (lease_expires_at IS NULL OR lease_expires_at <= $1)
            ORDER BY created_at, id LIMIT $2
        ) AS own
        UNION ALL
        SELECT tenant_id, id, fencing_token, created_at FROM runs
        WHERE status = 'running' AND (lease_expires_at IS NULL OR lease_expires_at <= $1)
    ),
    free AS (
        SELECT oldest.*, plans.allowed, COALESCE(queue_turns.turn, 0) AS turn,
               COALESCE(busy.count, 0) + ROW_NUMBER() OVER (
                   PARTITION BY oldest.tenant_id ORDER BY oldest.created_at, oldest.id
               ) AS share
        FROM oldest
        JOIN tenants ON tenants.id = oldest.tenant_id AND tenants.status = 'active'
        JOIN plans ON plans.plan = tenants.plan
        LEFT JOIN busy ON busy.tenant_id = oldest.tenant_id
        LEFT JOIN queue_turns ON queue_turns.tenant_id = oldest.tenant_id
    )
    SELECT tenant_id, id, fencing_token FROM free WHERE share <= allowed
    ORDER BY share, turn, created_at, id LIMIT $2";

/// One claim at a time over all replicas: two that looked at the same state would grant a tenant too much.
pub(crate) const TAKE_TURNS: &str = "SELECT pg_advisory_xact_lock(7203115)";
