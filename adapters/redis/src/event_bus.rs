//! News of runs between replicas: published on one channel, and passed on to those who watch here.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::{RunId, TenantId};
use powerhouse_ports::events::{EventBus, RunNews};
use redis::{Client, pipe};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::Redis;
use crate::listener::messages;

const CHANNEL: &str = "powerhouse:runs";
/// News on their way; when Redis is slower, some are lost, and readers find the events in the journal.
const ON_THEIR_WAY: usize = 4_096;
/// News that go in one round trip, at most.
const AT_ONCE: usize = 256;

type Key = (TenantId, RunId);

/// Who watches here. The scope is kept, since none can be made from a message.
type Watched = Arc<Mutex<HashMap<Key, (TenantScope, usize)>>>;

/// An event bus over all replicas. What happens in this one is told at once, with or without Redis.
pub struct RedisEventBus {
    local: Arc<dyn EventBus>,
    outgoing: mpsc::Sender<(TenantId, RunNews)>,
    watched: Watched,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl RedisEventBus {
    /// A bus, and the one in the process that serves who watches here. Needs a tokio runtime.
    pub fn new(redis: Redis, local: Arc<dyn EventBus>) -> Self {
        let (outgoing, queued) = mpsc::channel(ON_THEIR_WAY);
        let watched = Watched::default();
        let listening = listen(redis.client().clone(), Arc::clone(&watched), Arc::clone(&local));
        let tasks =
            [tokio::spawn(publish(redis, queued)), tokio::spawn(listening)].map(AbortOnDropHandle::new);
        Self { local, outgoing, watched, _tasks: tasks }
    }
}

#[async_trait]
impl EventBus for RedisEventBus {
    async fn publish(&self, scope: &TenantScope, news: RunNews) {
        self.local.publish(scope, news).await;
        // A full queue drops it: whoever writes must not wait for those who watch.
        if self.outgoing.try_send((scope.tenant_id(), news)).is_err() {
            dropped("queue_full", 1);
        }
    }

    async fn subscribe(&self, scope: &TenantScope, run: RunId) -> BoxStream<'static, RunNews> {
        let key = (scope.tenant_id(), run);
        let news = self.local.subscribe(scope, run).await;
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.entry(key).or_insert((*scope, 0)).1 += 1;
        drop(watched);
        Watch { news, key, watched: Arc::clone(&self.watched) }.boxed()
    }
}

/// The news of one run, counted while somebody reads them.
struct Watch {
    news: BoxStream<'static, RunNews>,
    key: Key,
    watched: Watched,
}

impl Stream for Watch {
    type Item = RunNews;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RunNews>> {
        self.news.poll_next_unpin(cx)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = watched.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                watched.remove(&self.key);
            }
        }
    }
}

async fn publish(redis: Redis, mut queued: mpsc::Receiver<(TenantId, RunNews)>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while queued.recv_many(&mut batch, AT_ONCE).await > 0 {
        let mut commands = pipe();
        let told = batch.len();
        for (tenant, news) in batch.drain(..) {
            commands.publish(CHANNEL, encode(tenant, news)).ignore();
        }
        let sent = redis.with(async |connection| commands.query_async::<()>(connection).await).await;
        if sent.is_none() {
            dropped("redis_away", told);
        }
    }
}

fn dropped(reason: &'static str, news: usize) {
    let news = u64::try_from(news).unwrap_or(u64::MAX);
    metrics::counter!("powerhouse_event_bus_dropped_total", "reason" => reason).increment(news);
}

async fn listen(client: Client, watched: Watched, local: Arc<dyn EventBus>) {
    let mut messages = pin!(messages(client, CHANNEL));
    while let Some(text) = messages.next().await {
        let Some((key, news)) = decode(&text) else { continue };
        let scope = watched.lock().unwrap_or_else(PoisonError::into_inner).get(&key).map(|(scope, _)| *scope);
        if let Some(scope) = scope {
            local.publish(&scope, news).await;
        }
    }
}

fn encode(tenant: TenantId, news: RunNews) -> String {
    format!("{tenant} {} {}", news.run, news.seq)
}

fn decode(text: &str) -> Option<(Key, RunNews)> {
    let mut parts = text.split(' ');
    let (tenant, run, seq) = (parts.next()?, parts.next()?, parts.next()?);
    let run = run.parse().ok()?;
    Some(((tenant.parse().ok()?, run), RunNews { run, seq: seq.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn news_survive_the_channel_and_nonsense_is_ignored() {
        let (tenant, run) = (TenantId::from_uuid(Uuid::from_u128(1)), RunId::from_uuid(Uuid::from_u128(2)));
        let news = RunNews { run, seq: 7 };
        assert_eq!(decode(&encode(tenant, news)), Some(((tenant, run), news)));
        for nonsense in ["", "a b c", &format!("{tenant} {run}"), &format!("{run} {tenant} 7")] {
            assert_eq!(decode(nonsense), None);
        }
    }
}
