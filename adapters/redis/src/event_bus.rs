//! News of runs between replicas: published on one channel, and passed on to those who watch here. What waits goes as one
//! message, and a replica leaves unread what it has said itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::{RunId, TenantId};
use powerhouse_ports::events::{EventBus, RunNews};
use redis::{AsyncCommands as _, Client};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::Redis;
use crate::listener::messages;

const CHANNEL: &str = "powerhouse:runs";
/// News on their way; when Redis is slower, some are lost, and readers find the events in the journal.
const ON_THEIR_WAY: usize = 4_096;
/// News in one message, at most.
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
        let here = Uuid::new_v4();
        let listening = listen(redis.client().clone(), here, Arc::clone(&watched), Arc::clone(&local));
        let tasks =
            [tokio::spawn(publish(redis, here, queued)), tokio::spawn(listening)].map(AbortOnDropHandle::new);
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

async fn publish(redis: Redis, here: Uuid, mut queued: mpsc::Receiver<(TenantId, RunNews)>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while queued.recv_many(&mut batch, AT_ONCE).await > 0 {
        let message = encode(here, &batch);
        let sent =
            redis.with(async |connection| connection.publish::<_, _, ()>(CHANNEL, &message).await).await;
        if sent.is_none() {
            dropped("redis_away", batch.len());
        }
        batch.clear();
    }
}

fn dropped(reason: &'static str, news: usize) {
    let news = u64::try_from(news).unwrap_or(u64::MAX);
    metrics::counter!("powerhouse_event_bus_dropped_total", "reason" => reason).increment(news);
}

async fn listen(client: Client, here: Uuid, watched: Watched, local: Arc<dyn EventBus>) {
    let mut messages = pin!(messages(client, CHANNEL));
    while let Some(message) = messages.next().await {
        for (key, news) in decode(here, &message) {
            let scope =
                watched.lock().unwrap_or_else(PoisonError::into_inner).get(&key).map(|(scope, _)| *scope);
            if let Some(scope) = scope {
                local.publish(&scope, news).await;
            }
        }
    }
}

/// Who says it, then a line for each run.
fn encode(speaker: Uuid, batch: &[(TenantId, RunNews)]) -> String {
    let mut message = speaker.to_string();
    for (tenant, RunNews { run, seq }) in batch {
        // A string takes whatever is written.
        let _ = write!(message, "\n{tenant} {run} {seq}");
    }
    message
}

/// What others have said. Lines that are none are left out.
fn decode(here: Uuid, message: &str) -> impl Iterator<Item = (Key, RunNews)> {
    let mut lines = message.lines();
    let is_other =
        lines.next().is_some_and(|speaker| speaker.parse::<Uuid>().is_ok_and(|speaker| speaker != here));
    lines.take_while(move |_| is_other).filter_map(|line| {
        let mut parts = line.split(' ');
        let (tenant, run, seq) = (parts.next()?, parts.next()?, parts.next()?);
        let run = run.parse().ok()?;
        Some(((tenant.parse().ok()?, run), RunNews { run, seq: seq.parse().ok()? }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_read_what_was_said_and_leave_out_nonsense() {
        let (here, there) = (Uuid::from_u128(8), Uuid::from_u128(9));
        let (tenant, run) = (TenantId::from_uuid(Uuid::from_u128(1)), RunId::from_uuid(Uuid::from_u128(2)));
        let said = [(tenant, RunNews { run, seq: 7 }), (tenant, RunNews { run, seq: 8 })];
        let message = encode(here, &said);
        let heard: Vec<_> = said.map(|(tenant, news)| ((tenant, news.run), news)).into();
        assert_eq!(decode(there, &message).collect::<Vec<_>>(), heard);
        assert_eq!(decode(here, &message).count(), 0);
        for nonsense in ["a b c", &format!("{tenant} {run}"), &format!("{run} {tenant} 7"), ""] {
            let message = format!("{message}\n{nonsense}");
            assert_eq!(decode(there, &message).collect::<Vec<_>>(), heard);
        }
        for nonsense in ["", "a b c", &format!("{tenant} {run} 7"), &format!("nobody\n{tenant} {run} 7")] {
            assert_eq!(decode(there, nonsense).count(), 0);
        }
    }
}
