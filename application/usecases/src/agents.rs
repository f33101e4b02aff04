//! Agents: definitions that are drafted, published and retired.

mod change_agent;
mod create_agent;
mod list_agents;
mod read_agent;

use powerhouse_domain::agents::{AgentRefusal, Definition, InvalidDefinition};
use powerhouse_domain::tools::SEPARATOR;
use powerhouse_ports::store::TenantView;

pub use change_agent::{ArchiveAgent, EditAgent, PublishAgent};
pub use create_agent::CreateAgent;
pub use list_agents::ListAgents;
pub use read_agent::ReadAgent;

use crate::Refused;
use crate::tools::{self, declared_names, missing};

/// A tool that nobody has could never be called.
async fn check_tools(
    view: &mut dyn TenantView,
    definition: &Definition,
    known: &tools::Names,
) -> Result<(), Refused> {
    if let Some(index) = definition.approvals.iter().position(|tool| !has(definition, tool)) {
        return Err(Refused::invalid(
            format!("/definition/approvals/{index}"),
            "only the calls of tools that the agent has can be approved: see `tools`",
        ));
    }
    let names = declared_names(&definition.tools, |name| known.contains(name));
    let declared = if names.is_empty() { Vec::new() } else { view.tools().named(&names).await? };
    for (index, tool) in definition.tools.iter().enumerate() {
        if let Some(reason) = missing(tool, known, &declared) {
            return Err(Refused::invalid(format!("/definition/tools/{index}"), reason));
        }
    }
    Ok(())
}

/// Whether the agent lists a tool, or all tools of its server.
fn has(definition: &Definition, tool: &String) -> bool {
    let of_server = tool.split_once(SEPARATOR).map(|(server, _)| format!("{server}{SEPARATOR}*"));
    definition.tools.contains(tool) || of_server.is_some_and(|all| definition.tools.contains(&all))
}

fn invalid(error: InvalidDefinition) -> Refused {
    let pointer = match error {
        InvalidDefinition::TooLong { field, .. }
        | InvalidDefinition::TooMany { field }
        | InvalidDefinition::BadEntry { field } => format!("/definition/{field}"),
        InvalidDefinition::ZeroLimit { field } => format!("/definition/limits/{field}"),
        InvalidDefinition::NoRuns => "/definition/max_concurrent_runs".to_owned(),
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
