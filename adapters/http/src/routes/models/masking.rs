//! What is masked in what is sent to models.

use powerhouse_domain::masking::{Class, MaskingRules};
use powerhouse_usecases::catalogue::{ReadMaskingRules, ReplaceMaskingRules};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use super::Models;
use crate::body::{field, if_match, invalid, json};
use crate::guard::principal;
use crate::problem::Problem;
use crate::reply::Reply;

pub(super) fn routes(slice: &Models) -> Router {
    Router::with_path("masking-rules")
        .get(GetRules(slice.masking.clone()))
        .put(PutRules(slice.replace_masking.clone()))
}

/// What no model is told.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "MaskingRules"))]
struct RulesBody {
    /// `email`, `phone`, `card`, `iban`, `ssn`, `ip`: placeholders such as `<EMAIL_1>` go in their place, and what they stand
    /// for is put back into the reply. `secret`: tokens, passwords and keys, which are not put back.
    #[salvo(schema(example = json!(["email", "phone", "secret"])))]
    classes: Vec<String>,
}

fn reply(rules: &MaskingRules) -> Reply<RulesBody> {
    let classes = rules.classes.iter().map(|class| class.to_string()).collect();
    Reply::ok(RulesBody { classes }).version(rules.version)
}

struct GetRules(ReadMaskingRules);

/// What is masked in what is sent to models
#[endpoint(operation_id = "get_masking_rules", tags("models"), security(["bearer" = []]),
    responses((status_code = 200, description = "The rules.", body = RulesBody)))]
impl GetRules {
    async fn handle(&self, depot: &mut Depot) -> Result<Reply<RulesBody>, Problem> {
        Ok(reply(&self.0.execute(principal(depot)?).await?))
    }
}

struct PutRules(ReplaceMaskingRules);

/// Say what is masked in what is sent to models
///
/// The list takes the place of the one before, from the next call of a model on; on other replicas within five seconds. It holds
/// for texts that are made into vectors too: there a placeholder is the class alone.
#[endpoint(operation_id = "update_masking_rules", tags("models"), security(["bearer" = []]), request_body = RulesBody,
    parameters(("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The rules as changed.", body = RulesBody)))]
impl PutRules {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<RulesBody>, Problem> {
        let version = if_match(req)?;
        let RulesBody { classes } = json(req).await?;
        if classes.len() > Class::ALL.len() {
            return Err(invalid("/classes", format!("at most {} classes", Class::ALL.len())));
        }
        let classes = classes.iter().enumerate();
        let classes = classes.map(|(index, class)| field::<Class>(&format!("/classes/{index}"), class));
        let classes = classes.collect::<Result<_, _>>()?;
        Ok(reply(&self.0.execute(principal(depot)?, version, classes).await?))
    }
}
