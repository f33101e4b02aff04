//! What runs ask people, and the answers.

use powerhouse_domain::runs::{Answer, Approval, Decision, Demand, Question};
use powerhouse_usecases::approvals::{
    AnswerApproval, ListApprovals, ReadApproval, ReadApprovalRules, ReplaceApprovalRules,
};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body::{id, invalid, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{Reply, instant};

mod rules;

/// What the slice uses.
#[derive(Clone)]
pub struct Approvals {
    /// Lists.
    pub list: ListApprovals,
    /// Reads.
    pub read: ReadApproval,
    /// Answers.
    pub answer: AnswerApproval,
    /// Reads rules.
    pub rules: ReadApprovalRules,
    /// Replaces rules.
    pub replace_rules: ReplaceApprovalRules,
}

impl Approvals {
    pub(crate) fn guarded(&self) -> Router {
        let one = Router::with_path("{approval_id}")
            .get(GetApproval(self.read.clone()))
            .push(Router::with_path("answer").post(PostAnswer(self.answer.clone())));
        let all = Router::with_path("approvals").get(GetApprovals(self.list.clone())).push(one);
        Router::new().push(all).push(rules::routes(self))
    }
}

/// A question that a run has asked.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Approval"))]
struct ApprovalView {
    /// `approval_…`
    id: String,
    /// The run that asks.
    run: String,
    /// The effect that it is about.
    key: String,
    /// `tool_call`: may the tool be called? `in_doubt`: what became of a call whose outcome was lost?
    question: &'static str,
    /// The tool.
    tool: String,
    /// Its arguments.
    #[salvo(schema(value_type = Object))]
    arguments: Value,
    /// Who wants the call approved: the `agent`'s definition, its `strategy`, or a `policy` of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    demanded_by: Option<&'static str>,
    /// Why, as the strategy or the policy has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Since when.
    asked_at: String,
    /// Until when it can be answered; silence is a no.
    expires_at: String,
    /// The answer, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<AnswerView>,
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Answer"))]
struct AnswerView {
    /// `approve`, `edit`, `reject` or `settle`.
    decision: &'static str,
    /// The arguments to call with, when edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[salvo(schema(value_type = Option<Object>))]
    arguments: Option<Value>,
    /// Why not, when rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What came of the call, when settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// Whose; nobody's when the time was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// When.
    at: String,
}

impl From<&Answer> for AnswerView {
    fn from(answer: &Answer) -> Self {
        let base = Self {
            decision: "approve",
            arguments: None,
            reason: None,
            output: None,
            by: answer.by.map(|by| by.to_string()),
            at: instant(answer.at),
        };
        match answer.decision.clone() {
            Decision::Approve => base,
            Decision::Edit { arguments } => Self { decision: "edit", arguments: Some(arguments), ..base },
            Decision::Reject { reason } => Self { decision: "reject", reason: Some(reason), ..base },
            Decision::Settle { output } => Self { decision: "settle", output: Some(output), ..base },
        }
    }
}

impl From<&Approval> for ApprovalView {
    fn from(approval: &Approval) -> Self {
        let (question, tool, arguments, demand) = match approval.question().clone() {
            Question::ToolCall { name, arguments, demand } => ("tool_call", name, arguments, Some(demand)),
            Question::InDoubt { name, arguments } => ("in_doubt", name, arguments, None),
        };
        let (demanded_by, reason) = match demand {
            None => (None, None),
            Some(Demand::Agent) => (Some("agent"), None),
            Some(Demand::Strategy { reason }) => (Some("strategy"), Some(reason)),
            Some(Demand::Policy { reason }) => (Some("policy"), Some(reason)),
        };
        Self {
            id: approval.id().to_string(),
            run: approval.run().to_string(),
            key: approval.key().to_string(),
            question,
            tool,
            arguments,
            demanded_by,
            reason,
            asked_at: instant(approval.asked_at()),
            expires_at: instant(approval.expires_at()),
            answer: approval.answer().map(AnswerView::from),
        }
    }
}

/// A page of approvals.
#[derive(Debug, Serialize, ToSchema)]
struct ApprovalPage {
    items: Vec<ApprovalView>,
    /// The cursor of the next page, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

struct GetApprovals(ListApprovals);

/// A page of what runs have asked, newest first
#[endpoint(operation_id = "list_approvals", tags("approvals"), security(["bearer" = []]),
    parameters(("state" = Option<String>, Query, description = "`open` for those without an answer; all when left out"),
               ("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = ApprovalPage)))]
impl GetApprovals {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ApprovalPage>, Problem> {
        let only_open = match req.query::<String>("state").as_deref() {
            None => false,
            Some("open") => true,
            Some(_) => return Err(invalid("/state", "must be `open`, or left out")),
        };
        let (before, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, only_open, before, limit).await?;
        let items = page.items.iter().map(ApprovalView::from).collect();
        Ok(Reply::ok(ApprovalPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct GetApproval(ReadApproval);

/// What a run has asked, with the answer if there is one
#[endpoint(operation_id = "get_approval", tags("approvals"), security(["bearer" = []]),
    parameters(("approval_id" = String, Path, description = "`approval_…`")),
    responses((status_code = 200, description = "The approval.", body = ApprovalView)))]
impl GetApproval {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ApprovalView>, Problem> {
        let id = id(req, "approval_id", "approval")?;
        Ok(Reply::ok(ApprovalView::from(&self.0.execute(principal(depot)?, id).await?)))
    }
}

/// An answer.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "decision", rename_all = "snake_case", deny_unknown_fields)]
enum NewAnswer {
    /// The call is made, again if it is in doubt.
    Approve {},
    /// The call is made with other arguments.
    Edit {
        /// The arguments.
        #[salvo(schema(value_type = Object))]
        arguments: Value,
    },
    /// The call is not made, and the model is told why.
    Reject {
        /// Why.
        reason: String,
    },
    /// The call that was in doubt did take effect.
    Settle {
        /// What came of it.
        output: String,
    },
}

impl From<NewAnswer> for Decision {
    fn from(body: NewAnswer) -> Self {
        match body {
            NewAnswer::Approve {} => Self::Approve,
            NewAnswer::Edit { arguments } => Self::Edit { arguments },
            NewAnswer::Reject { reason } => Self::Reject { reason },
            NewAnswer::Settle { output } => Self::Settle { output },
        }
    }
}

fn shown(approval: &Approval) -> Reply<ApprovalView> {
    Reply::ok(approval.into())
}

struct PostAnswer(AnswerApproval);

/// Answer what a run has asked, once; the run goes on
#[endpoint(operation_id = "answer_approval", tags("approvals"), security(["bearer" = []]), request_body = NewAnswer,
    parameters(("approval_id" = String, Path, description = "`approval_…`")),
    responses((status_code = 200, description = "The approval with its answer.", body = ApprovalView)))]
impl PostAnswer {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ApprovalView>, Problem> {
        let id = id(req, "approval_id", "approval")?;
        let decision = json::<NewAnswer>(req).await?.into();
        answer(self.0.execute(principal(depot)?, id, decision, &once(depot, shown)).await, shown)
    }
}
