//! Why a run went as it did, and all that is needed to replay it.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::runs::{Explanation, Recording, Run, conversation, explain, offered};
use powerhouse_domain::strategies::Brief;
use powerhouse_ports::store::TenantStore;
use powerhouse_ports::tools::RunContext;

use super::{find, whole_journal};
use crate::Refused;
use crate::tools::Resolver;

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
    /// Finds what agents are offered.
    pub tools: Resolver,
}

impl RecordRun {
    /// A run that the caller may see, with its journal, its agent's definition, and the tools that the agent is offered.
    /// The platform's are described as they are now: a run from before one's description changed asks for something else.
    pub async fn execute(&self, principal: &Principal, id: RunId) -> Result<(Run, Recording), Refused> {
        let mut view = self.store.read(&principal.scope()).await?;
        let (run, permit) = find::<access::ReadRun>(&mut *view, principal, id).await?;
        let selection = run.selection();
        let version = view.agents().version(selection.agent, selection.agent_version).await?;
        let definition = version.ok_or(Refused::NotFound("version of the agent"))?.definition;
        let journal = whole_journal(&mut *view, permit.redeem().run).await?;
        let tools = if let Some(tools) = offered(&journal) {
            tools.to_vec()
        } else {
            let context = RunContext::of(principal.scope(), &run);
            self.tools.resolve(&mut *view, context, &definition.tools).await?.specs
        };
        let said_before = conversation(&journal).cloned().unwrap_or_default();
        let brief = Brief::of(&run, &definition, tools).after(said_before);
        let recording = Recording::of(definition.strategy, brief, journal);
        Ok((run, recording))
    }
}
