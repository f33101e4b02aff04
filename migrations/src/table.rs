//! What the tables have in common.

use sea_orm_migration::prelude::*;

/// A table of a tenant's rows: its key begins with the tenant.
pub(crate) fn tenant_table(name: &'static str, key: &[&'static str]) -> TableCreateStatement {
    let mut primary = Index::create();
    primary.col("tenant_id");
    for column in key {
        primary.col(*column);
    }
    Table::create()
        .table(name)
        .col(ColumnDef::new("tenant_id").uuid().not_null())
        .primary_key(&mut primary)
        .to_owned()
}

/// A foreign key that carries the tenant, so that no row can point into another one's.
pub(crate) fn foreign_key(
    from: &'static str,
    columns: &[&'static str],
    to: &'static str,
    keys: &[&'static str],
) -> ForeignKeyCreateStatement {
    let mut key = ForeignKey::create();
    key.from_tbl(from).to_tbl(to).from_col("tenant_id");
    key.to_col(if to == "tenants" { "id" } else { "tenant_id" });
    for column in columns {
        key.from_col(*column);
    }
    for column in keys {
        key.to_col(*column);
    }
    key.on_delete(ForeignKeyAction::Cascade);
    key
}

/// An index named after its table and `purpose`.
pub(crate) fn index(table: &'static str, purpose: &str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(format!("{table}_{purpose}")).table(table);
    for column in columns {
        index.col(*column);
    }
    index
}

pub(crate) fn uuid(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).uuid().not_null().take()
}

pub(crate) fn text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().not_null().take()
}

pub(crate) fn integer(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().take()
}

pub(crate) fn json(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).json_binary().not_null().take()
}

pub(crate) fn instant(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).timestamp_with_time_zone().not_null().take()
}

pub(crate) fn instant_or_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).timestamp_with_time_zone().null().take()
}
