//! The JSON that rows hold: its own types, so that a change of the domain does not change what is stored.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::agents::{AgentName, Definition, InvalidAgentName, SubAgent};
use powerhouse_domain::ids::{AgentId, UserId};
use powerhouse_domain::runs::{Formation, RunFailure, RunLimits, RunState, Selection};
use powerhouse_domain::strategies::Strategy;
use powerhouse_ports::store::StoreError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::corrupt;

/// Writes a stored form. It cannot fail: every key is a string.
pub(crate) fn write<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Reads a stored form.
pub(crate) fn read<T: DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    value: Value,
) -> Result<T, StoreError> {
    serde_json::from_value(value).map_err(corrupt(table, column))
}

/// A vector's numbers in single precision, the lowest byte first.
pub(crate) fn write_vector(parts: &[f32]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.to_le_bytes()).collect()
}

/// The most numbers of a vector that a database compares: as many as `pgvector` takes.
const MAX_COMPARED: usize = 16_000;

/// A vector as `pgvector` reads it; nothing, when it is none that it takes.
pub(crate) fn comparable(parts: &[f32]) -> Option<String> {
    let is_one = (1..=MAX_COMPARED).contains(&parts.len()) && parts.iter().all(|part| part.is_finite());
    is_one.then(|| {
        let mut text = String::with_capacity(parts.len() * 12);
        for part in parts {
            // The fewest digits that are this number and no other.
            let _ = write!(text, "{}{part:e}", if text.is_empty() { '[' } else { ',' });
        }
        text + "]"
    })
}

/// A vector as it was stored.
pub(crate) fn read_vector(table: &'static str, bytes: &[u8]) -> Result<Vec<f32>, StoreError> {
    let (parts, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(StoreError::CorruptRow { table, column: "vector" });
    }
    Ok(parts.iter().map(|part| f32::from_le_bytes(*part)).collect())
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Limits {
    steps: u32,
    tokens: u64,
    cost_micros: u64,
    wall_clock_ms: u64,
}

impl From<&RunLimits> for Limits {
    fn from(limits: &RunLimits) -> Self {
        Self {
            steps: limits.steps,
            tokens: limits.tokens,
            cost_micros: limits.cost_micros,
            wall_clock_ms: u64::try_from(limits.wall_clock.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl From<Limits> for RunLimits {
    fn from(stored: Limits) -> Self {
        Self {
            steps: stored.steps,
            tokens: stored.tokens,
            cost_micros: stored.cost_micros,
            wall_clock: Duration::from_millis(stored.wall_clock_ms),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredDefinition {
    kind: String,
    parameters: Value,
    description: String,
    instructions: String,
    model: Option<String>,
    tools: Vec<String>,
    capabilities: Vec<String>,
    examples: Vec<String>,
    limits: Limits,
    #[serde(default)]
    approvals: Vec<String>,
    #[serde(default)]
    max_concurrent_runs: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    agents: Vec<StoredSubAgent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    formation: Option<StoredFormation>,
}

#[derive(Serialize, Deserialize)]
struct StoredSubAgent {
    name: String,
    description: String,
}

impl From<&SubAgent> for StoredSubAgent {
    fn from(agent: &SubAgent) -> Self {
        Self { name: agent.name.as_str().to_owned(), description: agent.description.clone() }
    }
}

impl TryFrom<StoredSubAgent> for SubAgent {
    type Error = InvalidAgentName;

    fn try_from(stored: StoredSubAgent) -> Result<Self, InvalidAgentName> {
        Ok(Self { name: stored.name.parse()?, description: stored.description })
    }
}

impl From<&Definition> for StoredDefinition {
    fn from(definition: &Definition) -> Self {
        Self {
            kind: definition.strategy.kind().as_str().to_owned(),
            parameters: definition.strategy.parameters(),
            description: definition.description.clone(),
            instructions: definition.instructions.clone(),
            model: definition.model.clone(),
            tools: definition.tools.clone(),
            capabilities: definition.capabilities.clone(),
            examples: definition.examples.clone(),
            limits: (&definition.limits).into(),
            approvals: definition.approvals.clone(),
            max_concurrent_runs: definition.max_concurrent_runs,
            agents: definition.agents.iter().map(StoredSubAgent::from).collect(),
            formation: definition.formation.as_ref().map(StoredFormation::from),
        }
    }
}

impl StoredDefinition {
    pub(crate) fn into_domain(
        self,
        table: &'static str,
        column: &'static str,
    ) -> Result<Definition, StoreError> {
        let kind = self.kind.parse().map_err(corrupt(table, column))?;
        Ok(Definition {
            description: self.description,
            strategy: Strategy::from_parameters(kind, &self.parameters).map_err(corrupt(table, column))?,
            instructions: self.instructions,
            model: self.model,
            tools: self.tools,
            capabilities: self.capabilities,
            examples: self.examples,
            limits: self.limits.into(),
            approvals: self.approvals,
            max_concurrent_runs: self.max_concurrent_runs,
            formation: self
                .formation
                .map(StoredFormation::into_domain)
                .transpose()
                .map_err(corrupt(table, column))?,
            agents: self
                .agents
                .into_iter()
                .map(SubAgent::try_from)
                .collect::<Result<_, _>>()
                .map_err(corrupt(table, column))?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredSelection {
    agent: AgentId,
    agent_version: u32,
    reason: String,
    scores: Vec<(AgentId, f64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    formation: Option<StoredFormation>,
    #[serde(default)]
    propensities: Vec<(AgentId, f64)>,
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredFormation {
    Team(Vec<String>),
    Pipeline(Vec<String>),
}

impl From<&Formation> for StoredFormation {
    fn from(formation: &Formation) -> Self {
        let names = |agents: &[AgentName]| agents.iter().map(|agent| agent.as_str().to_owned()).collect();
        match formation {
            Formation::Team(agents) => Self::Team(names(agents)),
            Formation::Pipeline(agents) => Self::Pipeline(names(agents)),
        }
    }
}

impl StoredFormation {
    fn into_domain(self) -> Result<Formation, InvalidAgentName> {
        let names = |agents: Vec<String>| {
            agents.iter().map(|agent| agent.parse()).collect::<Result<_, InvalidAgentName>>()
        };
        Ok(match self {
            Self::Team(agents) => Formation::Team(names(agents)?),
            Self::Pipeline(agents) => Formation::Pipeline(names(agents)?),
        })
    }
}

impl From<&Selection> for StoredSelection {
    fn from(selection: &Selection) -> Self {
        Self {
            agent: selection.agent,
            agent_version: selection.agent_version,
            reason: selection.reason.clone(),
            scores: selection.scores.clone(),
            formation: selection.formation.as_ref().map(StoredFormation::from),
            propensities: selection.propensities.clone(),
            revision: selection.revision,
        }
    }
}

impl StoredSelection {
    pub(crate) fn into_domain(self) -> Result<Selection, StoreError> {
        let Self { agent, agent_version, reason, scores, formation, propensities, revision } = self;
        let formation = formation.map(StoredFormation::into_domain).transpose();
        let formation = formation.map_err(corrupt("runs", "selection"))?;
        Ok(Selection { agent, agent_version, reason, scores, formation, propensities, revision })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum StoredState {
    Queued,
    Running {
        started_at: DateTime<Utc>,
    },
    Waiting {
        started_at: DateTime<Utc>,
        reason: String,
        #[serde(default)]
        until: Option<DateTime<Utc>>,
    },
    Succeeded {
        answer: String,
        started_at: DateTime<Utc>,
        ended_at: DateTime<Utc>,
    },
    Failed {
        code: String,
        message: String,
        started_at: Option<DateTime<Utc>>,
        ended_at: DateTime<Utc>,
    },
    Cancelled {
        by: UserId,
        started_at: Option<DateTime<Utc>>,
        ended_at: DateTime<Utc>,
    },
    TimedOut {
        started_at: Option<DateTime<Utc>>,
        ended_at: DateTime<Utc>,
    },
}

impl From<&RunState> for StoredState {
    fn from(state: &RunState) -> Self {
        match state.clone() {
            RunState::Queued => Self::Queued,
            RunState::Running { started_at } => Self::Running { started_at },
            RunState::Waiting { started_at, reason, until } => Self::Waiting { started_at, reason, until },
            RunState::Succeeded { answer, started_at, ended_at } => {
                Self::Succeeded { answer, started_at, ended_at }
            }
            RunState::Failed { failure: RunFailure { code, message }, started_at, ended_at } => {
                Self::Failed { code, message, started_at, ended_at }
            }
            RunState::Cancelled { by, started_at, ended_at } => Self::Cancelled { by, started_at, ended_at },
            RunState::TimedOut { started_at, ended_at } => Self::TimedOut { started_at, ended_at },
        }
    }
}

impl From<StoredState> for RunState {
    fn from(stored: StoredState) -> Self {
        match stored {
            StoredState::Queued => Self::Queued,
            StoredState::Running { started_at } => Self::Running { started_at },
            StoredState::Waiting { started_at, reason, until } => Self::Waiting { started_at, reason, until },
            StoredState::Succeeded { answer, started_at, ended_at } => {
                Self::Succeeded { answer, started_at, ended_at }
            }
            StoredState::Failed { code, message, started_at, ended_at } => {
                Self::Failed { failure: RunFailure { code, message }, started_at, ended_at }
            }
            StoredState::Cancelled { by, started_at, ended_at } => {
                Self::Cancelled { by, started_at, ended_at }
            }
            StoredState::TimedOut { started_at, ended_at } => Self::TimedOut { started_at, ended_at },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn vectors_are_written_so_that_they_are_read_the_same() {
        let parts = [0.1, -1.0, f32::MIN_POSITIVE, f32::MAX, 0.0];
        assert_eq!(read_vector("t", &write_vector(&parts)).unwrap(), parts);
        let text = comparable(&parts).unwrap();
        let read: Result<Vec<f32>, _> = text[1..text.len() - 1].split(',').map(str::parse).collect();
        assert_eq!((read.unwrap(), &text[..6]), (parts.to_vec(), "[1e-1,"));
        for bad in [vec![], vec![f32::NAN], vec![0.0; MAX_COMPARED + 1]] {
            assert_eq!(comparable(&bad), None);
        }
        assert!(read_vector("t", &[0; 5]).is_err());
    }

    #[test]
    fn a_selection_from_before_propensities_were_kept_is_read() {
        let agent = AgentId::from_uuid(uuid::Uuid::from_u128(7));
        let old =
            json!({"agent": agent, "agent_version": 2, "reason": "it was best", "scores": [[agent, 1.5]]});
        let selection = read::<StoredSelection>("runs", "selection", old).unwrap().into_domain().unwrap();
        assert_eq!((selection.agent_version, &*selection.reason), (2, "it was best"));
        assert_eq!((selection.scores.len(), selection.propensity(), selection.revision), (1, None, None));
    }
}
