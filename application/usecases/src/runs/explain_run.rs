//! Why a run went as it did, and all that is needed to replay it.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::agents::Definition;
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::{Explanation, Recording, Run, explain};
use powerhouse_domain::strategies::Brief;
use powerhouse_ports::store::TenantStore;

use super::{find, whole_journal};
use crate::Refused;
use crate::runner::Toolbox;

/// Explains runs.
#[derive(Clone)]
pub struct ExplainRun {
    /// Where runs and journals are.
    pub store: Arc<dyn TenantStore>,
}

impl ExplainRun {
    /// A run that the caller may see, and why it went as it did.
    pub async fn execute(&self, principal: &Principal, id: RunId) -> Result<(Run, Explanation), Refused> {
        let mut view = self.store.read(&principal.scope()).await?;
        let (run, permit) = find::<access::ReadRun>(&mut *view, principal, id).await?;
        let journal = whole_journal(&mut *view, permit.redeem().run).await?;
        let explanation = explain(&run, &journal);
        Ok((run, explanation))
    }
}

/// Reads runs for a replay.
#[derive(Clone)]
pub struct RecordRun {
    /// Where runs and journals are.
    pub store: Arc<dyn TenantStore>,
    /// What agents are offered.
    pub tools: Toolbox,
}

impl RecordRun {
    /// A run that the caller may see, with its journal, its agent's definition, and the tools that the agent is offered.
    /// These are described as they are now: a run from before a tool's description changed asks for something else.
    pub async fn execute(&self, principal: &Principal, id: RunId) -> Result<(Run, Recording), Refused> {
        let mut view = self.store.read(&principal.scope()).await?;
        let (run, permit) = find::<access::ReadRun>(&mut *view, principal, id).await?;
        let selection = run.selection();
        let version = view.agents().version(selection.agent, selection.agent_version).await?;
        let definition = version.ok_or(Refused::NotFound("version of the agent"))?.definition;
        let journal = whole_journal(&mut *view, permit.redeem().run).await?;
        let brief = brief(&run, &definition, &self.tools);
        let recording = Recording::of(definition.strategy, brief, journal);
        Ok((run, recording))
    }
}

/// What an agent is given for a run.
pub(crate) fn brief(run: &Run, definition: &Definition, tools: &Toolbox) -> Brief {
    let tools = definition.tools.iter().filter_map(|name| tools.get(name)).map(|tool| tool.spec());
    Brief::of(run, definition, tools.collect())
}
