//! Learning for tenants, away from whoever chooses.

use std::sync::Arc;

use powerhouse_domain::access::TenantScope;
use powerhouse_domain::selection::{Learnt, Lesson, Selector, Trained, record};
use powerhouse_ports::Chain;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{StoreError, TenantStore};
use tokio_util::sync::CancellationToken;

use super::selectors::{Known, versions};
use super::{MAX_CANDIDATES, Selectors};

/// The newest runs that the record is made of, and the newest good ones that are learnt from.
const MAX_RUNS: u32 = 2_000;
/// What counts of a task.
const MAX_TASK_CHARS: u32 = 2_000;

/// Learns for one tenant after the other. Each replica has one; what they learn is the same.
pub struct Learner {
    /// Where agents and runs are, and what is known of them.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Who wants to know.
    pub selectors: Arc<Selectors>,
}

impl Learner {
    /// Works until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        while let Some(scope) = stop.run_until_cancelled(self.selectors.next()).await {
            if let Err(error) = self.learn(scope, &stop).await {
                let tenant = scope.tenant_id();
                tracing::warn!(%tenant, error = %Chain(&error), "nothing could be learnt for a tenant");
            }
        }
    }

    /// Learns what runs and people have left, and writes it down if it is news.
    async fn learn(&self, scope: TenantScope, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut view = self.store.read(&scope).await?;
        let selector = view.selection().read().await?;
        let agents = view.agents().runnable(MAX_CANDIDATES).await?;
        let outcomes = view.selection().outcomes(selector.reset_at(), MAX_RUNS).await?;
        let praised = view.selection().praised(selector.reset_at(), MAX_RUNS, MAX_TASK_CHARS).await?;
        drop(view);

        let lesson = Lesson::of(&agents, &praised);
        let mut record = record(&outcomes);
        for (agent, learnt) in lesson.praised() {
            record.entry(*agent).or_default().learnt_examples = *learnt;
        }
        let digest = lesson.digest();
        let before = self.selectors.known(scope.tenant_id()).filter(|known| known.lesson == digest);
        let trained = match before {
            Some(known) => known.trained,
            None => train(lesson, stop).await,
        };
        if stop.is_cancelled() {
            return Ok(());
        }
        let now = self.clock.now();
        let threshold = trained.as_ref().map(|trained| trained.classifier().threshold().into());
        let learnt = Learnt { at: Some(now), record, lesson: digest.clone(), threshold };
        if let Some(news) = selector.learn(learnt) {
            self.write_down(scope, &news).await?;
        }
        let (agents, reset_at) = (versions(&agents), selector.reset_at());
        let known = Known { lesson: digest, agents, reset_at, at: now, trained };
        self.selectors.keep(scope.tenant_id(), known);
        Ok(())
    }

    /// Another replica may have learnt the same meanwhile, or somebody made the tenant forget: then it is looked at again.
    async fn write_down(&self, scope: TenantScope, news: &Selector) -> Result<(), StoreError> {
        let mut tx = self.store.begin(&scope).await?;
        match tx.selection().replace(news).await {
            Ok(()) => tx.commit().await,
            Err(StoreError::Conflict { .. }) => {
                self.selectors.want(scope);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Takes up to seconds, for many agents with many examples.
async fn train(lesson: Lesson, stop: &CancellationToken) -> Option<Arc<Trained>> {
    let stop = stop.clone();
    let trained = tokio::task::spawn_blocking(move || lesson.learn(&|| stop.is_cancelled())).await;
    trained.ok().flatten().map(Arc::new)
}
