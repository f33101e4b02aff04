//! What is added to a tenant's audit trail, in the transaction of whoever does what is written down.

use powerhouse_domain::audit::{AuditRecord, Entry, Head};
use powerhouse_domain::ids::TenantId;
use powerhouse_ports::request;
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{CommonTableExpression, Expr, OnConflict, WithClause};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QuerySelect, QueryTrait as _,
};

use crate::error::{read_error, store_error};
use crate::rows::{audit_head as head, audit_record as record, signed};

pub(crate) const AUDIT: &str = "audit record";

/// Adds to the end of the tenant's trail: two round trips on PostgreSQL. The trail is locked from then on, until the
/// transaction ends.
pub(crate) async fn append(
    tx: &impl ConnectionTrait,
    tenant: TenantId,
    entry: Entry,
) -> Result<(), StoreError> {
    let mut end = locked(tx, tenant).await?;
    if end.is_none() {
        begin(tx, tenant).await?;
        end = locked(tx, tenant).await?;
    }
    let end = end.unwrap_or_else(|| Head::genesis(tenant));
    write(tx, &end.next(tenant, entry.asked_by(request::correlation_id()))).await
}

async fn locked(tx: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<Head>, StoreError> {
    let query = head::Entity::find().filter(head::Column::TenantId.eq(tenant.as_uuid())).lock_exclusive();
    query.one(tx).await.map_err(read_error::<head::Entity>(AUDIT))?.map(Head::try_from).transpose()
}

/// The trail of a tenant that has none yet, whoever else begins it at the same time.
async fn begin(tx: &impl ConnectionTrait, tenant: TenantId) -> Result<(), StoreError> {
    let Head { seq, at, hash } = Head::genesis(tenant);
    let row = head::ActiveModel {
        tenant_id: Set(tenant.as_uuid()),
        seq: Set(signed(seq)),
        at: Set(at),
        hash: Set(hash.as_bytes().to_vec()),
    };
    let unless_there = OnConflict::column(head::Column::TenantId).do_nothing().to_owned();
    let insert = head::Entity::insert(row).on_conflict(unless_there);
    insert.exec_without_returning(tx).await.map_err(store_error(AUDIT))?;
    Ok(())
}

/// Stores a record and moves the head on to it.
async fn write(tx: &impl ConnectionTrait, record: &AuditRecord) -> Result<(), StoreError> {
    let end = Head::after(record);
    let update = head::Entity::update_many()
        .filter(head::Column::TenantId.eq(record.tenant.as_uuid()))
        .col_expr(head::Column::Seq, Expr::val(signed(end.seq)))
        .col_expr(head::Column::At, Expr::val(end.at))
        .col_expr(head::Column::Hash, Expr::val(end.hash.as_bytes().to_vec()));
    let insert = record::Entity::insert(record::ActiveModel::from(record));
    if tx.get_database_backend() == DbBackend::Postgres {
        let mut moved = CommonTableExpression::new();
        moved.table_name("moved").query(update.into_query());
        let both = insert.into_query().with(WithClause::new().cte(moved).to_owned());
        tx.execute(&both).await.map_err(store_error(AUDIT))?;
    } else {
        update.exec(tx).await.map_err(store_error(AUDIT))?;
        insert.exec_without_returning(tx).await.map_err(store_error(AUDIT))?;
    }
    Ok(())
}
