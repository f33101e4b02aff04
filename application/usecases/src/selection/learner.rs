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

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use powerhouse_domain::access::{Principal, Role};
    use powerhouse_domain::ids::{AgentId, SessionId, TenantId, UserId};
    use powerhouse_domain::selection::Outcome;
    use powerhouse_ports::clock::MockClock;
    use powerhouse_ports::store::{MockTenantStore, MockTenantTx};
    use uuid::Uuid;

    use super::*;

    fn scope() -> TenantScope {
        let id = Uuid::from_u128(1);
        let (tenant, user) = (TenantId::from_uuid(id), UserId::from_uuid(id));
        Principal::verified(tenant, user, SessionId::from_uuid(id), Role::Owner).scope()
    }

    fn outcome() -> Outcome {
        Outcome {
            agent: AgentId::from_uuid(Uuid::from_u128(7)),
            succeeded: true,
            took: TimeDelta::seconds(1),
            cost_micros: 5,
            good: 1,
            bad: 0,
            ended_at: DateTime::UNIX_EPOCH,
        }
    }

    /// A learner of a tenant without agents whose selection knows this and who had one run.
    fn learner(known: Selector, mut store: MockTenantStore) -> Learner {
        store.expect_read().return_once(move |_| {
            let mut view = MockTenantTx::default();
            view.selection.expect_read().return_once(move || Ok(known));
            view.selection.expect_outcomes().return_once(|_, _| Ok(vec![outcome()]));
            view.selection.expect_praised().return_once(|_, _, _| Ok(Vec::new()));
            view.agents.expect_runnable().return_once(|_| Ok(Vec::new()));
            Ok(Box::new(view))
        });
        let mut clock = MockClock::new();
        clock.expect_now().return_const(DateTime::UNIX_EPOCH);
        Learner { store: Arc::new(store), clock: Arc::new(clock), selectors: Arc::default() }
    }

    fn news() -> Selector {
        let learnt = Learnt { record: record(&[outcome()]), ..Learnt::default() };
        Selector::default().learn(learnt).unwrap()
    }

    #[tokio::test]
    async fn news_is_written_down_and_what_is_known_is_not() {
        let mut store = MockTenantStore::new();
        store.expect_begin().once().return_once(|_| {
            let mut tx = MockTenantTx::default();
            let is_news = |written: &Selector| {
                (written.revision(), &written.learnt().record) == (1, &news().learnt().record)
            };
            tx.selection.expect_replace().once().withf(is_news).return_once(|_| Ok(()));
            Ok(Box::new(tx))
        });
        let stop = CancellationToken::new();
        learner(Selector::default(), store).learn(scope(), &stop).await.unwrap();

        let mut store = MockTenantStore::new();
        store.expect_begin().never();
        let learner = learner(news(), store);
        learner.learn(scope(), &stop).await.unwrap();
        assert!(learner.selectors.known(scope().tenant_id()).is_some());
    }

    #[tokio::test]
    async fn what_another_replica_wrote_meanwhile_is_looked_at_again() {
        let mut store = MockTenantStore::new();
        store.expect_begin().once().return_once(|_| {
            let mut tx = MockTenantTx::default();
            let conflict = || Err(StoreError::Conflict { entity: "selection" });
            tx.selection.expect_replace().return_once(move |_| conflict());
            Ok(Box::new(tx))
        });
        let learner = learner(Selector::default(), store);
        learner.learn(scope(), &CancellationToken::new()).await.unwrap();
        assert_eq!(learner.selectors.next().await, scope());
    }
}
