//! Which runs a worker may have next, in SQLite's dialect.

/// What may be claimed, in the order of service. `?1` is now, `?2` the limit, `?3` what each plan allows.
///
/// A run's `share` is how many runs of its tenant would be worked on with it. No share above the plan's limit is
/// granted, and the smallest share is first, so no tenant waits behind another's backlog. Among equals, the tenant
/// that was served least recently is first: otherwise the older backlog would win whenever a run has just ended.
/// A long backlog costs nothing: of each tenant only as many of the oldest are looked at as could be granted, and what
/// is being worked on is found by its lease.
pub(crate) const CANDIDATES: &str = "
    WITH plans AS (SELECT key AS plan, value AS allowed FROM json_each(?3)),
    busy AS (
        SELECT tenant_id, COUNT(*) AS count FROM runs INDEXED BY runs_by_lease
        WHERE lease_expires_at > ?1 AND status IN ('queued', 'running')
        GROUP BY tenant_id
    ),
    oldest AS (
        SELECT runs.rowid AS run FROM tenants CROSS JOIN runs ON runs.rowid IN (
            SELECT own.rowid FROM runs AS own
            WHERE own.status = 'queued' AND own.tenant_id = tenants.id
              AND (own.lease_expires_at IS NULL OR own.lease_expires_at <= ?1)
            ORDER BY own.created_at, own.id LIMIT ?2
        )
        UNION ALL
        SELECT rowid FROM runs
        WHERE status = 'running' AND (lease_expires_at IS NULL OR lease_expires_at <= ?1)
    ),
    free AS (
        SELECT runs.tenant_id, runs.id, runs.fencing_token, runs.created_at, plans.allowed,
               COALESCE(queue_turns.turn, 0) AS turn,
               COALESCE(busy.count, 0) + ROW_NUMBER() OVER (
                   PARTITION BY runs.tenant_id ORDER BY runs.created_at, runs.id
               ) AS share
        FROM oldest
        JOIN runs ON runs.rowid = oldest.run
        JOIN tenants ON tenants.id = runs.tenant_id AND tenants.status = 'active'
        JOIN plans ON plans.plan = tenants.plan
        LEFT JOIN busy ON busy.tenant_id = runs.tenant_id
        LEFT JOIN queue_turns ON queue_turns.tenant_id = runs.tenant_id
    )
    SELECT tenant_id, id, fencing_token FROM free WHERE share <= allowed
    ORDER BY share, turn, created_at, id LIMIT ?2";
