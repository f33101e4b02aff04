//! The contract of `EventBus`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use powerhouse_domain::ids::RunId;
use powerhouse_ports::events::{EventBus, RunNews};
use tokio::time::timeout;
use uuid::Uuid;

use super::sample::scope;

/// How long news may take in a test.
const PATIENCE: Duration = Duration::from_secs(10);

/// The adapter under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The same bus, as each replica has it, and connected.
    async fn replicas(&self) -> Vec<Arc<dyn EventBus>>;
}

/// Declares the suite for a harness, an expression that may be evaluated often: one test a promise.
#[macro_export]
macro_rules! event_bus_contract {
    ($harness:expr) => {
        $crate::contract_tests!($harness, events:
            whoever_watches_a_run_hears_its_news_in_order, nobody_hears_of_others_runs, a_slow_reader_hears_the_newest
        );
    };
}

fn news(run: u128, seq: u64) -> RunNews {
    RunNews { run: RunId::from_uuid(Uuid::from_u128(run)), seq }
}

/// What is heard up to a sequence number.
async fn hear(heard: &mut BoxStream<'static, RunNews>, last: u64) -> Vec<RunNews> {
    let mut all = Vec::new();
    while all.last().is_none_or(|news: &RunNews| news.seq < last) {
        all.push(timeout(PATIENCE, heard.next()).await.expect("news in time").expect("no end"));
    }
    all
}

/// On every replica, whichever tells.
pub async fn whoever_watches_a_run_hears_its_news_in_order(harness: &impl Harness) {
    let replicas = harness.replicas().await;
    let mut watching = Vec::new();
    for replica in &replicas {
        watching.push(replica.subscribe(&scope(1), news(7, 0).run).await);
        watching.push(replica.subscribe(&scope(1), news(7, 0).run).await);
    }
    for seq in 1..=40 {
        replicas[0].publish(&scope(1), news(7, seq)).await;
    }
    for heard in &mut watching {
        let mut all = hear(heard, 40).await;
        // A replica may hear its own news again by way of the others.
        all.dedup();
        assert!(all.is_sorted_by_key(|news| news.seq) && all.iter().all(|heard| heard.run == news(7, 0).run));
    }
}

/// Neither another run's news nor another tenant's, even with the same id.
pub async fn nobody_hears_of_others_runs(harness: &impl Harness) {
    let replicas = harness.replicas().await;
    let near = &replicas[replicas.len() - 1];
    let mut mine = near.subscribe(&scope(1), news(7, 0).run).await;
    let mut others =
        [near.subscribe(&scope(1), news(8, 0).run).await, near.subscribe(&scope(2), news(7, 0).run).await];
    for seq in 1..=10 {
        replicas[0].publish(&scope(1), news(7, seq)).await;
    }
    hear(&mut mine, 10).await;
    for other in &mut others {
        assert!(timeout(Duration::from_millis(50), other.next()).await.is_err());
    }
}

/// News that a reader was too slow for are dropped, the oldest first: the gap shows in the numbers, and the newest names
/// how far to read in the journal.
pub async fn a_slow_reader_hears_the_newest(harness: &impl Harness) {
    let replicas = harness.replicas().await;
    let mut slow = replicas[0].subscribe(&scope(1), news(7, 0).run).await;
    for seq in 1..=1_000 {
        replicas[0].publish(&scope(1), news(7, seq)).await;
    }
    let all = hear(&mut slow, 1_000).await;
    assert!(all.len() < 1_000 && all[0].seq > 1, "nothing is kept for ever for one who does not read");
}
