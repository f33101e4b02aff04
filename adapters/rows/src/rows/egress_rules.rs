//! Rows of `egress_rules`: one for each tenant that has any.

use powerhouse_domain::tools::EgressRules;
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::stored::{read, write};
use super::{corrupt, signed, unsigned};

const TABLE: &str = "egress_rules";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "egress_rules")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    pub(crate) hosts: Option<Json>,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What changes of a row.
pub(crate) fn changes(rules: &EgressRules) -> ActiveModel {
    let hosts = rules.hosts().map(|hosts| write(&hosts.iter().map(ToString::to_string).collect::<Vec<_>>()));
    ActiveModel { hosts: Set(hosts), version: Set(signed(rules.version())), ..Default::default() }
}

impl TryFrom<Model> for EgressRules {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let hosts: Option<Vec<String>> = row.hosts.map(|hosts| read(TABLE, "hosts", hosts)).transpose()?;
        let hosts = hosts.map(|hosts| hosts.iter().map(|host| host.parse()).collect::<Result<_, _>>());
        let hosts = hosts.transpose().map_err(corrupt(TABLE, "hosts"))?;
        Ok(Self::restore(hosts, unsigned(TABLE, "version", row.version)?))
    }
}
