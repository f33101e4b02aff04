//! Agents: definitions that are drafted, published and retired.

mod change_agent;
mod create_agent;
mod list_agents;
mod read_agent;

use powerhouse_domain::agents::{AgentRefusal, Definition, InvalidDefinition};

pub use change_agent::{ArchiveAgent, EditAgent, PublishAgent};
pub use create_agent::CreateAgent;
pub use list_agents::ListAgents;
pub use read_agent::ReadAgent;

use crate::Refused;

/// The names of the tools that agents may list.
pub type ToolNames = std::collections::BTreeSet<String>;

/// A tool that nobody has could never be called.
fn check_tools(definition: &Definition, known: &ToolNames) -> Result<(), Refused> {
    if let Some(index) = definition.approvals.iter().position(|tool| !definition.tools.contains(tool)) {
        return Err(Refused::invalid(
            format!("/definition/approvals/{index}"),
            "only the calls of tools that the agent has can be approved: see `tools`",
        ));
    }
    match definition.tools.iter().position(|tool| !known.contains(tool)) {
        Some(index) => {
            let names = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(Refused::invalid(
                format!("/definition/tools/{index}"),
                format!("there is no such tool; there are: {names}"),
            ))
        }
        None => Ok(()),
    }
}

fn invalid(error: InvalidDefinition) -> Refused {
    let pointer = match error {
        InvalidDefinition::TooLong { field, .. }
        | InvalidDefinition::TooMany { field }
        | InvalidDefinition::BadEntry { field } => format!("/definition/{field}"),
        InvalidDefinition::ZeroLimit { field } => format!("/definition/limits/{field}"),
    };
    Refused::invalid(pointer, error)
}

fn refused(reason: AgentRefusal) -> Refused {
    match reason {
        AgentRefusal::Invalid(error) => invalid(error),
        AgentRefusal::Archived => Refused::conflict("agent_archived", reason),
        AgentRefusal::NoDraft => Refused::conflict("nothing_to_publish", reason),
    }
}
