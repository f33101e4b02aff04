//! Which runs a worker may have next, in SQLite's dialect.

/// What may be claimed, in the order of service. `?1` is now, `?2` the room in all, `?3` the room for
/// anyone, `?4` what each plan allows and costs.
///
/// Between tenants: start-time fair queueing (ADR 0021). Each grant has a start, in virtual time, and the tenant's next
/// one starts a cost later, the less the more weight its plan has; a tenant that comes back starts now. The smallest
/// start is first. Within a tenant: the most urgent, then the agent with the fewest runs under way, then the oldest.
/// No more is granted than the plan and the agent allow at the same time.
///
/// A long backlog costs nothing: `lanes` skips from one (tenant, agent, rank) to the next, and of each only as many of
/// the oldest are looked at as could be granted.
pub(crate) const CANDIDATES: &str = "
    WITH RECURSIVE plans AS (
        SELECT key AS plan, value->>'allowed' AS allowed, value->>'cost' AS cost FROM json_each(?4)
    ),
    lanes AS (
        SELECT * FROM (
            SELECT tenant_id, agent_id, rank FROM runs INDEXED BY runs_due
            WHERE due_at IS NOT NULL ORDER BY tenant_id, agent_id, rank LIMIT 1
        )
        UNION ALL
        SELECT next.tenant_id, next.agent_id, next.rank FROM lanes JOIN runs AS next ON next.rowid = (
            SELECT rowid FROM runs INDEXED BY runs_due
            WHERE due_at IS NOT NULL
              AND (tenant_id, agent_id, rank) > (lanes.tenant_id, lanes.agent_id, lanes.rank)
            ORDER BY tenant_id, agent_id, rank LIMIT 1
        )
    ),
    due AS (
        SELECT runs.tenant_id, runs.id, runs.agent_id, runs.rank, runs.agent_limit, runs.fencing_token,
               runs.progress_token, runs.due_at AS since
        FROM lanes CROSS JOIN runs ON runs.rowid IN (
            SELECT own.rowid FROM runs AS own INDEXED BY runs_due
            WHERE own.tenant_id = lanes.tenant_id AND own.agent_id = lanes.agent_id AND own.rank = lanes.rank
              AND own.due_at <= ?1
            ORDER BY own.due_at, own.id LIMIT ?2
        )
        UNION ALL
        SELECT tenant_id, id, agent_id, rank, agent_limit, fencing_token, progress_token, created_at
        FROM runs INDEXED BY runs_leased WHERE lease_expires_at <= ?1
    ),
    busy AS (
        SELECT tenant_id, agent_id, COUNT(*) AS count FROM runs INDEXED BY runs_leased
        WHERE lease_expires_at > ?1 GROUP BY tenant_id, agent_id
    ),
    in_lane AS (
        SELECT due.*, COALESCE(busy.count, 0) + ROW_NUMBER() OVER (
            PARTITION BY due.tenant_id, due.agent_id ORDER BY due.rank, due.since, due.id
        ) AS agent_share
        FROM due LEFT JOIN busy ON busy.tenant_id = due.tenant_id AND busy.agent_id = due.agent_id
    ),
    in_tenant AS (
        SELECT in_lane.*, ROW_NUMBER() OVER (PARTITION BY tenant_id ORDER BY rank, agent_share, since, id) AS place
        FROM in_lane WHERE agent_limit IS NULL OR agent_share <= agent_limit
    ),
    free AS (
        SELECT in_tenant.*, plans.cost,
               MAX(COALESCE(turn, 0), (SELECT COALESCE(MAX(started), 0) FROM queue_turns))
                   + (place - 1) * plans.cost AS start,
               COALESCE(of_tenant.count, 0) + place = 1 AS is_newcomer
        FROM in_tenant
        JOIN tenants ON tenants.id = in_tenant.tenant_id AND tenants.status = 'active'
        JOIN plans ON plans.plan = tenants.plan
        LEFT JOIN queue_turns ON queue_turns.tenant_id = in_tenant.tenant_id
        LEFT JOIN (SELECT tenant_id, SUM(count) AS count FROM busy GROUP BY tenant_id) AS of_tenant
               ON of_tenant.tenant_id = in_tenant.tenant_id
        WHERE COALESCE(of_tenant.count, 0) + place <= plans.allowed
    ),
    in_order AS (
        SELECT free.*, COUNT(*) FILTER (WHERE NOT is_newcomer) OVER (ORDER BY start, since, id) AS others FROM free
    )
    SELECT tenant_id, id, fencing_token, fencing_token - progress_token AS unproductive, cost, start FROM in_order
    WHERE is_newcomer OR others <= ?3
    ORDER BY start, since, id LIMIT ?2";
