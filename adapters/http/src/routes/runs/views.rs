//! Runs, steps and events as callers read them.

use powerhouse_domain::effects::EffectOutcome;
use powerhouse_domain::ids::{AgentId, RunId};
use powerhouse_domain::model::{Channel, Usage};
use powerhouse_domain::runs::{
    EventBody, Feedback, Run, RunEvent, RunFailure, RunState, Selection, Step, StepKind, StepState, Verdict,
};
use salvo::oapi::ToSchema;
use salvo::sse::SseEvent;
use serde::Serialize;

use super::VerdictBody;
use super::formation::FormationBody;
use crate::reply::instant;

/// What was used.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Usage"))]
pub(super) struct UsageView {
    input_tokens: u64,
    output_tokens: u64,
    /// Millionths of a US dollar.
    cost_micros: u64,
    /// Of the tokens read, those that the provider had kept from an earlier call.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_tokens: Option<u64>,
    /// Of the tokens read, those that it keeps for later calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

impl From<Usage> for UsageView {
    fn from(usage: Usage) -> Self {
        let Usage { input_tokens, output_tokens, cost_micros, cache_read_tokens, cache_write_tokens } = usage;
        let told = |tokens: u64| Some(tokens).filter(|tokens| *tokens > 0);
        Self {
            input_tokens,
            output_tokens,
            cost_micros,
            cache_read_tokens: told(cache_read_tokens),
            cache_write_tokens: told(cache_write_tokens),
        }
    }
}

/// Why an agent was chosen.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Selection"))]
pub(super) struct SelectionView {
    agent: String,
    agent_version: u32,
    reason: String,
    /// The best candidates, best first.
    scores: Vec<ScoreView>,
    /// How likely this agent was to be chosen; none when the caller named it.
    propensity: Option<f64>,
    /// Every agent that could have been chosen, and how likely each was.
    propensities: Vec<PropensityView>,
    /// The revision of what the tenant's selection knew; see `GET /v1/selection`.
    revision: Option<u64>,
}

impl From<&Selection> for SelectionView {
    fn from(selection: &Selection) -> Self {
        let scores = selection.scores.iter();
        Self {
            agent: selection.agent.to_string(),
            agent_version: selection.agent_version,
            reason: selection.reason.clone(),
            scores: scores
                .map(|(agent, score)| ScoreView { agent: agent.to_string(), score: *score })
                .collect(),
            propensity: selection.propensity(),
            propensities: selection.propensities.iter().map(Into::into).collect(),
            revision: selection.revision,
        }
    }
}

/// A candidate's score.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Score"))]
struct ScoreView {
    agent: String,
    score: f64,
}

/// How likely an agent was to be chosen.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Propensity"))]
struct PropensityView {
    agent: String,
    propensity: f64,
}

impl From<&(AgentId, f64)> for PropensityView {
    fn from((agent, propensity): &(AgentId, f64)) -> Self {
        Self { agent: agent.to_string(), propensity: *propensity }
    }
}

/// Why a run has no answer.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "RunFailure"))]
pub(super) struct FailureView {
    /// Stable, for programs.
    code: String,
    message: String,
}

pub(super) fn failure(state: &RunState) -> Option<FailureView> {
    let RunState::Failed { failure: RunFailure { code, message }, .. } = state else { return None };
    Some(FailureView { code: code.clone(), message: message.clone() })
}

/// A run.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Run"))]
pub(super) struct RunView {
    id: String,
    task: String,
    /// `queued`, `running`, `waiting`, `succeeded`, `failed`, `cancelled` or `timed_out`.
    status: &'static str,
    /// The answer, once it has succeeded.
    answer: Option<String>,
    /// Why there is none, once it has failed.
    failure: Option<FailureView>,
    /// What it waits for, while it does.
    waiting_for: Option<String>,
    selection: SelectionView,
    /// The agents that work on the task before the one that was chosen, if any do.
    #[serde(skip_serializing_if = "Option::is_none")]
    formation: Option<FormationBody>,
    /// The run that began it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// The run that somebody asked for, if that is another one: see its `tree`.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// The conversation that it is a turn of, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
    /// Its number among the conversation's runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
    /// With what the runs used that it began.
    usage: UsageView,
    requested_by: String,
    /// How urgent it is among the tenant's runs: 0 to 9.
    priority: u8,
    /// When it may begin; at once when there is none.
    not_before: Option<String>,
    /// When it is timed out.
    deadline: Option<String>,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        let mut view = Self {
            id: run.id().to_string(),
            task: run.task().as_str().to_owned(),
            status: run.state().name().as_str(),
            answer: None,
            failure: failure(run.state()),
            waiting_for: None,
            selection: run.selection().into(),
            formation: run.selection().formation.as_ref().map(FormationBody::from),
            parent: run.lineage().map(|lineage| lineage.parent.to_string()),
            root: run.lineage().map(|lineage| lineage.root.to_string()),
            thread: run.place_in_thread().map(|place| place.thread.to_string()),
            turn: run.place_in_thread().map(|place| place.turn),
            usage: run.usage().into(),
            requested_by: run.requested_by().to_string(),
            priority: run.placement().priority.get(),
            not_before: run.placement().not_before.map(instant),
            deadline: run.placement().deadline.map(instant),
            created_at: instant(run.created_at()),
            started_at: run.state().started_at().map(instant),
            ended_at: None,
        };
        match run.state() {
            RunState::Queued | RunState::Running { .. } => {}
            RunState::Waiting { reason, .. } => view.waiting_for = Some(reason.clone()),
            RunState::Succeeded { answer, ended_at, .. } => {
                view.answer = Some(answer.clone());
                view.ended_at = Some(instant(*ended_at));
            }
            RunState::Failed { ended_at, .. }
            | RunState::Cancelled { ended_at, .. }
            | RunState::TimedOut { ended_at, .. } => {
                view.ended_at = Some(instant(*ended_at));
            }
        }
        view
    }
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunPage {
    pub(super) items: Vec<RunView>,
    /// Where the next page begins; none when this is the last.
    pub(super) next_cursor: Option<String>,
}

/// The tree of runs that a run belongs to.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "RunTree"))]
pub(super) struct TreeView {
    /// From the top, each branch to its end before the next.
    pub(super) items: Vec<BranchView>,
}

/// A run in its tree.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "RunInTree"))]
pub(super) struct BranchView {
    #[serde(flatten)]
    run: RunView,
    /// How many runs are above it.
    depth: u8,
}

impl From<&Run> for BranchView {
    fn from(run: &Run) -> Self {
        Self { run: run.into(), depth: run.lineage().map_or(0, |lineage| lineage.depth) }
    }
}

/// A step of a run.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Step"))]
struct StepView {
    id: String,
    /// Where the strategy asked for it.
    key: String,
    /// `model`, `tool` or `run`.
    kind: &'static str,
    /// What a model call is for, or the name of the tool or of the agent.
    name: String,
    /// The run of another agent, for a step of kind `run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    /// `running`, `succeeded` or `failed`.
    status: &'static str,
    /// The model that answered.
    model: Option<String>,
    /// What came of it.
    output: Option<String>,
    usage: UsageView,
    started_at: String,
    ended_at: Option<String>,
}

impl From<&Step> for StepView {
    fn from(step: &Step) -> Self {
        let (kind, name) = match step.kind() {
            StepKind::Model { purpose } => ("model", purpose),
            StepKind::Tool { name } => ("tool", name),
            StepKind::Run { agent } => ("run", agent),
        };
        let mut view = Self {
            id: step.id().to_string(),
            key: step.key().to_string(),
            kind,
            name: name.clone(),
            run: matches!(step.kind(), StepKind::Run { .. }).then(|| step.run().to_string()),
            status: "running",
            model: None,
            output: None,
            usage: step.usage().into(),
            started_at: instant(step.started_at()),
            ended_at: None,
        };
        if let StepState::Ended { outcome, ended_at } = step.state() {
            view.ended_at = Some(instant(*ended_at));
            view.status = if outcome.is_failure() { "failed" } else { "succeeded" };
            view.output = Some(output(outcome));
            if let EffectOutcome::Model(reply) = outcome {
                view.model = Some(reply.model.clone());
            }
        }
        view
    }
}

fn output(outcome: &EffectOutcome) -> String {
    match outcome {
        EffectOutcome::Model(reply) if reply.text.is_empty() => {
            let calls = reply.tool_calls.iter().map(|call| format!("{}({})", call.name, call.arguments));
            calls.collect::<Vec<_>>().join("\n")
        }
        EffectOutcome::Model(reply) => reply.text.clone(),
        EffectOutcome::Tool(output) => output.content.clone(),
        EffectOutcome::Run(output) => output.content.clone(),
        EffectOutcome::Failed(failure) => failure.message.clone(),
    }
}

/// A run's steps.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Steps"))]
pub(super) struct StepsView {
    items: Vec<StepView>,
    /// The steps' usage together.
    usage: UsageView,
}

impl StepsView {
    pub(super) fn new(steps: &[Step]) -> Self {
        let usage = steps.iter().map(Step::usage).sum::<Usage>();
        Self { items: steps.iter().map(Into::into).collect(), usage: usage.into() }
    }
}

/// Feedback as it was taken.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Feedback"))]
pub(super) struct FeedbackView {
    verdict: VerdictBody,
    comment: String,
    at: String,
}

impl From<&Feedback> for FeedbackView {
    fn from(feedback: &Feedback) -> Self {
        let verdict = match feedback.verdict() {
            Verdict::Good => VerdictBody::Good,
            Verdict::Bad => VerdictBody::Bad,
        };
        Self { verdict, comment: feedback.comment().to_owned(), at: instant(feedback.at()) }
    }
}

/// An event as its data line has it. Fields that an event does not have are left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct EventView {
    #[serde(skip)]
    name: &'static str,
    seq: u64,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Channel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turns: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl EventView {
    pub(super) fn into_sse(self) -> SseEvent {
        let event = SseEvent::default().id(self.seq.to_string()).name(self.name);
        event.json(&self).unwrap_or_default()
    }
}

impl From<&RunEvent> for EventView {
    fn from(event: &RunEvent) -> Self {
        let base = Self { name: event.body.name(), seq: event.seq, at: instant(event.at), ..Self::default() };
        match event.body.clone() {
            EventBody::Queued | EventBody::Cancelled | EventBody::TimedOut => base,
            EventBody::Started { attempt } => Self { attempt: Some(attempt), ..base },
            EventBody::StepStarted { step, key, kind, .. } => {
                let base = Self { step: Some(step.to_string()), key: Some(key.to_string()), ..base };
                match kind {
                    StepKind::Model { purpose } => {
                        Self { kind: Some("model"), purpose: Some(purpose), ..base }
                    }
                    StepKind::Tool { name } => Self { kind: Some("tool"), tool: Some(name), ..base },
                    StepKind::Run { agent } => {
                        let run = RunId::from_uuid(step.as_uuid()).to_string();
                        Self { kind: Some("run"), agent: Some(agent), run: Some(run), ..base }
                    }
                }
            }
            EventBody::TextDelta { key, channel, text } => {
                Self { key: Some(key.to_string()), channel: Some(channel), text: Some(text), ..base }
            }
            EventBody::StepEnded { key, outcome, .. } => {
                let status = if outcome.is_failure() { "failed" } else { "succeeded" };
                let (model, usage) = match &outcome {
                    EffectOutcome::Model(reply) => (Some(reply.model.clone()), Some(reply.usage.into())),
                    EffectOutcome::Run(output) => (None, Some(output.usage.into())),
                    EffectOutcome::Tool(output) => output
                        .used
                        .as_ref()
                        .map_or((None, None), |used| (Some(used.model.clone()), Some(used.usage.into()))),
                    EffectOutcome::Failed(failure) => (None, failure.used.map(Into::into)),
                };
                let (key, output) = (Some(key.to_string()), Some(output(&outcome)));
                Self { key, status: Some(status), output, model, usage, ..base }
            }
            EventBody::ApprovalAsked { approval, key, question, expires_at } => Self {
                approval: Some(approval.to_string()),
                key: Some(key.to_string()),
                question: Some(serde_json::to_value(question).unwrap_or_default()),
                expires_at: Some(instant(expires_at)),
                ..base
            },
            EventBody::ApprovalAnswered { approval, key, decision, by } => Self {
                approval: Some(approval.to_string()),
                key: Some(key.to_string()),
                decision: Some(serde_json::to_value(decision).unwrap_or_default()),
                by: by.map(|by| by.to_string()),
                ..base
            },
            EventBody::PauseAsked { by } | EventBody::Resumed { by } => {
                Self { by: Some(by.to_string()), ..base }
            }
            EventBody::Forked { from, step } => {
                Self { from: Some(from.to_string()), key: Some(step.to_string()), ..base }
            }
            EventBody::ToolsOffered { tools } => {
                Self { tools: Some(tools.into_iter().map(|tool| tool.name).collect()), ..base }
            }
            EventBody::ConversationShown { conversation } => {
                Self { turns: Some(conversation.turns.len()), ..base }
            }
            EventBody::Waiting { reason } => Self { reason: Some(reason), ..base },
            EventBody::Succeeded { answer } => Self { answer: Some(answer), ..base },
            EventBody::Failed { code, message } => Self { code: Some(code), message: Some(message), ..base },
        }
    }
}
