//! What the selection knows of the tenant's agents.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::AgentId;
use powerhouse_domain::selection::{AgentRecord, Selector};
use powerhouse_ports::store::{StoreError, TenantStore, TenantView};

use super::MAX_CANDIDATES;
use crate::{Refused, permit};

/// What is known of one agent that can be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentKnown {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// Examples in its definition.
    pub examples: usize,
    /// How it has done.
    pub record: AgentRecord,
}

/// What is known of a tenant's agents.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectionKnown {
    /// What is known of all.
    pub selector: Selector,
    /// The agents that can be chosen, the oldest first.
    pub agents: Vec<AgentKnown>,
}

impl SelectionKnown {
    pub(super) async fn read(view: &mut dyn TenantView, selector: Selector) -> Result<Self, StoreError> {
        let agents = view.agents().runnable(MAX_CANDIDATES).await?;
        let known = |agent: &Agent| AgentKnown {
            id: agent.id(),
            name: agent.name().as_str().to_owned(),
            examples: agent.runnable().map_or(0, |version| version.definition.examples.len()),
            record: selector.learnt().record.get(&agent.id()).cloned().unwrap_or_default(),
        };
        let agents = agents.iter().map(known).collect();
        Ok(Self { selector, agents })
    }
}

/// Reads what the selection knows.
#[derive(Clone)]
pub struct ReadSelection {
    /// Where it is.
    pub store: Arc<dyn TenantStore>,
}

impl ReadSelection {
    /// What the selection of the caller's tenant knows.
    pub async fn execute(&self, principal: &Principal) -> Result<SelectionKnown, Refused> {
        let permit = permit::<access::ReadSelection>(principal, principal.tenant_id(), "selection", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        permit.redeem();
        let selector = view.selection().read().await?;
        Ok(SelectionKnown::read(&mut *view, selector).await?)
    }
}
