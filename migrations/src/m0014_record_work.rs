//! On PostgreSQL, what workers did to runs of many tenants is stored in one round trip, in the plain case. The function has
//! no rights of its own: it says for each row whose it is, as a transaction of that tenant would.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0014_record_work"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            for sql in [ADD_USAGE, RECORD] {
                manager.get_connection().execute_unprepared(sql).await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared("DROP FUNCTION record_work, add_usage").await?;
        }
        Ok(())
    }
}

/// Adds what calls of one tenant used, each sum once. In this language it is planned once for a connection.
const ADD_USAGE: &str = "
    CREATE FUNCTION add_usage(tenant uuid, used jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$ BEGIN
        INSERT INTO usage AS kept (tenant_id, day, agent_id, user_id, model, calls, input_tokens, output_tokens, cost_micros)
        SELECT add_usage.tenant, day, agent, by, call.model, sum(call.calls), sum(input), sum(output), sum(cost)
        FROM jsonb_to_recordset(add_usage.used) AS call(
            day date, agent uuid, by uuid, model text, calls bigint, input bigint, output bigint, cost bigint
        )
        GROUP BY day, agent, by, call.model ORDER BY day, agent, by, call.model
        ON CONFLICT (tenant_id, day, agent_id, user_id, model) DO UPDATE SET
            calls = kept.calls + EXCLUDED.calls, input_tokens = kept.input_tokens + EXCLUDED.input_tokens,
            output_tokens = kept.output_tokens + EXCLUDED.output_tokens,
            cost_micros = kept.cost_micros + EXCLUDED.cost_micros;
    END $$";

/// Stores work in the order of its tenants, and returns for each the newest number of its run's journal; nothing, where
/// nothing was stored. That is so when the run is not its worker's any more, when anybody else has written to its journal,
/// when the tenant's money is bounded though the work takes it for free, and when somebody is to be told.
const RECORD: &str = "
    CREATE FUNCTION record_work(batch jsonb) RETURNS SETOF bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        item record;
        tenant uuid;
        used jsonb := '[]';
    BEGIN
        FOR item IN SELECT * FROM jsonb_to_recordset(batch) AS work(
            tenant uuid, id uuid, token bigint, seen bigint, count bigint, status text, state jsonb, version bigint,
            input_tokens bigint, output_tokens bigint, cost_micros bigint, due_at timestamptz, is_running boolean,
            is_progress boolean, is_announced boolean, is_free boolean, events jsonb, used jsonb
        ) LOOP
            IF tenant IS DISTINCT FROM item.tenant THEN
                IF used <> '[]' THEN PERFORM add_usage(tenant, used); END IF;
                tenant := item.tenant;
                used := '[]';
                PERFORM set_config('app.tenant_id', tenant::text, true);
            END IF;
            UPDATE runs SET
                status = item.status, state = item.state, version = item.version, input_tokens = item.input_tokens,
                output_tokens = item.output_tokens, cost_micros = item.cost_micros, next_seq = next_seq + item.count,
                progress_token = CASE WHEN item.is_progress THEN fencing_token ELSE progress_token END,
                lease_expires_at = CASE WHEN item.is_running THEN lease_expires_at END,
                due_at = CASE WHEN item.is_running THEN due_at ELSE item.due_at END
            WHERE tenant_id = tenant AND id = item.id AND fencing_token = item.token AND lease_expires_at IS NOT NULL
              AND status NOT IN ('succeeded', 'failed', 'cancelled', 'timed_out') AND version <= item.version
              AND next_seq = item.seen + 1
              AND NOT (item.is_free AND (EXISTS (SELECT FROM budgets WHERE tenant_id = tenant)
                                         OR EXISTS (SELECT FROM prices WHERE tenant_id = tenant)))
              AND NOT (item.is_announced AND EXISTS (SELECT FROM webhooks
                                                     WHERE tenant_id = tenant AND disabled_since IS NULL));
            IF NOT FOUND THEN
                RETURN NEXT NULL;
                CONTINUE;
            END IF;
            INSERT INTO run_events (tenant_id, run_id, seq, at, body)
            SELECT tenant, item.id, item.seen + place, (event->>'at')::timestamptz, event->'body'
            FROM jsonb_array_elements(item.events) WITH ORDINALITY AS events(event, place);
            used := used || item.used;
            RETURN NEXT item.seen + item.count;
        END LOOP;
        IF used <> '[]' THEN PERFORM add_usage(tenant, used); END IF;
    END $$";
