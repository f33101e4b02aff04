//! Why a run went as it did, as callers read it.

use chrono::TimeDelta;
use powerhouse_domain::access::{Action, Role};
use powerhouse_domain::effects::{Barred, EffectOutcome};
use powerhouse_domain::model::Routed;
use powerhouse_domain::runs::{
    Asked, Attempt, Cost, Explanation, LostCall, Pause, Question, Run, RunLimits, StepKind, StepTold, Times,
    Told, Wait,
};
use powerhouse_usecases::runs::ExplainRun;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::Serialize;
use serde_json::Value;

use super::views::{FailureView, SelectionView, UsageView, failure};
use crate::body::id;
use crate::guard::principal;
use crate::problem::Problem;
use crate::reply::{Reply, instant};

/// Why a run went as it did.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Explanation"))]
struct ExplanationView {
    run: String,
    /// `queued`, `running`, `waiting`, `succeeded`, `failed`, `cancelled` or `timed_out`.
    status: &'static str,
    /// Why there is no answer, once it has failed.
    failure: Option<FailureView>,
    admission: AdmissionView,
    selection: ChoiceView,
    /// The run that it was made from.
    forked: Option<ForkedView>,
    times: TimesView,
    cost: CostView,
    /// Each time that a worker began it, or took it over.
    attempts: Vec<AttemptView>,
    steps: Vec<StepToldView>,
    /// When it waited, and for what.
    waits: Vec<WaitView>,
    /// When people let it stand still.
    pauses: Vec<PauseView>,
    /// What it did, in 64 hexadecimal digits: the same for every run that asked the same and was answered the same, in
    /// the same order. `powerhouse replay` compares it.
    event_hash: String,
}

/// Which rules the run was admitted by, and bound by.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Admission"))]
struct AdmissionView {
    requested_by: String,
    /// What had to be allowed: `runs.create`.
    action: &'static str,
    /// The role that allowed it, as it was then; runs from before this was kept have none.
    role: Option<&'static str>,
    /// The stricter of what the agent's definition and the tenant's plan allow.
    limits: ExplainedLimits,
    /// The budgets that its model calls were counted against.
    budgets: Vec<String>,
}

/// What the run may use.
#[derive(Debug, Serialize, ToSchema)]
struct ExplainedLimits {
    /// Model and tool calls together.
    steps: u32,
    tokens: u64,
    /// Millionths of a US dollar; 0 sets no bound.
    cost_micros: u64,
    /// Seconds from the start, less what it waited for people.
    seconds: u64,
}

impl From<&RunLimits> for ExplainedLimits {
    fn from(limits: &RunLimits) -> Self {
        let RunLimits { steps, tokens, cost_micros, wall_clock } = *limits;
        Self { steps, tokens, cost_micros, seconds: wall_clock.as_secs() }
    }
}

/// How the agent was chosen.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Choice"))]
struct ChoiceView {
    /// `named` by the caller, or `scored` among the published agents that fit.
    by: &'static str,
    #[serde(flatten)]
    selection: SelectionView,
}

/// Where a fork begins.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Forked"))]
struct ForkedView {
    /// The other run.
    from: String,
    /// The first step that was not taken over as it was.
    step: String,
}

/// How long it took, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Times"))]
struct TimesView {
    created_at: String,
    started_at: Option<String>,
    /// From when it might be claimed to when a worker first had it.
    queued_ms: Option<i64>,
    /// For what it waited outside, in all.
    waited_ms: i64,
    /// From its first worker to its end, or to its last event, less what it waited.
    worked_ms: i64,
}

impl TimesView {
    fn new(run: &Run, times: &Times) -> Self {
        Self {
            created_at: instant(run.created_at()),
            started_at: run.state().started_at().map(instant),
            queued_ms: times.queued.as_ref().map(TimeDelta::num_milliseconds),
            waited_ms: times.waited.num_milliseconds(),
            worked_ms: times.worked.num_milliseconds(),
        }
    }
}

/// What it cost: `used` is `steps` and those of the `lost` calls that count.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Cost"))]
struct CostView {
    /// What counts for the run.
    used: UsageView,
    /// What its steps used.
    steps: UsageView,
    /// Calls whose outcome nobody knows: whoever made them was lost, or the run ended. They may have been billed.
    lost: Vec<LostView>,
    /// What is set aside for calls that are under way.
    reserved: UsageView,
}

/// A call whose outcome nobody knows.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "LostCall"))]
struct LostView {
    /// The effect.
    key: String,
    model: String,
    /// The most that it can have used.
    amount: UsageView,
    /// When it was found lost.
    at: String,
    /// Whether it counts for the run; if not, it counts for budgets and the tenant's usage only.
    counts_for_run: bool,
}

impl From<&LostCall> for LostView {
    fn from(call: &LostCall) -> Self {
        Self {
            key: call.key.to_string(),
            model: call.model.clone(),
            amount: call.amount.into(),
            at: instant(call.at),
            counts_for_run: call.counts,
        }
    }
}

impl From<&Cost> for CostView {
    fn from(cost: &Cost) -> Self {
        Self {
            used: cost.used.into(),
            steps: cost.steps.into(),
            lost: cost.lost.iter().map(Into::into).collect(),
            reserved: cost.reserved.into(),
        }
    }
}

/// A worker's claim on the run.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Attempt"))]
struct AttemptView {
    /// Grows with every claim.
    number: u32,
    at: String,
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        Self { number: attempt.number, at: instant(attempt.at) }
    }
}

/// A step, and how it came about.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "StepTold"))]
struct StepToldView {
    /// Counts from 1, as `powerhouse replay` does.
    number: usize,
    /// The first event that tells of it.
    seq: u64,
    /// Where the strategy asked for it.
    key: String,
    id: Option<String>,
    /// `model`, `tool` or `run`.
    kind: &'static str,
    /// What a model call is for, or the tool's or the agent's name.
    name: String,
    /// `asked`, `running`, `succeeded` or `failed`.
    status: &'static str,
    /// The model that answered.
    model: Option<String>,
    /// What was wrong with its reply by the schema that was asked for. A step below this one, `repair_…`, sent it back.
    flaw: Option<String>,
    /// How it came to be answered, where that was not by the first choice alone.
    routed: Option<RoutedView>,
    /// A hash of what was asked for.
    request: Option<String>,
    /// Each time that it was begun. More than once: it was performed again.
    begun: Vec<String>,
    ended_at: Option<String>,
    /// From its last beginning to its end, in milliseconds.
    duration_ms: Option<i64>,
    usage: UsageView,
    /// Whether it was taken over from the run that this one was made from, which has paid for it.
    taken_over: bool,
    /// Whether its call was lost in a crash, so that a person was asked what became of it.
    in_doubt: bool,
    /// What people were asked about it.
    asked: Vec<AskedView>,
    /// Why it did not begin, where that is because whoever asked for the run may not run the agent.
    barred: Option<BarredView>,
}

impl From<&StepTold> for StepToldView {
    fn from(told: &StepTold) -> Self {
        let (kind, name) = match &told.kind {
            StepKind::Model { purpose } => ("model", purpose),
            StepKind::Tool { name } => ("tool", name),
            StepKind::Run { agent } => ("run", agent),
        };
        let outcome = told.ended.as_ref().map(|(outcome, _)| outcome);
        let reply = outcome.and_then(|outcome| match outcome {
            EffectOutcome::Model(reply) => Some(reply),
            EffectOutcome::Tool(_) | EffectOutcome::Run(_) | EffectOutcome::Failed(_) => None,
        });
        Self {
            number: told.number,
            seq: told.seq,
            key: told.key.to_string(),
            id: told.id.map(|id| id.to_string()),
            kind,
            name: name.clone(),
            status: match outcome {
                Some(outcome) if outcome.is_failure() => "failed",
                Some(_) => "succeeded",
                None if told.begun.is_empty() => "asked",
                None => "running",
            },
            model: reply.map(|reply| reply.model.clone()),
            flaw: reply.and_then(|reply| reply.flaw.clone()),
            routed: reply.and_then(|reply| reply.routed.as_deref()).map(Into::into),
            request: told.fingerprint.as_ref().map(ToString::to_string),
            begun: told.begun.iter().copied().map(instant).collect(),
            ended_at: told.ended.as_ref().map(|(_, at)| instant(*at)),
            duration_ms: told.duration().as_ref().map(TimeDelta::num_milliseconds),
            usage: told.usage().into(),
            taken_over: told.is_taken_over,
            in_doubt: told.was_in_doubt(),
            asked: told.asked.iter().map(Into::into).collect(),
            barred: told.barred().map(Into::into),
        }
    }
}

/// What whoever asked for the run lacked when another agent was to begin.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Barred"))]
struct BarredView {
    /// What had to be allowed: `runs.create`.
    action: &'static str,
    /// The role that they had then; none when they were no active member any more.
    role: Option<&'static str>,
}

impl From<Barred> for BarredView {
    fn from(barred: Barred) -> Self {
        let role = match barred {
            Barred::Role(role) => Some(role.as_str()),
            Barred::Gone => None,
        };
        Self { action: Action::RunsCreate.as_str(), role }
    }
}

/// How a model call came to be answered.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Routed"))]
struct RoutedView {
    /// The model that answered, as the catalogue names it.
    model: String,
    /// Its provider, where it is one of the tenant's own.
    provider: Option<String>,
    /// The models that were to answer before it, and could not.
    passed_over: Vec<String>,
    /// Whether it was asked twice, since the first answer was late; both are counted.
    is_hedged: bool,
}

impl From<&Routed> for RoutedView {
    fn from(routed: &Routed) -> Self {
        let Routed { model, provider, passed_over, is_hedged } = routed.clone();
        Self { model, provider, passed_over, is_hedged }
    }
}

/// What a person was asked.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Asked"))]
struct AskedView {
    approval: String,
    /// `tool_call`: may the tool be called? `in_doubt`: what became of a call whose outcome was lost?
    question: &'static str,
    /// The arguments that they were shown.
    #[salvo(schema(value_type = Object))]
    arguments: Value,
    at: String,
    expires_at: String,
    /// `approve`, `edit`, `reject` or `settle`, with what belongs to it.
    #[salvo(schema(value_type = Option<Object>))]
    answer: Option<Value>,
    /// Who answered; nobody when the time was over.
    answered_by: Option<String>,
    answered_at: Option<String>,
}

impl From<&Asked> for AskedView {
    fn from(asked: &Asked) -> Self {
        let (question, arguments) = match &asked.question {
            Question::ToolCall { arguments, .. } => ("tool_call", arguments),
            Question::InDoubt { arguments, .. } => ("in_doubt", arguments),
        };
        let answer = asked.answer.as_ref();
        Self {
            approval: asked.approval.to_string(),
            question,
            arguments: arguments.clone(),
            at: instant(asked.at),
            expires_at: instant(asked.expires_at),
            answer: answer.map(|Told { decision, .. }| serde_json::to_value(decision).unwrap_or_default()),
            answered_by: answer.and_then(|told| told.by).map(|by| by.to_string()),
            answered_at: answer.map(|told| instant(told.at)),
        }
    }
}

/// A time in which no worker had the run.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Wait"))]
struct WaitView {
    reason: String,
    from: String,
    /// It still waits when there is none.
    until: Option<String>,
}

impl From<&Wait> for WaitView {
    fn from(wait: &Wait) -> Self {
        Self { reason: wait.reason.clone(), from: instant(wait.from), until: wait.until.map(instant) }
    }
}

/// A time in which nothing was begun because somebody wanted it so.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Pause"))]
struct PauseView {
    by: String,
    from: String,
    resumed_by: Option<String>,
    resumed_at: Option<String>,
}

impl From<&Pause> for PauseView {
    fn from(pause: &Pause) -> Self {
        Self {
            by: pause.by.to_string(),
            from: instant(pause.from),
            resumed_by: pause.resumed.map(|(by, _)| by.to_string()),
            resumed_at: pause.resumed.map(|(_, at)| instant(at)),
        }
    }
}

impl ExplanationView {
    fn new(run: &Run, told: &Explanation) -> Self {
        let selection = run.selection();
        Self {
            run: run.id().to_string(),
            status: run.state().name().as_str(),
            failure: failure(run.state()),
            admission: AdmissionView {
                requested_by: run.requested_by().to_string(),
                action: Action::RunsCreate.as_str(),
                role: told.admitted_as.map(Role::as_str),
                limits: run.limits().into(),
                budgets: told.budgets.iter().map(ToString::to_string).collect(),
            },
            selection: ChoiceView {
                by: if selection.scores.is_empty() { "named" } else { "scored" },
                selection: selection.into(),
            },
            forked: told
                .forked
                .as_ref()
                .map(|(from, step)| ForkedView { from: from.to_string(), step: step.to_string() }),
            times: TimesView::new(run, &told.times),
            cost: (&told.cost).into(),
            attempts: told.attempts.iter().map(Into::into).collect(),
            steps: told.steps.iter().map(Into::into).collect(),
            waits: told.waits.iter().map(Into::into).collect(),
            pauses: told.pauses.iter().map(Into::into).collect(),
            event_hash: told.hash.to_string(),
        }
    }
}

pub(super) struct Explain(pub(super) ExplainRun);

/// Why a run went as it did
///
/// Which rules admitted it, why its agent was chosen, what each step cost and how long it took, which were performed
/// again or were in doubt, what people were asked and said, when it waited, and which calls were lost.
#[endpoint(operation_id = "explain_run", tags("runs"), security(["bearer" = []]),
    parameters(("run_id" = String, Path, description = "`run_…`")),
    responses((status_code = 200, description = "The explanation.", body = ExplanationView)))]
impl Explain {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<ExplanationView>, Problem> {
        let (run, told) = self.0.execute(principal(depot)?, id(req, "run_id", "run")?).await?;
        Ok(Reply::ok(ExplanationView::new(&run, &told)))
    }
}
