//! On PostgreSQL the journal is partitioned by month, so that old months go at once and without a trace. The part that
//! a row belongs to is read from its run's id, whose first 48 bits are milliseconds (UUIDv7, RFC 9562), so the key
//! stays as it was.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::rls;
use crate::table::index;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0005_partitions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // For whoever removes old runs.
        manager.create_index(index("runs", "by_id", &["id", "tenant_id"])).await?;
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let db = manager.get_connection();
        db.execute_unprepared(BOUND).await?;
        db.execute_unprepared(PARTED).await?;
        rls::enable(manager, "run_events").await?;
        // What comes in there is what no month was made for.
        db.execute_unprepared("CREATE TABLE run_events_default PARTITION OF run_events DEFAULT").await?;
        rls::enable(manager, "run_events_default").await?;
        for sql in [ADD_MONTHS, DROP_MONTHS, "SELECT add_run_event_months(3)"] {
            db.execute_unprepared(sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(WHOLE).await?;
            rls::enable(manager, "run_events").await?;
        }
        manager.drop_index(Index::drop().name("runs_by_id").table("runs").to_owned()).await
    }
}

/// The smallest id that a run of this month can have.
const BOUND: &str = "
    CREATE FUNCTION run_id_bound(month timestamptz) RETURNS uuid
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
        SELECT (lpad(to_hex((extract(epoch FROM date_trunc('month', month, 'UTC')) * 1000)::bigint), 12, '0')
                || repeat('0', 20))::uuid
    $$";

/// What was there becomes the part of everything up to the end of this month. Who might use the table may use it still,
/// through the whole only.
const PARTED: &str = "
    DO $parted$
    DECLARE
        part text := 'run_events_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM');
        granted record;
    BEGIN
        EXECUTE format('ALTER TABLE run_events RENAME TO %I', part);
        EXECUTE format('ALTER INDEX run_events_pkey RENAME TO %I', part || '_pkey');
        EXECUTE format('CREATE TABLE run_events (LIKE %I) PARTITION BY RANGE (run_id)', part);
        ALTER TABLE run_events ADD PRIMARY KEY (tenant_id, run_id, seq);
        ALTER TABLE run_events ADD FOREIGN KEY (tenant_id, run_id) REFERENCES runs (tenant_id, id) ON DELETE CASCADE;
        EXECUTE format('ALTER TABLE run_events ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', part,
                       run_id_bound(now() + interval '1 month'));
        FOR granted IN
            SELECT grantee::regrole AS role, privilege_type FROM pg_class, aclexplode(relacl)
            WHERE pg_class.oid = part::regclass AND grantee NOT IN (0, relowner)
        LOOP
            EXECUTE format('GRANT %s ON run_events TO %s', granted.privilege_type, granted.role);
            EXECUTE format('REVOKE %s ON %I FROM %s', granted.privilege_type, part, granted.role);
        END LOOP;
    END $parted$";

/// Makes the parts of this month and of as many after it, and puts there what has strayed into the default. Whoever makes
/// the serving roles gives this function, and the next, to a role of their own, whose rights they run with.
const ADD_MONTHS: &str = "
    CREATE FUNCTION add_run_event_months(ahead integer) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '2s' AS $$
    DECLARE
        month timestamptz;
        part text;
        first uuid;
        next uuid;
    BEGIN
        PERFORM pg_advisory_xact_lock(7203116);
        FOR number IN 0..ahead LOOP
            month := date_trunc('month', now(), 'UTC') + number * interval '1 month';
            part := 'run_events_' || to_char(month AT TIME ZONE 'UTC', 'YYYYMM');
            CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
            first := run_id_bound(month);
            next := run_id_bound(month + interval '1 month');
            EXECUTE format('CREATE TABLE public.%I (LIKE public.run_events INCLUDING INDEXES)', part);
            EXECUTE format('WITH strayed AS (
                                DELETE FROM run_events_default WHERE run_id >= %L AND run_id < %L RETURNING *
                            ) INSERT INTO %I SELECT * FROM strayed', first, next, part);
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', part);
            EXECUTE format('CREATE POLICY tenant_isolation ON %1$I USING (%2$s) WITH CHECK (%2$s)', part,
                'tenant_id = (SELECT NULLIF(current_setting(''app.tenant_id'', true), '''')::uuid)');
            EXECUTE format('ALTER TABLE run_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, first,
                           next);
        END LOOP;
    END $$;
    REVOKE ALL ON FUNCTION add_run_event_months FROM PUBLIC";

/// Drops the parts of months that ended before a time, as far as no run of theirs, or of an earlier one, is under way.
const DROP_MONTHS: &str = "
    CREATE FUNCTION drop_run_event_months(before timestamptz) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '2s' AS $$
    DECLARE
        part text;
        month timestamptz;
    BEGIN
        PERFORM pg_advisory_xact_lock(7203116);
        FOR part, month IN
            SELECT relname, to_date(right(relname, 6), 'YYYYMM')::timestamp AT TIME ZONE 'UTC'
            FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = 'public.run_events'::regclass AND relname ~ '^run_events_[0-9]{6}$'
            ORDER BY relname
        LOOP
            EXIT WHEN month + interval '1 month' > before OR EXISTS (
                SELECT FROM runs
                WHERE status IN ('queued', 'running', 'waiting') AND id < run_id_bound(month + interval '1 month')
            );
            EXECUTE format('DROP TABLE %I', part);
        END LOOP;
    END $$;
    REVOKE ALL ON FUNCTION drop_run_event_months FROM PUBLIC";

/// One table again.
const WHOLE: &str = "
    DROP FUNCTION add_run_event_months, drop_run_event_months, run_id_bound;
    ALTER TABLE run_events RENAME TO run_events_parted;
    ALTER INDEX run_events_pkey RENAME TO run_events_parted_pkey;
    CREATE TABLE run_events (LIKE run_events_parted);
    ALTER TABLE run_events ADD PRIMARY KEY (tenant_id, run_id, seq);
    ALTER TABLE run_events_parted NO FORCE ROW LEVEL SECURITY;
    INSERT INTO run_events SELECT * FROM run_events_parted;
    ALTER TABLE run_events ADD FOREIGN KEY (tenant_id, run_id) REFERENCES runs (tenant_id, id) ON DELETE CASCADE;
    DROP TABLE run_events_parted";
