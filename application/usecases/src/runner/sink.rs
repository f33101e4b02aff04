//! Where a model's text goes while it comes, and where it is cut.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use powerhouse_domain::effects::EffectKey;
use powerhouse_domain::model::{Channel, ModelRequest};
use powerhouse_ports::models::DeltaSink;
use tokio::sync::{mpsc, oneshot};

use super::perform::Delta;

/// No tokeniser makes tokens of more bytes than this on average over a text.
const BYTES_OF_A_TOKEN: usize = 16;

/// Whether anything of a reply was heard: then it is billed, however the call ends.
pub(super) type Heard = Arc<AtomicBool>;

/// Passes text on, as long as it is within the request's bound.
pub(super) struct Sink {
    key: EffectKey,
    channel: Channel,
    deltas: mpsc::Sender<Delta>,
    heard: Heard,
    most: usize,
    text: String,
    pieces: usize,
    cut: Option<oneshot::Sender<String>>,
}

impl Sink {
    /// A sink, and what tells that its text passed the bound: the text up to there.
    pub(super) fn new(
        key: &EffectKey,
        request: &ModelRequest,
        deltas: mpsc::Sender<Delta>,
        heard: Heard,
    ) -> (Self, oneshot::Receiver<String>) {
        let (cut, was_cut) = oneshot::channel();
        let most = request.max_output_tokens.and_then(|most| usize::try_from(most).ok());
        let sink = Self {
            key: key.clone(),
            channel: request.channel,
            deltas,
            heard,
            most: most.unwrap_or(usize::MAX),
            text: String::new(),
            pieces: 0,
            cut: Some(cut),
        };
        (sink, was_cut)
    }

    /// The fewest tokens that the text so far can be: a piece is one at least.
    fn tokens(&self, next: &str) -> usize {
        self.pieces.max((self.text.len() + next.len()) / BYTES_OF_A_TOKEN)
    }
}

#[async_trait]
impl DeltaSink for Sink {
    async fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.heard.store(true, Ordering::Relaxed);
        self.pieces += 1;
        if self.tokens(text) > self.most
            && let Some(cut) = self.cut.take()
        {
            let _ = cut.send(std::mem::take(&mut self.text));
            // Whoever waits for the text drops the call.
            pending::<()>().await;
        }
        self.text.push_str(text);
        let delta = Delta { key: self.key.clone(), channel: self.channel, text: text.to_owned() };
        // The drive has ended when nobody receives; then this future is about to be dropped too.
        let _ = self.deltas.send(delta).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn text_that_passes_the_bound_is_cut_before_it() {
        let request =
            ModelRequest { max_output_tokens: Some(2), ..ModelRequest::answer("answer", Vec::new()) };
        let (sender, mut received) = mpsc::channel(9);
        let (mut sink, cut) = Sink::new(&"0".parse().unwrap(), &request, sender, Heard::default());
        for word in ["one ", "", "two "] {
            sink.push(word).await;
        }
        assert!(sink.push("three").now_or_never().is_none(), "the model hears nothing any more");
        assert_eq!(cut.await.unwrap(), "one two ");
        drop(sink);
        let mut texts = Vec::new();
        while let Some(delta) = received.recv().await {
            texts.push(delta.text);
        }
        assert_eq!(texts, ["one ", "two "]);
    }
}
