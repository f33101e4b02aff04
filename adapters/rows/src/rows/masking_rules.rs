//! Rows of `masking_rules`: one for each tenant that has any.

use powerhouse_domain::masking::{Class, MaskingRules};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::stored::{read, write};
use super::{corrupt, signed, unsigned};

const TABLE: &str = "masking_rules";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "masking_rules")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    pub(crate) classes: Json,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What changes of a row.
pub(crate) fn changes(rules: &MaskingRules) -> ActiveModel {
    let classes = write(&rules.classes.iter().map(Class::as_str).collect::<Vec<_>>());
    ActiveModel { classes: Set(classes), version: Set(signed(rules.version)), ..Default::default() }
}

impl TryFrom<Model> for MaskingRules {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let classes: Vec<String> = read(TABLE, "classes", row.classes)?;
        let classes = classes.iter().map(|class| class.parse::<Class>()).collect::<Result<_, _>>();
        Ok(Self {
            classes: classes.map_err(corrupt(TABLE, "classes"))?,
            version: unsigned(TABLE, "version", row.version)?,
        })
    }
}
