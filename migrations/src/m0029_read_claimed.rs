//! On PostgreSQL, what a worker needs of the runs that it has claimed is read in one round trip. The function has no rights of
//! its own: it says for each run whose it is, as a transaction of that tenant would.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0029_read_claimed"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(READ).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared("DROP FUNCTION read_claimed").await?;
        }
        Ok(())
    }
}

/// Runs whose journals have at most so many events, each with its journal.
const READ: &str = "
    CREATE FUNCTION read_claimed(wanted jsonb, most bigint) RETURNS TABLE (claimed runs, journal jsonb)
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        item record;
        tenant uuid;
    BEGIN
        FOR item IN SELECT * FROM jsonb_to_recordset(wanted) AS lease(tenant uuid, id uuid) LOOP
            IF tenant IS DISTINCT FROM item.tenant THEN
                tenant := item.tenant;
                PERFORM set_config('app.tenant_id', tenant::text, true);
            END IF;
            RETURN QUERY SELECT run, coalesce((
                SELECT jsonb_agg(jsonb_build_object('seq', seq, 'at', at, 'body', body) ORDER BY seq)
                FROM run_events WHERE tenant_id = tenant AND run_id = item.id
            ), '[]')
            FROM runs AS run WHERE tenant_id = tenant AND id = item.id AND next_seq <= most;
        END LOOP;
    END $$";
