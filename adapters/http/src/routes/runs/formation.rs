//! Formations as callers write and read them.

use powerhouse_domain::agents::{AgentName, SubAgent};
use powerhouse_domain::runs::{Formation, MAX_FORMATION};
use salvo::oapi::ToSchema;
use serde::{Deserialize, Serialize};

use crate::body::{field, invalid};
use crate::problem::Problem;

/// Agents that work on the task before the one that answers it. Name one of both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "Formation"))]
pub(crate) struct FormationBody {
    /// Names of agents that all answer the task at the same time; the run's agent has their answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[salvo(schema(example = json!(["lawyer", "engineer"])))]
    pub(crate) team: Option<Vec<String>>,
    /// Names of agents that work one after the other, each on what the one before has made; the run's agent is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pipeline: Option<Vec<String>>,
}

impl From<&Formation> for FormationBody {
    fn from(formation: &Formation) -> Self {
        let names = formation.agents().iter().map(|agent| agent.as_str().to_owned()).collect();
        match formation {
            Formation::Team(_) => Self { team: Some(names), pipeline: None },
            Formation::Pipeline(_) => Self { team: None, pipeline: Some(names) },
        }
    }
}

impl FormationBody {
    /// What it says, if it says something.
    pub(crate) fn into_domain(self) -> Result<Option<Formation>, Problem> {
        match (self.team, self.pipeline) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(invalid("/pipeline", "name a team or a pipeline, not both")),
            (Some(team), None) => Ok(Some(Formation::Team(names("/team", &team)?))),
            (None, Some(pipeline)) => Ok(Some(Formation::Pipeline(names("/pipeline", &pipeline)?))),
        }
    }
}

fn names(pointer: &str, names: &[String]) -> Result<Vec<AgentName>, Problem> {
    if names.is_empty() || names.len() > MAX_FORMATION {
        return Err(invalid(pointer, format!("1 to {MAX_FORMATION} agents")));
    }
    names.iter().enumerate().map(|(index, name)| field(&format!("{pointer}/{index}"), name)).collect()
}

/// An agent that another one's runs may begin runs of.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[salvo(schema(name = "SubAgent"))]
pub(crate) struct SubAgentBody {
    /// Its name.
    name: String,
    /// What it is to be used for.
    #[serde(default)]
    description: String,
}

impl From<&SubAgent> for SubAgentBody {
    fn from(agent: &SubAgent) -> Self {
        Self { name: agent.name.as_str().to_owned(), description: agent.description.clone() }
    }
}

impl SubAgentBody {
    /// Those of a list; an error tells where it stands.
    pub(crate) fn into_domain(list: Vec<Self>, pointer: &str) -> Result<Vec<SubAgent>, Problem> {
        let agents = list.into_iter().enumerate().map(|(index, Self { name, description })| {
            Ok(SubAgent { name: field(&format!("{pointer}/{index}/name"), &name)?, description })
        });
        agents.collect()
    }
}
