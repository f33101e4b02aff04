//! Live events of runs. The journal is the truth; this only makes it fast.

use async_trait::async_trait;
use futures::stream::BoxStream;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::RunId;

/// That a run has new events up to and including a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunNews {
    /// The run.
    pub run: RunId,
    /// The newest event.
    pub seq: u64,
}

impl RunNews {
    /// Instead of a number: the run's journal is as it was, and a run that it has begun has ended.
    pub const OF_ANOTHER_RUN: u64 = 0;
}

/// Fans news of runs out. Delivery may miss or repeat; a reader fills gaps from the store.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Tells every subscriber.
    async fn publish(&self, scope: &TenantScope, news: RunNews);

    /// News of one run from now on.
    async fn subscribe(&self, scope: &TenantScope, run: RunId) -> BoxStream<'static, RunNews>;
}
