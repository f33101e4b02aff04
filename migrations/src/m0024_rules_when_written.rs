//! On PostgreSQL, the statement that lets calls of tools begin sees to it that they were decided by the rules of the moment.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0024_rules_when_written"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(RECORD).await?;
        }
        Ok(())
    }

    /// The function takes what it took before as well.
    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

/// Stores work in the order of its tenants, and returns for each the newest number of its run's journal; nothing, where
/// nothing was stored. That is so when the run is not its worker's any more, when anybody else has written to its journal,
/// when the tenant's money is bounded though the work takes it for free, when somebody is to be told, and when calls of tools
/// were let begin by approval rules that are not the tenant's any more.
const RECORD: &str = "
    CREATE OR REPLACE FUNCTION record_work(batch jsonb) RETURNS SETOF bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        item record;
        tenant uuid;
        used jsonb := '[]';
    BEGIN
        FOR item IN SELECT * FROM jsonb_to_recordset(batch) AS work(
            tenant uuid, id uuid, token bigint, seen bigint, count bigint, status text, state jsonb, version bigint,
            input_tokens bigint, output_tokens bigint, cost_micros bigint, due_at timestamptz, is_running boolean,
            is_progress boolean, is_announced boolean, is_free boolean, rules bigint, events jsonb, used jsonb
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
                                                     WHERE tenant_id = tenant AND disabled_since IS NULL))
              AND (item.rules IS NULL
                   OR item.rules = coalesce((SELECT rules.version FROM approval_rules AS rules WHERE tenant_id = tenant), 0));
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
