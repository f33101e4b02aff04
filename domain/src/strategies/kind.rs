//! The catalogue of kinds: what there is to know of each, and the one table that lists them.

use std::fmt;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::parameters::{self, Parameter, ParameterError};
use super::{Answer, Brief, StrategyError, compaction, formation};
use crate::effects::Effects;

/// What there is to know of a kind.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name, for people.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// When to take it, and when not.
    pub use_when: &'static str,
    /// Where it is described; nowhere, when it is none's invention.
    pub sources: &'static [Source],
    /// How many model calls it makes, in words and with the names of its parameters.
    pub cost: &'static str,
    /// Whether it calls tools.
    pub tools: ToolUse,
    pub(super) parameters: &'static [Parameter],
}

impl About {
    /// JSON Schema (draft 2020-12) of its parameters.
    pub fn parameters_schema(&self) -> Value {
        parameters::schema(self.parameters)
    }
}

/// Whether a kind calls tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolUse {
    /// Never.
    Never,
    /// Those that its agent lists, if there are any.
    Optional,
    /// It cannot work without certain ones.
    Needed,
}

impl ToolUse {
    /// Its identifier, as in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Optional => "optional",
            Self::Needed => "needed",
        }
    }
}

/// Where a kind is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Who wrote it.
    pub authors: &'static str,
    /// When it was published.
    pub year: u16,
    /// Its title.
    pub title: &'static str,
    /// An identifier of arXiv, or a URL.
    id: &'static str,
}

impl Source {
    pub(super) const fn arxiv(
        authors: &'static str,
        year: u16,
        title: &'static str,
        id: &'static str,
    ) -> Self {
        Self { authors, year, title, id }
    }

    pub(super) const fn web(
        authors: &'static str,
        year: u16,
        title: &'static str,
        url: &'static str,
    ) -> Self {
        Self { authors, year, title, id: url }
    }

    /// Where it can be read.
    pub fn url(&self) -> String {
        if self.id.starts_with("https://") {
            self.id.to_owned()
        } else {
            format!("https://arxiv.org/abs/{}", self.id)
        }
    }

    /// Its identifier at arXiv, if it is there.
    pub fn arxiv_id(&self) -> Option<&'static str> {
        (!self.id.starts_with("https://")).then_some(self.id)
    }
}

/// The parameters of a kind, and what it does with them.
pub(super) trait Kind: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// What there is to know of it.
    const ABOUT: About;

    /// What the table of parameters cannot say.
    fn check(&self) -> Result<(), ParameterError> {
        Ok(())
    }

    /// The fewest and the most model calls that an answer takes.
    fn model_calls(&self) -> RangeInclusive<u32>;

    /// The tools that it cannot work without.
    fn needed_tools(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it cannot work without agents that it may have do something.
    fn needs_agents(&self) -> bool {
        false
    }

    /// Works on the brief. Deterministic: all that varies comes through `fx`.
    fn run(
        self,
        brief: Brief,
        fx: Effects,
    ) -> impl Future<Output = Result<Answer, StrategyError>> + Send + 'static;
}

fn read<K: Kind>(given: &Value) -> Result<K, ParameterError> {
    let kind: K = parameters::read(K::ABOUT.parameters, given)?;
    kind.check()?;
    Ok(kind)
}

/// A text that names no kind of agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such kind of agent; there are {}", names())]
pub struct UnknownKind;

fn names() -> String {
    let names: Vec<_> = AgentKind::ALL.iter().map(|kind| kind.as_str()).collect();
    names.join(", ")
}

/// A strategy under way.
pub type StrategyFuture = Pin<Box<dyn Future<Output = Result<Answer, StrategyError>> + Send>>;

/// Makes the kinds of a list of their modules, each with a type `Parameters` that is a [`Kind`]. A module's name is
/// the kind's identifier.
macro_rules! kinds {
    ($($variant:ident: $module:ident,)+) => {
        /// A kind of agent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AgentKind {
            $(#[doc = concat!("`", stringify!($module), "`.")] $variant,)+
        }

        impl AgentKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its identifier, as in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($module),)+ }
            }

            /// What there is to know of it.
            pub const fn about(self) -> &'static About {
                match self { $(Self::$variant => &<super::$module::Parameters as Kind>::ABOUT,)+ }
            }
        }

        #[derive(Clone, Debug, PartialEq)]
        enum Chosen {
            $($variant(super::$module::Parameters),)+
        }

        impl Strategy {
            /// Builds the strategy from a JSON object that satisfies the [schema](About::parameters_schema) of its kind.
            pub fn from_parameters(kind: AgentKind, given: &Value) -> Result<Self, ParameterError> {
                Ok(Self(match kind { $(AgentKind::$variant => Chosen::$variant(read(given)?),)+ }))
            }

            fn work(&self, brief: Brief, fx: Effects) -> StrategyFuture {
                if let Err(missing) = brief.has_tools(self.needed_tools()) {
                    return Box::pin(std::future::ready(Err(missing)));
                }
                match &self.0 { $(Chosen::$variant(kind) => Box::pin(kind.clone().run(brief, fx)),)+ }
            }

            /// Its kind.
            pub fn kind(&self) -> AgentKind {
                match &self.0 { $(Chosen::$variant(_) => AgentKind::$variant,)+ }
            }

            /// Its parameters as JSON, defaults included; [`Strategy::from_parameters`] reads them back.
            pub fn parameters(&self) -> Value {
                // Serialising cannot fail: every key is a string.
                match &self.0 { $(Chosen::$variant(kind) => serde_json::to_value(kind).unwrap_or_default(),)+ }
            }

            /// The fewest and the most model calls that an answer takes.
            pub fn model_calls(&self) -> RangeInclusive<u32> {
                match &self.0 { $(Chosen::$variant(kind) => kind.model_calls(),)+ }
            }

            /// Whether it cannot work without agents that it may have do something.
            pub fn needs_agents(&self) -> bool {
                match &self.0 { $(Chosen::$variant(kind) => kind.needs_agents(),)+ }
            }

            /// The tools that it cannot work without.
            pub fn needed_tools(&self) -> Vec<String> {
                match &self.0 { $(Chosen::$variant(kind) => kind.needed_tools(),)+ }
            }
        }
    };
}

/// A kind of agent with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Strategy(Chosen);

kinds! {
    Direct: direct,
    ChainOfThought: chain_of_thought,
    SelfConsistency: self_consistency,
    React: react,
    PlanAndExecute: plan_and_execute,
    Rewoo: rewoo,
    LlmCompiler: llm_compiler,
    Reflexion: reflexion,
    Reflection: reflection,
    Evaluator: evaluator,
    TreeOfThought: tree_of_thought,
    Debate: debate,
    MixtureOfAgents: mixture_of_agents,
    MetaEvolver: meta_evolver,
    Toolformer: toolformer,
    AutoLoop: auto_loop,
    Cascade: cascade,
    Governor: governor,
    SqlAnalyst: sql_analyst,
    Rag: rag,
    CodeInterpreter: code_interpreter,
    Router: router,
    OrchestratorWorkers: orchestrator_workers,
    Hierarchical: hierarchical,
    Swarm: swarm,
    Memory: memory,
    AdaptiveMemory: adaptive_memory,
    Generative: generative,
    Curriculum: curriculum,
    Voyager: voyager,
}

impl Strategy {
    /// One call of the model, the baseline.
    pub const fn direct() -> Self {
        Self(Chosen::Direct(super::direct::Parameters {}))
    }

    /// Works on the brief, once what was said before is short enough and the agents of its formation have done their part.
    /// Deterministic: all that varies comes through `fx`.
    pub fn execute(&self, brief: Brief, fx: Effects) -> StrategyFuture {
        if brief.formation.is_none() && brief.conversation.to_summarise == 0 {
            return self.work(brief, fx);
        }
        let strategy = self.clone();
        Box::pin(async move {
            let brief = compaction::compacted(brief, &fx).await?;
            let brief = formation::prepared(brief, &fx).await?;
            strategy.work(brief, fx).await
        })
    }

    /// The most model calls that it can make.
    pub fn max_model_calls(&self) -> u32 {
        *self.model_calls().end()
    }
}

impl fmt::Display for AgentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AgentKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}
