//! Whether the database keeps tenants apart whatever our code does (ADR 0002): asked at start, refused otherwise.

use sea_orm::sqlx::{self, PgConnection, Row as _};

/// Why a database, or a role, is not served with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    /// The role could read every tenant's rows.
    #[error(
        "the database role `{role}` {why}: serve with roles that row-level security binds, as `powerhouse migrate` \
         makes them"
    )]
    Role {
        /// The role.
        role: String,
        /// What it is or has.
        why: &'static str,
    },
    /// Tables with a tenant that lack row-level security, or whose owner is not bound by it.
    #[error("these tables lack forced row-level security: {}: run `powerhouse migrate`", tables.join(", "))]
    Tables {
        /// Their names.
        tables: Vec<String>,
    },
}

const ROLE: &str = "
    SELECT rolname::text, rolsuper, rolbypassrls,
           EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace
                   AND pg_has_role(pg_roles.oid, relowner, 'MEMBER')),
           EXISTS (SELECT FROM pg_roles AS other WHERE (other.rolsuper OR other.rolbypassrls)
                   AND pg_has_role(pg_roles.oid, other.oid, 'MEMBER') AND other.oid <> pg_roles.oid)
    FROM pg_roles WHERE rolname = current_user";

const TABLES: &str = "
    SELECT DISTINCT relname::text FROM pg_class
    JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'tenant_id' AND NOT attisdropped
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
      AND NOT (relrowsecurity AND relforcerowsecurity
               AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid))
    ORDER BY 1";

/// Checks the connection's role, and every table that it could reach.
pub(crate) async fn check(connection: &mut PgConnection) -> Result<Result<(), Unsafe>, sqlx::Error> {
    let row = sqlx::query(ROLE).persistent(false).fetch_one(&mut *connection).await?;
    let reasons = [
        "is a superuser",
        "has BYPASSRLS",
        "owns tables, or is a member of a role that does",
        "is a member of a role that row-level security does not bind",
    ];
    for (index, why) in (1..).zip(reasons) {
        if row.try_get(index)? {
            return Ok(Err(Unsafe::Role { role: row.try_get(0)?, why }));
        }
    }
    let tables = sqlx::query(TABLES).persistent(false).fetch_all(connection).await?;
    let tables = tables.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    Ok(if tables.is_empty() { Ok(()) } else { Err(Unsafe::Tables { tables }) })
}
