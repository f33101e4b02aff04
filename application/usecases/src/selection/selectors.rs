//! What this process has learnt of tenants' agents, and for which tenants it should learn anew.
//!
//! Choosing never waits for training, but for the first time that a tenant is met: then it waits a moment. What is at hand serves
//! until the [`Learner`](super::Learner) has something newer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::TenantId;
use powerhouse_domain::selection::{Selector, Trained};
use tokio::sync::Notify;

/// Tenants and bytes that are kept: those that were longest unused go first.
const MAX_TENANTS: usize = 1_000;
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// Tenants that wait to be learnt for.
const MAX_WANTED: usize = 10_000;
/// What was learnt longer ago is looked at again when it is used.
const FRESH_FOR: TimeDelta = TimeDelta::seconds(30);
/// What is known to be old is not looked at again sooner.
const PAUSE: TimeDelta = TimeDelta::seconds(1);
/// The longest that a first choice waits.
const PATIENCE: Duration = Duration::from_millis(300);

/// What was learnt of a tenant's agents.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// What from; see [`Lesson::digest`](powerhouse_domain::selection::Lesson::digest).
    pub(super) lesson: String,
    /// The agents that there were; see [`versions`].
    pub(super) agents: u64,
    /// When the tenant last wanted all forgotten.
    pub(super) reset_at: Option<DateTime<Utc>>,
    /// When.
    pub(super) at: DateTime<Utc>,
    /// Nothing, where too few agents have examples.
    pub(super) trained: Option<Arc<Trained>>,
}

/// What a choice asks for.
pub(crate) struct Asked<'a> {
    /// Of which tenant.
    pub(crate) scope: TenantScope,
    /// What the tenant's selection knows, as it is stored.
    pub(crate) selector: &'a Selector,
    /// The agents that there are.
    pub(crate) agents: &'a [Agent],
    /// The time.
    pub(crate) now: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<TenantId, (Known, u64)>,
    uses: u64,
    wanted: VecDeque<TenantScope>,
    waiting: HashSet<TenantId>,
}

/// What this process has learnt, by tenant.
#[derive(Debug, Default)]
pub struct Selectors {
    inner: Mutex<Inner>,
    wake: Notify,
    learnt: Notify,
}

impl Selectors {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants to learn for a tenant, soon. Nothing happens when it waits for that already, or when too many do.
    pub(crate) fn want(&self, scope: TenantScope) {
        let mut inner = self.lock();
        if inner.wanted.len() < MAX_WANTED && inner.waiting.insert(scope.tenant_id()) {
            inner.wanted.push_back(scope);
            self.wake.notify_one();
        }
    }

    /// The next tenant to learn for.
    pub(super) async fn next(&self) -> TenantScope {
        loop {
            let next = {
                let mut inner = self.lock();
                let next = inner.wanted.pop_front();
                if let Some(scope) = &next {
                    inner.waiting.remove(&scope.tenant_id());
                }
                next
            };
            match next {
                Some(scope) => return scope,
                None => self.wake.notified().await,
            }
        }
    }

    /// Waits a moment for what is to be learnt of a tenant that this process has not met.
    pub(crate) async fn ready(&self, scope: TenantScope) {
        let is_known = || self.lock().known.contains_key(&scope.tenant_id());
        let learnt = async {
            loop {
                let mut learnt = pin!(self.learnt.notified());
                learnt.as_mut().enable();
                if is_known() {
                    return;
                }
                learnt.await;
            }
        };
        if !is_known() {
            self.want(scope);
            // Without it, words have to do.
            let _ = tokio::time::timeout(PATIENCE, learnt).await;
        }
    }

    /// What is at hand to choose with; if it is old, it is learnt anew for the next time. Nothing that is to be forgotten.
    pub(crate) fn trained(&self, asked: &Asked<'_>) -> Option<Arc<Trained>> {
        let Some(known) = self.known(asked.scope.tenant_id()) else {
            self.want(asked.scope);
            return None;
        };
        let age = asked.now - known.at;
        let is_old = known.lesson != asked.selector.learnt().lesson || known.agents != versions(asked.agents);
        if age > FRESH_FOR || (is_old && age > PAUSE) {
            self.want(asked.scope);
        }
        known.trained.filter(|_| known.reset_at == asked.selector.reset_at())
    }

    pub(super) fn known(&self, tenant: TenantId) -> Option<Known> {
        let mut inner = self.lock();
        inner.uses += 1;
        let now = inner.uses;
        inner.known.get_mut(&tenant).map(|(known, used)| {
            *used = now;
            known.clone()
        })
    }

    pub(super) fn keep(&self, tenant: TenantId, known: Known) {
        let bytes = |known: &Known| known.trained.as_ref().map_or(0, |trained| trained.classifier().bytes());
        let mut inner = self.lock();
        inner.uses += 1;
        let now = inner.uses;
        inner.known.insert(tenant, (known, now));
        while inner.known.len() > MAX_TENANTS
            || inner.known.values().map(|(known, _)| bytes(known)).sum::<usize>() > MAX_BYTES
        {
            let oldest = inner.known.iter().min_by_key(|(_, (_, used))| *used).map(|(tenant, _)| *tenant);
            match oldest.filter(|_| inner.known.len() > 1) {
                Some(oldest) => drop(inner.known.remove(&oldest)),
                None => break,
            }
        }
        drop(inner);
        self.learnt.notify_waiters();
    }
}

/// The agents that there are, in their versions, as a number for this process.
pub(super) fn versions(agents: &[Agent]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for agent in agents {
        (agent.id(), agent.runnable().map(|version| version.number)).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::access::{Principal, Role};
    use powerhouse_domain::ids::{SessionId, UserId};
    use uuid::Uuid;

    use super::*;

    fn scope(number: u128) -> TenantScope {
        let id = Uuid::from_u128(number);
        let tenant = TenantId::from_uuid(id);
        Principal::verified(tenant, UserId::from_uuid(id), SessionId::from_uuid(id), Role::Member).scope()
    }

    fn nothing(seconds: i64) -> Known {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        Known { lesson: String::new(), agents: versions(&[]), reset_at: None, at, trained: None }
    }

    fn is_wanted(selectors: &Selectors) -> bool {
        !selectors.lock().wanted.is_empty()
    }

    #[tokio::test]
    async fn each_tenant_is_wanted_once_until_it_is_taken() {
        let selectors = Selectors::default();
        for tenant in [1, 2, 1, 2] {
            selectors.want(scope(tenant));
        }
        assert_eq!([selectors.next().await, selectors.next().await], [scope(1), scope(2)]);
        assert!(!is_wanted(&selectors));
        selectors.want(scope(1));
        assert!(is_wanted(&selectors));
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_choice_waits_for_what_is_learnt_but_not_for_long() {
        let selectors = Arc::new(Selectors::default());
        let begun = tokio::time::Instant::now();
        selectors.ready(scope(1)).await;
        assert_eq!(begun.elapsed(), PATIENCE);
        let waiting = {
            let selectors = Arc::clone(&selectors);
            tokio::spawn(async move { selectors.ready(scope(1)).await })
        };
        tokio::task::yield_now().await;
        selectors.keep(scope(1).tenant_id(), nothing(0));
        let begun = tokio::time::Instant::now();
        waiting.await.unwrap();
        selectors.ready(scope(1)).await;
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn what_is_old_is_wanted_anew() {
        let selectors = Selectors::default();
        selectors.keep(scope(1).tenant_id(), nothing(0));
        let ask = |selector: &Selector, seconds| {
            let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
            selectors.trained(&Asked { scope: scope(1), selector, agents: &[], now });
            let mut inner = selectors.lock();
            inner.waiting.clear();
            inner.wanted.pop_front().is_some()
        };
        let same = Selector::default();
        assert!(!ask(&same, 30));
        assert!(ask(&same, 31));
        let other = powerhouse_domain::selection::Learnt { lesson: "other".into(), ..Default::default() };
        let other = same.learn(other).unwrap();
        assert!(!ask(&other, 1));
        assert!(ask(&other, 2));
    }

    #[test]
    fn there_is_a_bound_and_the_longest_unused_go() {
        let selectors = Selectors::default();
        for tenant in 0..=MAX_TENANTS as u128 {
            selectors.keep(scope(tenant).tenant_id(), nothing(0));
            selectors.known(scope(0).tenant_id());
        }
        assert_eq!(selectors.lock().known.len(), MAX_TENANTS);
        assert!(selectors.known(scope(0).tenant_id()).is_some());
        assert!(selectors.known(scope(1).tenant_id()).is_none());
    }
}
