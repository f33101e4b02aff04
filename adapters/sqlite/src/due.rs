//! What is due besides runs, in SQLite's dialect.

/// Claims schedules: `?1` is now, `?2` the limit, `?3` until when the claims hold.
pub(crate) const CLAIM_SCHEDULES: &str = "
    UPDATE schedules SET claimed_until = ?3 WHERE (tenant_id, id) IN (
        SELECT schedules.tenant_id, schedules.id FROM schedules
        JOIN tenants ON tenants.id = schedules.tenant_id AND tenants.status = 'active'
        WHERE next_at <= ?1 AND (claimed_until IS NULL OR claimed_until <= ?1)
        ORDER BY next_at, schedules.tenant_id, schedules.id LIMIT ?2
    ) RETURNING tenant_id, id";

/// Claims deliveries, tenants in turn: `?1` is now, `?2` the limit, `?3` until when the claims hold.
pub(crate) const CLAIM_DELIVERIES: &str = "
    UPDATE webhook_deliveries SET attempts = attempts + 1, next_at = ?3 WHERE (tenant_id, webhook_id, id) IN (
        SELECT tenant_id, webhook_id, due.id FROM (
            SELECT tenant_id, webhook_id, id, next_at,
                   ROW_NUMBER() OVER (PARTITION BY tenant_id ORDER BY next_at, webhook_id, id) AS place
            FROM webhook_deliveries WHERE next_at <= ?1
        ) AS due
        JOIN tenants ON tenants.id = due.tenant_id AND tenants.status = 'active'
        ORDER BY place, due.next_at, due.id LIMIT ?2
    ) RETURNING tenant_id, webhook_id, id, attempts";
