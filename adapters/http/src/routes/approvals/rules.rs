//! Rules on which calls of tools a person has to approve.

use powerhouse_domain::runs::{ApprovalRule, ApprovalRules, Condition, Consequence, InvalidRule};
use powerhouse_usecases::approvals::{ReadApprovalRules, ReplaceApprovalRules};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use super::Approvals;
use crate::body::{field, if_match, invalid, json};
use crate::guard::principal;
use crate::problem::Problem;
use crate::reply::Reply;

pub(super) fn routes(slice: &Approvals) -> Router {
    Router::with_path("approval-rules")
        .get(GetRules(slice.rules.clone()))
        .put(PutRules(slice.replace_rules.clone()))
}

/// A rule: a person has to approve the calls of these tools, or they are not made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "ApprovalRule"))]
struct RuleBody {
    /// The tool's name; or its beginning and `*`, for all tools whose names begin so.
    #[salvo(schema(example = "http_*"))]
    tool: String,
    /// The agents whose calls are meant, at most 100; everybody's when left out.
    #[serde(default)]
    agents: Vec<String>,
    /// Why, for whoever is asked: at most 500 characters.
    #[serde(default)]
    reason: String,
    /// When it holds: `always`; `after_untrusted`, once the run has read anything from outside; or `tainted`, when an argument
    /// was copied from there.
    #[serde(default = "always")]
    #[salvo(schema(example = "after_untrusted"))]
    when: String,
    /// What comes of it: `ask`, a person is asked; or `refuse`, the call is not made.
    #[serde(default = "ask")]
    #[salvo(schema(example = "refuse"))]
    then: String,
}

fn always() -> String {
    Condition::Always.as_str().to_owned()
}

fn ask() -> String {
    Consequence::Ask.as_str().to_owned()
}

impl From<&ApprovalRule> for RuleBody {
    fn from(rule: &ApprovalRule) -> Self {
        Self {
            tool: rule.tool().to_string(),
            agents: rule.agents().iter().map(ToString::to_string).collect(),
            reason: rule.reason().to_owned(),
            when: rule.condition().as_str().to_owned(),
            then: rule.consequence().as_str().to_owned(),
        }
    }
}

impl RuleBody {
    fn into_domain(self, index: usize) -> Result<ApprovalRule, Problem> {
        let at = |part: &str| format!("/items/{index}/{part}");
        let agents = self.agents.iter().enumerate();
        let agents = agents.map(|(number, agent)| field(&at(&format!("agents/{number}")), agent));
        let agents = agents.collect::<Result<Vec<_>, _>>()?;
        let (condition, consequence) = (field(&at("when"), &self.when)?, field(&at("then"), &self.then)?);
        let rule =
            ApprovalRule::new(field(&at("tool"), &self.tool)?, agents, self.reason).map_err(|error| {
                let part = match error {
                    InvalidRule::TooManyAgents => "agents",
                    InvalidRule::ReasonTooLong | InvalidRule::TooManyRules => "reason",
                };
                invalid(&at(part), error)
            })?;
        Ok(rule.that(condition, consequence))
    }
}

/// All rules of a tenant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "ApprovalRules"))]
struct RulesBody {
    /// The rules, at most 100. The first that is about a call gives the reason.
    items: Vec<RuleBody>,
}

fn reply(rules: &ApprovalRules) -> Reply<RulesBody> {
    Reply::ok(RulesBody { items: rules.rules().iter().map(Into::into).collect() }).version(rules.version())
}

struct GetRules(ReadApprovalRules);

/// Which calls of tools a person has to approve, whatever agents say
#[endpoint(operation_id = "get_approval_rules", tags("approvals"), security(["bearer" = []]),
    responses((status_code = 200, description = "The rules.", body = RulesBody)))]
impl GetRules {
    async fn handle(&self, depot: &mut Depot) -> Result<Reply<RulesBody>, Problem> {
        Ok(reply(&self.0.execute(principal(depot)?).await?))
    }
}

struct PutRules(ReplaceApprovalRules);

/// Say which calls of tools a person has to approve
///
/// The list takes the place of the one before. It holds for calls that are begun from then on, of runs that are under way too.
#[endpoint(operation_id = "update_approval_rules", tags("approvals"), security(["bearer" = []]),
    request_body = RulesBody,
    parameters(("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The rules as changed.", body = RulesBody)))]
impl PutRules {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<RulesBody>, Problem> {
        let version = if_match(req)?;
        let RulesBody { items } = json(req).await?;
        let rules = items.into_iter().enumerate().map(|(index, rule)| rule.into_domain(index));
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        Ok(reply(&self.0.execute(principal(depot)?, version, rules).await?))
    }
}
