//! Where the tenant's tools may reach.

use powerhouse_domain::tools::EgressRules;
use powerhouse_usecases::tools::{ReadEgressRules, ReplaceEgressRules};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use super::Tools;
use crate::body::{field, if_match, json};
use crate::guard::principal;
use crate::problem::Problem;
use crate::reply::Reply;

pub(super) fn routes(slice: &Tools) -> Router {
    Router::with_path("egress-rules")
        .get(GetRules(slice.egress.clone()))
        .put(PutRules(slice.replace_egress.clone()))
}

/// The hosts that the tenant's tools and MCP servers may be at.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "EgressRules"))]
struct RulesBody {
    /// Hosts as they stand in URLs, or `*.` and a domain: at most 100. All that the platform allows, when there is no list;
    /// nothing, when it is empty. No list allows more than the platform does.
    #[salvo(schema(example = json!(["crm.example.org", "*.example.com"])))]
    hosts: Option<Vec<String>>,
}

fn reply(rules: &EgressRules) -> Reply<RulesBody> {
    let hosts = rules.hosts().map(|hosts| hosts.iter().map(ToString::to_string).collect());
    Reply::ok(RulesBody { hosts }).version(rules.version())
}

struct GetRules(ReadEgressRules);

/// Where the tenant's tools may reach
#[endpoint(operation_id = "get_egress_rules", tags("tools"), security(["bearer" = []]),
    responses((status_code = 200, description = "The rules.", body = RulesBody)))]
impl GetRules {
    async fn handle(&self, depot: &mut Depot) -> Result<Reply<RulesBody>, Problem> {
        Ok(reply(&self.0.execute(principal(depot)?).await?))
    }
}

struct PutRules(ReplaceEgressRules);

/// Say where the tenant's tools may reach
///
/// The list takes the place of the one before. It holds for runs that a worker begins or takes over from then on.
#[endpoint(operation_id = "update_egress_rules", tags("tools"), security(["bearer" = []]), request_body = RulesBody,
    parameters(("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The rules as changed.", body = RulesBody)))]
impl PutRules {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<RulesBody>, Problem> {
        let version = if_match(req)?;
        let RulesBody { hosts } = json(req).await?;
        let hosts = hosts.map(|hosts| {
            let hosts = hosts.iter().enumerate();
            hosts.map(|(index, host)| field(&format!("/hosts/{index}"), host)).collect::<Result<Vec<_>, _>>()
        });
        Ok(reply(&self.0.execute(principal(depot)?, version, hosts.transpose()?).await?))
    }
}
