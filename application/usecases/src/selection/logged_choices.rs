//! Choices that were made by selection, and what came of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::selection::{Decision, rewards};
use powerhouse_ports::store::{StoreError, TenantStore};

/// Reads what was logged, for whoever has the database: there is no route to it.
#[derive(Clone)]
pub struct LoggedChoices {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
}

impl LoggedChoices {
    /// The newest of a tenant's choices that were drawn and whose runs ended by themselves, of those since a time: at most `limit`.
    pub async fn execute(
        &self,
        scope: &TenantScope,
        since: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<Decision>, StoreError> {
        let mut view = self.store.read(scope).await?;
        let decided = view.selection().decisions(since, limit).await?;
        let (outcomes, propensities): (Vec<_>, Vec<_>) = decided.into_iter().unzip();
        let rewards = rewards(&outcomes);
        let decisions = outcomes.iter().zip(propensities).zip(rewards);
        Ok(decisions
            .map(|((outcome, propensities), reward)| Decision { agent: outcome.agent, propensities, reward })
            .collect())
    }
}
