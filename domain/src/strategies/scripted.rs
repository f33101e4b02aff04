//! A model that replies from a script.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{AgentKind, Answer, Brief, Strategy, StrategyError};
use crate::agents::SubAgent;
use crate::effects::{
    Divergence, EffectFailure, EffectOutcome, EffectRequest, Execution, Issued, JournalEntry, Progress,
    SubRunOutput, SubRunRequest, ToolRequest,
};
use crate::model::{ModelReply, ModelRequest, StopReason, Usage};
use crate::threads::Conversation;
use crate::tools::{ToolCall, ToolOutput, ToolSpec};

type Tool = Box<dyn Fn(&ToolRequest) -> ToolOutput>;
type Agents = Box<dyn Fn(&SubRunRequest) -> SubRunOutput>;

/// Feeds replies in the order in which calls are issued. Once they run out, replies are empty or fail.
pub(super) struct Script {
    replies: VecDeque<ModelReply>,
    tool: Tool,
    agents: Agents,
    failure: Option<EffectFailure>,
    backwards: bool,
}

/// What happened.
pub(super) struct Played {
    pub(super) result: Result<Answer, StrategyError>,
    pub(super) requests: Vec<ModelRequest>,
    pub(super) tools: Vec<ToolRequest>,
    pub(super) runs: Vec<SubRunRequest>,
    /// How many effects were asked for at the same time, one time after the other.
    pub(super) waves: Vec<usize>,
}

impl Script {
    pub(super) fn new(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(texts.into_iter().map(|text| reply(text)))
    }

    /// Its tools echo their arguments.
    pub(super) fn of(replies: impl IntoIterator<Item = ModelReply>) -> Self {
        let tool = Box::new(|request: &ToolRequest| ToolOutput::ok(request.arguments.to_string()));
        let agents = Box::new(|request: &SubRunRequest| answered(&format!("{} did it", request.agent)));
        Self { replies: replies.into_iter().collect(), tool, agents, failure: None, backwards: false }
    }

    /// Its agents have these answers, in runs of their own.
    pub(super) fn with_agents(mut self, agents: impl Fn(&SubRunRequest) -> SubRunOutput + 'static) -> Self {
        self.agents = Box::new(agents);
        self
    }

    pub(super) fn with_tool(mut self, tool: impl Fn(&ToolRequest) -> ToolOutput + 'static) -> Self {
        self.tool = Box::new(tool);
        self
    }

    /// Of what is asked for at the same time, the last ends first.
    pub(super) fn backwards(self) -> Self {
        Self { backwards: true, ..self }
    }

    /// Tools, and model calls past the script, fail.
    pub(super) fn failing(mut self, failure: EffectFailure) -> Self {
        self.failure = Some(failure);
        self
    }

    pub(super) fn play(mut self, strategy: &Strategy, brief: Brief) -> Played {
        let (mut requests, mut tools, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        let driven = drive(strategy, brief, Vec::new(), self.backwards, |issued| match &issued.request {
            EffectRequest::Model(request) => {
                requests.push(request.clone());
                match (self.replies.pop_front(), &self.failure) {
                    (Some(reply), _) => EffectOutcome::Model(reply),
                    (None, Some(failure)) => EffectOutcome::Failed(failure.clone()),
                    (None, None) => EffectOutcome::Model(reply("")),
                }
            }
            EffectRequest::Tool(request) => {
                tools.push(request.clone());
                match &self.failure {
                    Some(failure) => EffectOutcome::Failed(failure.clone()),
                    None => EffectOutcome::Tool((self.tool)(request)),
                }
            }
            EffectRequest::Run(request) => {
                runs.push(request.clone());
                match &self.failure {
                    Some(failure) => EffectOutcome::Failed(failure.clone()),
                    None => EffectOutcome::Run((self.agents)(request)),
                }
            }
        });
        Played { result: driven.result.expect("no divergence"), requests, tools, runs, waves: driven.waves }
    }
}

impl Played {
    pub(super) fn text(&self) -> &str {
        &self.result.as_ref().expect("an answer").text
    }

    pub(super) fn purposes(&self) -> Vec<&str> {
        self.requests.iter().map(|request| request.purpose.as_str()).collect()
    }

    /// All messages of a model call, as JSON.
    pub(super) fn prompt(&self, call: usize) -> String {
        serde_json::to_string(&self.requests[call].messages).expect("serialises")
    }
}

/// What came of driving a strategy.
pub(super) struct Driven {
    pub(super) result: Result<Result<Answer, StrategyError>, Divergence>,
    /// What was not in the journal before.
    pub(super) written: Vec<JournalEntry>,
    waves: Vec<usize>,
}

/// Drives a strategy to its end. Of what is asked for at the same time, the last ends first when it goes `backwards`.
pub(super) fn drive(
    strategy: &Strategy,
    brief: Brief,
    journal: Vec<JournalEntry>,
    backwards: bool,
    mut perform: impl FnMut(&Issued) -> EffectOutcome,
) -> Driven {
    let (mut written, mut waves) = (Vec::new(), Vec::new());
    let mut execution = Execution::start(journal, |fx| strategy.execute(brief, fx));
    let result = loop {
        match execution.poll() {
            Progress::Waiting(issued) => {
                waves.push(issued.len());
                let mut outcomes: Vec<_> = issued.iter().map(|i| (i.key.clone(), perform(i))).collect();
                if backwards {
                    outcomes.reverse();
                }
                for (key, outcome) in outcomes {
                    written.push(execution.deliver(&key, outcome).expect("it is open"));
                }
            }
            Progress::Done(result) => break Ok(result),
            Progress::Diverged(divergence) => break Err(divergence),
        }
    };
    Driven { result, written, waves }
}

/// A strategy with these parameters.
#[expect(clippy::needless_pass_by_value, reason = "it is called with values that are written there")]
pub(super) fn strategy(kind: AgentKind, parameters: Value) -> Strategy {
    Strategy::from_parameters(kind, &parameters).expect("they are allowed")
}

pub(super) fn reply(text: impl Into<String>) -> ModelReply {
    ModelReply::text(text, Usage::default(), "scripted")
}

/// The answer of another agent.
pub(super) fn answered(content: &str) -> SubRunOutput {
    SubRunOutput { is_error: false, ..SubRunOutput::refused(content) }
}

pub(super) fn calling(calls: &[(&str, &str)]) -> ModelReply {
    let call = |(index, (name, arguments)): (usize, &(&str, &str))| ToolCall {
        id: format!("call-{index}"),
        name: (*name).into(),
        arguments: (*arguments).into(),
    };
    let tool_calls = calls.iter().enumerate().map(call).collect();
    ModelReply { tool_calls, stop: StopReason::ToolCalls, ..reply("") }
}

/// A brief with these agents to be had.
pub(super) fn among_agents(names: &[&str]) -> Brief {
    let agent =
        |name: &&str| SubAgent { name: name.parse().expect("a name"), description: format!("does {name}") };
    Brief { agents: names.iter().map(agent).collect(), ..brief() }
}

pub(super) fn brief() -> Brief {
    let parameters = json!({"type": "object"});
    let add = ToolSpec { name: "add".into(), description: "Adds.".into(), parameters };
    Brief {
        task: "What is 6 × 7?".into(),
        instructions: "Be brief.".into(),
        tools: vec![add],
        agents: Vec::new(),
        formation: None,
        conversation: Conversation::default(),
    }
}
