//! Fan-out of run news by one broadcast channel per run that somebody watches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::{RunId, TenantId};
use powerhouse_ports::events::{EventBus, RunNews};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// News that a slow reader may fall behind by; beyond, the oldest are dropped and it reads on from the store.
const BACKLOG: usize = 64;

type Channels = HashMap<(TenantId, RunId), broadcast::Sender<RunNews>>;

/// An event bus within one process. Runs that nobody watches cost nothing.
#[derive(Clone, Debug, Default)]
pub struct MemoryEventBus {
    channels: Arc<Mutex<Channels>>,
}

impl MemoryEventBus {
    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventBus for MemoryEventBus {
    async fn publish(&self, scope: &TenantScope, news: RunNews) {
        let key = (scope.tenant_id(), news.run);
        let mut channels = self.channels();
        // Sending fails when the last reader has gone: then the channel goes too.
        if channels.get(&key).is_some_and(|channel| channel.send(news).is_err()) {
            channels.remove(&key);
        }
    }

    async fn subscribe(&self, scope: &TenantScope, run: RunId) -> BoxStream<'static, RunNews> {
        let mut channels = self.channels();
        channels.retain(|_, channel| channel.receiver_count() > 0);
        let receiver = channels
            .entry((scope.tenant_id(), run))
            .or_insert_with(|| broadcast::channel(BACKLOG).0)
            .subscribe();
        // A gap is no error here: the next news names the newest event, and the reader fills up to it.
        BroadcastStream::new(receiver).filter_map(|news| async { news.inspect_err(missed).ok() }).boxed()
    }
}

fn missed(error: &BroadcastStreamRecvError) {
    let BroadcastStreamRecvError::Lagged(news) = error;
    metrics::counter!("powerhouse_event_bus_dropped_total", "reason" => "slow_reader").increment(*news);
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;
    use crate::testing::scope;

    fn run(number: u128) -> RunId {
        RunId::from_uuid(Uuid::from_u128(number))
    }

    fn news(number: u128, seq: u64) -> RunNews {
        RunNews { run: run(number), seq }
    }

    #[tokio::test]
    async fn every_subscriber_of_the_run_hears_it_in_order_and_no_other_does() {
        let bus = MemoryEventBus::default();
        let mut first = bus.subscribe(&scope(1), run(7)).await;
        let mut second = bus.subscribe(&scope(1), run(7)).await;
        let mut other_run = bus.subscribe(&scope(1), run(8)).await;
        let mut other_tenant = bus.subscribe(&scope(2), run(7)).await;
        bus.publish(&scope(1), news(7, 1)).await;
        bus.publish(&scope(1), news(7, 2)).await;
        for stream in [&mut first, &mut second] {
            assert_eq!(stream.next().await, Some(news(7, 1)));
            assert_eq!(stream.next().await, Some(news(7, 2)));
        }
        assert_eq!(other_run.next().now_or_never(), None);
        assert_eq!(other_tenant.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_slow_reader_misses_old_news_but_not_the_newest() {
        let bus = MemoryEventBus::default();
        let mut slow = bus.subscribe(&scope(1), run(7)).await;
        let last = u64::try_from(BACKLOG).unwrap() * 3;
        for seq in 1..=last {
            bus.publish(&scope(1), news(7, seq)).await;
        }
        let mut heard = Vec::new();
        while let Some(Some(news)) = slow.next().now_or_never() {
            heard.push(news.seq);
        }
        assert_eq!(heard.len(), BACKLOG);
        assert_eq!(heard.last(), Some(&last));
        assert!(heard.is_sorted());
    }

    #[tokio::test]
    async fn runs_that_nobody_watches_are_forgotten() {
        let bus = MemoryEventBus::default();
        for number in 0..100 {
            drop(bus.subscribe(&scope(1), run(number)).await);
            bus.publish(&scope(1), news(number, 1)).await;
        }
        assert!(bus.channels().is_empty());
    }
}
