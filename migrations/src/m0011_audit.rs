//! The audit trail: each tenant's records, and the end of its chain. On PostgreSQL the records, and usage too from now on,
//! are partitioned by month, so that old months go at once (ADR 0026). Two functions serve every table that is kept by month
//! of a time or a day of its own.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::rls;
use crate::table::{foreign_key, index, instant, integer, json, tenant_table, text};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0011_audit"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(heads()).await?;
        rls::enable(manager, "audit_heads").await?;
        let (db, backend) = (manager.get_connection(), manager.get_database_backend());
        let records = backend.build(&records()).sql;
        if backend != DbBackend::Postgres {
            db.execute_unprepared(&records).await?;
            return indexes(manager).await;
        }
        db.execute_unprepared(&format!("{records} PARTITION BY RANGE (at)")).await?;
        indexes(manager).await?;
        for sql in [KEY, ADD_MONTHS, PURGE_MONTHS, USAGE_PARTED] {
            db.execute_unprepared(sql).await?;
        }
        for table in ["audit_records", "usage"] {
            rls::enable(manager, table).await?;
            // What comes in there is what no month was made for.
            let default = format!("{table}_default");
            db.execute_unprepared(&format!("CREATE TABLE {default} PARTITION OF {table} DEFAULT")).await?;
            rls::enable(manager, &default).await?;
            db.execute_unprepared(&format!("SELECT add_months('{table}', 3)")).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(USAGE_WHOLE).await?;
            rls::enable(manager, "usage").await?;
        }
        for table in ["audit_records", "audit_heads"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn hash(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).binary().not_null().take()
}

fn heads() -> TableCreateStatement {
    let mut heads = tenant_table("audit_heads", &[]);
    heads
        .col(integer("seq"))
        .col(instant("at"))
        .col(hash("hash"))
        .foreign_key(&mut foreign_key("audit_heads", &[], "tenants", &[]))
        .to_owned()
}

/// Times and numbers grow together: the key gives the trail in its order, forwards and backwards.
fn records() -> TableCreateStatement {
    let mut records = tenant_table("audit_records", &["at", "seq"]);
    records
        .col(instant("at"))
        .col(integer("seq"))
        .col(text("actor"))
        .col(ColumnDef::new("session_id").uuid().null())
        .col(text("action"))
        .col(text("resource"))
        .col(ColumnDef::new("correlation_id").text().null())
        .col(json("details"))
        .col(hash("previous_hash"))
        .col(hash("hash"))
        .foreign_key(&mut foreign_key("audit_records", &[], "tenants", &[]))
        .to_owned()
}

/// What is looked for among many records.
async fn indexes(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for column in ["actor", "action", "resource"] {
        let purpose = format!("by_{column}");
        manager.create_index(index("audit_records", &purpose, &["tenant_id", column, "at", "seq"])).await?;
    }
    Ok(())
}

/// The column by which a table is kept by month. Of no other table: who may call the functions below names a table.
const KEY: &str = "
    CREATE FUNCTION month_key(whole text) RETURNS text LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        RETURN CASE whole WHEN 'usage' THEN 'day' WHEN 'audit_records' THEN 'at' END;
    END $$";

/// Makes the parts of this month and of as many after it, and puts there what has strayed into the default. Whoever makes
/// the serving roles gives this function, and the next, to a role of their own, whose rights they run with.
const ADD_MONTHS: &str = "
    CREATE FUNCTION add_months(whole text, ahead integer) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '2s' AS $$
    DECLARE
        key text := month_key(whole);
        month timestamp;
        part text;
        first text;
        next text;
    BEGIN
        IF key IS NULL THEN RAISE 'this table is not kept by month'; END IF;
        PERFORM pg_advisory_xact_lock(7203116);
        FOR number IN 0..ahead LOOP
            month := date_trunc('month', now() AT TIME ZONE 'UTC') + number * interval '1 month';
            part := whole || to_char(month, '_YYYYMM');
            CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
            -- Both a date and a time may be read from this.
            first := to_char(month, 'YYYY-MM-DD 00:00:00+00');
            next := to_char(month + interval '1 month', 'YYYY-MM-DD 00:00:00+00');
            EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING INDEXES)', part, whole);
            EXECUTE format('WITH strayed AS (DELETE FROM %1$I WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *)
                            INSERT INTO %5$I SELECT * FROM strayed', whole || '_default', key, first, next, part);
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', part);
            EXECUTE format('CREATE POLICY tenant_isolation ON %1$I USING (%2$s) WITH CHECK (%2$s)', part,
                'tenant_id = (SELECT NULLIF(current_setting(''app.tenant_id'', true), '''')::uuid)');
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', whole, part, first, next);
        END LOOP;
    END $$;
    REVOKE ALL ON FUNCTION add_months FROM PUBLIC";

/// Drops the parts of months that were over before a time. Of such months in a part that is not over, or in none, at most
/// so many rows are removed one by one; how many is returned.
const PURGE_MONTHS: &str = "
    CREATE FUNCTION purge_months(whole text, before timestamptz, most bigint) RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '2s' AS $$
    DECLARE
        key text := month_key(whole);
        bound timestamp := date_trunc('month', before AT TIME ZONE 'UTC');
        part text;
        gone bigint;
    BEGIN
        IF key IS NULL THEN RAISE 'this table is not kept by month'; END IF;
        PERFORM pg_advisory_xact_lock(7203116);
        FOR part IN
            SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = to_regclass('public.' || whole) AND relname ~ ('^' || whole || '_[0-9]{6}$')
              AND to_date(right(relname, 6), 'YYYYMM') < bound
        LOOP
            EXECUTE format('DROP TABLE %I', part);
        END LOOP;
        EXECUTE format('DELETE FROM %1$I WHERE %2$I < %3$L AND (tableoid, ctid) IN (
                            SELECT tableoid, ctid FROM %1$I WHERE %2$I < %3$L LIMIT %4$s)',
                       whole, key, to_char(bound, 'YYYY-MM-DD 00:00:00+00'), most);
        GET DIAGNOSTICS gone = ROW_COUNT;
        RETURN gone;
    END $$;
    REVOKE ALL ON FUNCTION purge_months FROM PUBLIC";

/// What was there becomes the part of everything up to the end of this month. Who might use the table may use it still,
/// through the whole only.
const USAGE_PARTED: &str = "
    DO $parted$
    DECLARE
        month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
        part text := 'usage_' || to_char(month, 'YYYYMM');
        granted record;
    BEGIN
        EXECUTE format('ALTER TABLE usage RENAME TO %I', part);
        EXECUTE format('ALTER INDEX usage_pkey RENAME TO %I', part || '_pkey');
        EXECUTE format('CREATE TABLE usage (LIKE %I) PARTITION BY RANGE (day)', part);
        ALTER TABLE usage ADD PRIMARY KEY (tenant_id, day, agent_id, user_id, model);
        ALTER TABLE usage ADD FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;
        EXECUTE format('ALTER TABLE usage ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', part,
                       month + interval '1 month');
        FOR granted IN
            SELECT grantee::regrole AS role, privilege_type FROM pg_class, aclexplode(relacl)
            WHERE pg_class.oid = part::regclass AND grantee NOT IN (0, relowner)
        LOOP
            EXECUTE format('GRANT %s ON usage TO %s', granted.privilege_type, granted.role);
            EXECUTE format('REVOKE %s ON %I FROM %s', granted.privilege_type, part, granted.role);
        END LOOP;
    END $parted$";

/// One table again.
const USAGE_WHOLE: &str = "
    DROP FUNCTION add_months, purge_months, month_key;
    ALTER TABLE usage RENAME TO usage_parted;
    ALTER INDEX usage_pkey RENAME TO usage_parted_pkey;
    CREATE TABLE usage (LIKE usage_parted);
    ALTER TABLE usage ADD PRIMARY KEY (tenant_id, day, agent_id, user_id, model);
    ALTER TABLE usage_parted NO FORCE ROW LEVEL SECURITY;
    INSERT INTO usage SELECT * FROM usage_parted;
    ALTER TABLE usage ADD FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;
    DROP TABLE usage_parted";
