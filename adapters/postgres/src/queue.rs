//! Which runs a worker gets next, in PostgreSQL's dialect.

/// Grants leases, all in one statement: `$1` is now, `$2` the room in all, `$3` the room for anyone, `$4` what each plan
/// allows and costs, `$5` when the leases expire. The rule is that of SQLite's query (ADR 0021).
///
/// `lanes` skips from one (tenant, agent, rank) to the next, so that a backlog costs no more than its head. A row that
/// somebody else has locked is left for the next claim. Rows are found again by where they are: no plan can miss them. The platform's role may read no more of a run than this needs.
pub(crate) const CLAIM: &str = "
    WITH RECURSIVE plans AS (
        SELECT key AS plan, (value->>'allowed')::bigint AS allowed, (value->>'cost')::bigint AS cost
        FROM jsonb_each($4::jsonb)
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
    due AS (
        SELECT own.* FROM lanes CROSS JOIN LATERAL (
            SELECT ctid AS row, tenant_id, id, agent_id, rank, agent_limit, due_at AS since FROM runs
            WHERE tenant_id = lanes.tenant_id AND agent_id = lanes.agent_id AND rank = lanes.rank AND due_at <= $1
            ORDER BY due_at, id LIMIT $2
        ) AS own
        UNION ALL
        SELECT ctid, tenant_id, id, agent_id, rank, agent_limit, created_at FROM runs WHERE lease_expires_at <= $1
    ),
    busy AS (
        SELECT tenant_id, agent_id, COUNT(*) AS count FROM runs WHERE lease_expires_at > $1
        GROUP BY tenant_id, agent_id
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
        SELECT in_tenant.*, plans.cost,
               GREATEST(COALESCE(turn, 0), (SELECT COALESCE(MAX(started), 0) FROM queue_turns))
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
    ),
    chosen AS (SELECT * FROM in_order WHERE is_newcomer OR others <= $3 ORDER BY start, since, id LIMIT $2),
    locked AS (
        SELECT ctid AS row FROM runs
        WHERE ctid = ANY (ARRAY(SELECT row FROM chosen)) AND (due_at <= $1 OR lease_expires_at <= $1)
        FOR UPDATE SKIP LOCKED
    ),
    granted AS (
        UPDATE runs SET fencing_token = fencing_token + 1, lease_expires_at = $5, due_at = NULL
        WHERE ctid = ANY (ARRAY(SELECT row FROM locked))
        RETURNING tenant_id, id, fencing_token, fencing_token - 1 - progress_token AS unproductive
    ),
    served AS (
        INSERT INTO queue_turns (tenant_id, turn, started)
        SELECT tenant_id, MAX(start + cost), MAX(start) FROM granted JOIN chosen USING (tenant_id, id)
        GROUP BY tenant_id
        ON CONFLICT (tenant_id) DO UPDATE SET turn = EXCLUDED.turn, started = EXCLUDED.started
    )
    SELECT granted.* FROM granted JOIN chosen USING (tenant_id, id) ORDER BY start, since, id";

/// Begins a claim. One at a time over all replicas: two that looked at the same state would grant a tenant too much.
///
/// Each claim is planned anew: a plan that was made for a short queue, and kept, reads a long one from end to end, until the
/// database counts its rows again. No estimate is a reason to do that.
pub(crate) const TAKE_TURNS: &str = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; \
     SET LOCAL jit = off; SELECT pg_advisory_xact_lock(7203115)";
