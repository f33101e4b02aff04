//! Budgets.

use powerhouse_domain::money::{BudgetScope, Caps, Period};
use powerhouse_usecases::money::{
    BudgetState, ChangeBudget, CreateBudget, CreateBudgetCommand, ListBudgets, ReadBudget, RemoveBudget,
    invalid_caps,
};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use super::{AmountView, Money};
use crate::body::{field, id, if_match, invalid, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply, instant};

pub(super) fn routes(money: &Money) -> Router {
    let one = Router::with_path("{budget_id}")
        .get(GetBudget(money.read.clone()))
        .put(UpdateBudget(money.change.clone()))
        .delete(DeleteBudget(money.remove.clone()));
    Router::with_path("budgets")
        .get(GetBudgets(money.list.clone()))
        .post(PostBudget(money.create.clone()))
        .push(one)
}

/// A new budget.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBudget {
    /// Whose calls count: `tenant`, or the id of a user or of an agent.
    #[salvo(schema(example = "tenant"))]
    scope: String,
    /// `day`, `month` or `total`; days and months are those of UTC.
    #[salvo(schema(example = "day"))]
    period: String,
    /// What may be spent, in millionths of a US dollar.
    #[serde(default)]
    cap_micros: Option<u64>,
    /// How many tokens may be used, in both directions.
    #[serde(default)]
    cap_tokens: Option<u64>,
}

/// The caps of a budget, whole: what is left out has no cap.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BudgetCaps {
    /// What may be spent, in millionths of a US dollar.
    #[serde(default)]
    cap_micros: Option<u64>,
    /// How many tokens may be used, in both directions.
    #[serde(default)]
    cap_tokens: Option<u64>,
}

/// A budget.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Budget"))]
struct BudgetView {
    id: String,
    /// `tenant`, or the id of a user or of an agent.
    scope: String,
    /// `day`, `month` or `total`.
    period: &'static str,
    cap_micros: Option<u64>,
    cap_tokens: Option<u64>,
    /// When the window of now began.
    window_start: String,
    /// When the window of now is over; none for a total.
    resets_at: Option<String>,
    /// What was spent in it.
    spent: AmountView,
    /// What is set aside in it for calls that are under way.
    reserved: AmountView,
    created_at: String,
}

impl From<&BudgetState> for BudgetView {
    fn from(state: &BudgetState) -> Self {
        let budget = &state.budget;
        Self {
            id: budget.id.to_string(),
            scope: match budget.scope {
                BudgetScope::Tenant => "tenant".to_owned(),
                BudgetScope::User(id) => id.to_string(),
                BudgetScope::Agent(id) => id.to_string(),
            },
            period: budget.period.as_str(),
            cap_micros: budget.caps.micros(),
            cap_tokens: budget.caps.tokens(),
            window_start: instant(state.window.start),
            resets_at: state.resets_at.map(instant),
            spent: state.spending.spent.into(),
            reserved: state.spending.reserved.into(),
            created_at: instant(budget.created_at),
        }
    }
}

/// A page of budgets.
#[derive(Debug, Serialize, ToSchema)]
struct BudgetPage {
    items: Vec<BudgetView>,
    /// Where the next page begins; none when this is the last.
    next_cursor: Option<String>,
}

fn scope(text: &str) -> Result<BudgetScope, Problem> {
    if text == "tenant" {
        return Ok(BudgetScope::Tenant);
    }
    let user = text.parse().map(BudgetScope::User).ok();
    user.or_else(|| text.parse().map(BudgetScope::Agent).ok()).ok_or_else(|| {
        invalid("/scope", "a scope is `tenant`, or the id of a user (`user_…`) or of an agent (`agent_…`)")
    })
}

fn reply(state: &BudgetState) -> Reply<BudgetView> {
    Reply::ok(BudgetView::from(state)).version(state.budget.version)
}

fn created(state: &BudgetState) -> Reply<BudgetView> {
    let location = format!("/v1/budgets/{}", state.budget.id);
    Reply::created(location, BudgetView::from(state)).version(state.budget.version)
}

struct GetBudgets(ListBudgets);

/// A page of budgets, with what is left of them
#[endpoint(operation_id = "list_budgets", tags("money"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = BudgetPage)))]
impl GetBudgets {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<BudgetPage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(BudgetPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct PostBudget(CreateBudget);

/// Bound what a tenant, a user or an agent may spend
///
/// Before each model call its worst case is set aside in every budget that counts it; where one has too little left, the
/// call is refused. What was spent never passes the cap.
#[endpoint(operation_id = "create_budget", tags("money"), security(["bearer" = []]), request_body = NewBudget,
    responses((status_code = 201, description = "The budget.", body = BudgetView)))]
impl PostBudget {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<BudgetView>, Problem> {
        let principal = principal(depot)?;
        let NewBudget { scope: text, period, cap_micros, cap_tokens } = json(req).await?;
        let (scope, period) = (scope(&text)?, field::<Period>("/period", &period)?);
        let caps = Caps::new(cap_micros, cap_tokens).map_err(invalid_caps)?;
        let command = CreateBudgetCommand { scope, period, caps };
        answer(self.0.execute(principal, command, &once(depot, created)).await, created)
    }
}

struct GetBudget(ReadBudget);

/// A budget, with what is left of it
#[endpoint(operation_id = "get_budget", tags("money"), security(["bearer" = []]),
    parameters(("budget_id" = String, Path, description = "`budget_…`")),
    responses((status_code = 200, description = "The budget.", body = BudgetView)))]
impl GetBudget {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<BudgetView>, Problem> {
        let id = id(req, "budget_id", "budget")?;
        Ok(reply(&self.0.execute(principal(depot)?, id).await?))
    }
}

struct UpdateBudget(ChangeBudget);

/// Give a budget other caps; what was spent stays spent
#[endpoint(operation_id = "update_budget", tags("money"), security(["bearer" = []]), request_body = BudgetCaps,
    parameters(("budget_id" = String, Path, description = "`budget_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The budget as changed.", body = BudgetView)))]
impl UpdateBudget {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<BudgetView>, Problem> {
        let (id, version) = (id(req, "budget_id", "budget")?, if_match(req)?);
        let BudgetCaps { cap_micros, cap_tokens } = json(req).await?;
        let caps = Caps::new(cap_micros, cap_tokens).map_err(invalid_caps)?;
        Ok(reply(&self.0.execute(principal(depot)?, id, version, caps).await?))
    }
}

struct DeleteBudget(RemoveBudget);

/// Remove a budget; what was used stays in the usage
#[endpoint(operation_id = "delete_budget", tags("money"), security(["bearer" = []]),
    parameters(("budget_id" = String, Path, description = "`budget_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")))]
impl DeleteBudget {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let (id, version) = (id(req, "budget_id", "budget")?, if_match(req)?);
        self.0.execute(principal(depot)?, id, version).await?;
        Ok(NoContent)
    }
}
