//! Rows of `approval_rules`: one for each tenant that has any.

use powerhouse_domain::ids::AgentId;
use powerhouse_domain::runs::{ApprovalRule, ApprovalRules, Condition, Consequence};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use super::stored::{read, write};
use super::{corrupt, signed, unsigned};

const TABLE: &str = "approval_rules";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "approval_rules")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    pub(crate) rules: Json,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[derive(Serialize, Deserialize)]
struct StoredRule {
    tool: String,
    agents: Vec<AgentId>,
    reason: String,
    /// Older rules hold always.
    #[serde(default = "always")]
    condition: String,
    /// Older rules ask.
    #[serde(default = "ask")]
    consequence: String,
}

fn always() -> String {
    Condition::Always.as_str().to_owned()
}

fn ask() -> String {
    Consequence::Ask.as_str().to_owned()
}

impl From<&ApprovalRule> for StoredRule {
    fn from(rule: &ApprovalRule) -> Self {
        Self {
            tool: rule.tool().to_string(),
            agents: rule.agents().to_vec(),
            reason: rule.reason().to_owned(),
            condition: rule.condition().as_str().to_owned(),
            consequence: rule.consequence().as_str().to_owned(),
        }
    }
}

/// What changes of a row.
pub(crate) fn changes(rules: &ApprovalRules) -> ActiveModel {
    let stored: Vec<StoredRule> = rules.rules().iter().map(Into::into).collect();
    ActiveModel { rules: Set(write(&stored)), version: Set(signed(rules.version())), ..Default::default() }
}

impl TryFrom<Model> for ApprovalRules {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let stored: Vec<StoredRule> = read(TABLE, "rules", row.rules)?;
        let rules = stored.into_iter().map(|StoredRule { tool, agents, reason, condition, consequence }| {
            let tool = tool.parse().map_err(corrupt(TABLE, "rules"))?;
            let condition = condition.parse().map_err(corrupt(TABLE, "rules"))?;
            let consequence = consequence.parse().map_err(corrupt(TABLE, "rules"))?;
            let rule = ApprovalRule::new(tool, agents, reason).map_err(corrupt(TABLE, "rules"))?;
            Ok(rule.that(condition, consequence))
        });
        Ok(Self::restore(rules.collect::<Result<_, StoreError>>()?, unsigned(TABLE, "version", row.version)?))
    }
}
