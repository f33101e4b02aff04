//! What is due besides runs, in PostgreSQL's dialect.

/// Claims schedules: `$1` is now, `$2` the limit, `$3` until when the claims hold. A row that somebody else has locked
/// is left to them. The platform's role may read no more of a schedule than this needs. The arrays name no other rows; they
/// keep a plan that does not know the limit from reading the whole table.
pub(crate) const CLAIM_SCHEDULES: &str = "
    WITH due AS (
        SELECT schedules.tenant_id, schedules.id FROM schedules
        JOIN tenants ON tenants.id = schedules.tenant_id AND tenants.status = 'active'
        WHERE next_at <= $1 AND (claimed_until IS NULL OR claimed_until <= $1)
        ORDER BY next_at, schedules.tenant_id, schedules.id LIMIT $2
        FOR UPDATE OF schedules SKIP LOCKED
    )
    UPDATE schedules SET claimed_until = $3
    WHERE tenant_id = ANY (ARRAY(SELECT tenant_id FROM due)) AND id = ANY (ARRAY(SELECT id FROM due))
      AND (tenant_id, id) IN (SELECT tenant_id, id FROM due)
    RETURNING tenant_id, id";

/// Claims deliveries, tenants in turn: `$1` is now, `$2` the limit, `$3` until when the claims hold. A row that somebody
/// else has locked is left to them. The platform's role may read neither addresses, nor secrets, nor payloads.
pub(crate) const CLAIM_DELIVERIES: &str = "
    WITH due AS (
        SELECT tenant_id, webhook_id, id, next_at,
               ROW_NUMBER() OVER (PARTITION BY tenant_id ORDER BY next_at, webhook_id, id) AS place
        FROM webhook_deliveries WHERE next_at <= $1
    ),
    chosen AS (
        SELECT due.* FROM due JOIN tenants ON tenants.id = due.tenant_id AND tenants.status = 'active'
        ORDER BY place, due.next_at, due.id LIMIT $2
    ),
    locked AS (
        SELECT tried.tenant_id, tried.webhook_id, tried.id FROM webhook_deliveries AS tried
        JOIN chosen USING (tenant_id, webhook_id, id)
        WHERE tried.next_at <= $1
        FOR UPDATE OF tried SKIP LOCKED
    )
    UPDATE webhook_deliveries AS tried SET attempts = attempts + 1, next_at = $3 FROM locked
    WHERE tried.tenant_id = locked.tenant_id AND tried.webhook_id = locked.webhook_id AND tried.id = locked.id
    RETURNING tried.tenant_id, tried.webhook_id, tried.id, tried.attempts";
