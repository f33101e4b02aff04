//! Listens to a channel, and listens again when the connection was lost.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use redis::aio::PubSubStream;
use redis::{Client, Msg, RedisResult};
use tokio::time::sleep;

/// The pause before Redis is listened to again.
const PAUSE: Duration = Duration::from_millis(500);

/// What is published on a channel, for ever. Whoever reads must do without what was published while Redis was away.
pub(crate) fn messages(client: Client, channel: &'static str) -> impl Stream<Item = String> + Send {
    stream::unfold((client, None), move |(client, open)| async move {
        let mut open: Option<PubSubStream> = open;
        loop {
            let Some(listening) = &mut open else {
                match subscribe(&client, channel).await {
                    Ok(listening) => open = Some(listening),
                    Err(error) => {
                        tracing::debug!(%error, channel, "Redis cannot be listened to");
                        sleep(PAUSE).await;
                    }
                }
                continue;
            };
            match listening.next().await.as_ref().map(Msg::get_payload) {
                Some(Ok(text)) => return Some((text, (client, open))),
                Some(Err(_)) => {}
                None => {
                    open = None;
                    sleep(PAUSE).await;
                }
            }
        }
    })
}

async fn subscribe(client: &Client, channel: &str) -> RedisResult<PubSubStream> {
    let mut listener = client.get_async_pubsub().await?;
    listener.subscribe(channel).await?;
    Ok(listener.into_on_message())
}
