//! Vectors that the database compares, where it has `pgvector`: they are in `embedding`, beside what every database stores.

use powerhouse_rows::embedding;
use sea_orm::sqlx::{self, PgConnection};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, Statement, Value};
use serde_json::json;
use uuid::Uuid;

/// Chunks whose vectors are filled in at once.
const AT_ONCE: u16 = 200;

/// What PostgreSQL says to somebody who may not.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Who compares the vectors of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The database, by `pgvector`.
    ByDatabase,
    /// We do: it has no `pgvector`.
    ByUs,
    /// We do: its server has `pgvector`, but a superuser would have to create it in this database.
    ByUsUntilCreated,
}

/// Whether the extension could be created here, and whether its type is known.
const HAS: &str = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector'), to_regtype('vector') IS NOT NULL";

/// In the row where it fits: read from beside it, a search takes three times as long. No approximate index: filtered by tenant
/// and model it would find less than there is. The index that there is says which vectors are not filled in, which are few.
const COLUMN: &str = "
    ALTER TABLE document_chunks ADD COLUMN IF NOT EXISTS embedding vector;
    ALTER TABLE document_chunks ALTER COLUMN embedding SET STORAGE MAIN;
    CREATE INDEX IF NOT EXISTS document_chunks_not_compared
        ON document_chunks (tenant_id, collection, embedder, document_id, ordinal)
        WHERE vector IS NOT NULL AND embedding IS NULL;";

/// The owner is bound by row-level security as everybody is, and fills in vectors of all tenants.
const LET_IN: &str = "
    DROP POLICY IF EXISTS owner_fills ON document_chunks;
    CREATE POLICY owner_fills ON document_chunks TO CURRENT_USER USING (true) WITH CHECK (true);";
const LET_OUT: &str = "DROP POLICY IF EXISTS owner_fills ON document_chunks";

const MISSING: &str = "
    SELECT tenant_id, collection, document_id, ordinal, vector FROM document_chunks
    WHERE vector IS NOT NULL AND embedding IS NULL AND (tenant_id, collection, document_id, ordinal) > ($1, $2, $3, $4)
    ORDER BY tenant_id, collection, document_id, ordinal LIMIT $5";

const FILL: &str = "
    UPDATE document_chunks AS chunk SET embedding = CAST(given.embedding AS vector)
    FROM jsonb_to_recordset($1)
        AS given (tenant_id uuid, collection text, document_id uuid, ordinal bigint, embedding text)
    WHERE chunk.tenant_id = given.tenant_id AND chunk.collection = given.collection
      AND chunk.document_id = given.document_id AND chunk.ordinal = given.ordinal";

const ARE_COMPARED: &str = "
    SELECT to_regtype('vector') IS NOT NULL AND EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = to_regclass('document_chunks') AND attname = 'embedding'
            AND NOT attisdropped)";

/// Whether the database compares vectors for this role.
pub(crate) async fn are_compared(role: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(ARE_COMPARED).persistent(false).fetch_one(role).await
}

/// Has the database compare vectors, where it can: those that are stored, too.
pub(crate) async fn ensure(db: &DatabaseConnection) -> Result<Compared, DbErr> {
    match has(db).await? {
        (_, true) => {}
        (false, false) => return Ok(Compared::ByUs),
        (true, false) => match db.execute_unprepared("CREATE EXTENSION IF NOT EXISTS vector").await {
            // In a schema that is not looked into, it is not there.
            Ok(_) if !has(db).await?.1 => return Ok(Compared::ByUs),
            Ok(_) => {}
            Err(error) if is_forbidden(&error) => return Ok(Compared::ByUsUntilCreated),
            Err(error) => return Err(error),
        },
    }
    db.execute_unprepared(COLUMN).await?;
    db.execute_unprepared(LET_IN).await?;
    let filled = fill(db).await;
    db.execute_unprepared(LET_OUT).await?;
    filled.map(|()| Compared::ByDatabase)
}

async fn has(db: &DatabaseConnection) -> Result<(bool, bool), DbErr> {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, HAS)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("a query of no table gave no row".to_owned()))?;
    Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))
}

fn is_forbidden(error: &DbErr) -> bool {
    let (DbErr::Exec(error) | DbErr::Query(error)) = error else { return false };
    let sea_orm::RuntimeErr::SqlxError(error) = error else { return false };
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == INSUFFICIENT_PRIVILEGE)
}

/// Fills in what was stored while the database compared none. What it would not take stays without, and is compared by us.
async fn fill(db: &DatabaseConnection) -> Result<(), DbErr> {
    let mut after = (Uuid::nil(), String::new(), Uuid::nil(), -1_i64);
    loop {
        let (tenant, collection, document, ordinal) = after.clone();
        let values: [Value; 5] =
            [tenant.into(), collection.into(), document.into(), ordinal.into(), i64::from(AT_ONCE).into()];
        let query = Statement::from_sql_and_values(DbBackend::Postgres, MISSING, values);
        let rows = db.query_all_raw(query).await?;
        let mut given = Vec::new();
        for row in &rows {
            after = (
                row.try_get_by_index(0)?,
                row.try_get_by_index(1)?,
                row.try_get_by_index(2)?,
                row.try_get_by_index(3)?,
            );
            let (tenant, collection, document, ordinal) = &after;
            if let Some(embedding) = embedding(&row.try_get_by_index::<Vec<u8>>(4)?) {
                given.push(json!({
                    "tenant_id": tenant, "collection": collection, "document_id": document, "ordinal": ordinal,
                    "embedding": embedding,
                }));
            }
        }
        if !given.is_empty() {
            let given = [Value::from(serde_json::Value::Array(given))];
            db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, FILL, given)).await?;
        }
        if rows.len() < AT_ONCE.into() {
            return Ok(());
        }
    }
}
