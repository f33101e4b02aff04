//! One call, or two of which the first to begin its answer wins.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use powerhouse_domain::model::ModelReply;
use powerhouse_ports::models::{DeltaSink, ModelError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

type Call<'a> = BoxFuture<'a, Result<ModelReply, ModelError>>;
type Text = (usize, String);

/// What came of a race.
pub(super) struct Finish {
    pub(super) result: Result<ModelReply, ModelError>,
    /// How long it took until anything was heard, if anything was.
    pub(super) begun_after: Option<Duration>,
    /// Whether a call was dropped that was on its way.
    pub(super) has_dropped: bool,
}

/// Makes a call with `make`, and another one when nothing was heard after `patience`. The text of the one that begins first
/// goes to `deltas`; the other is dropped then.
pub(super) async fn race<'a>(
    make: impl Fn(bool, Box<dyn DeltaSink>) -> Option<Call<'a>>,
    patience: Option<Duration>,
    deltas: &mut dyn DeltaSink,
) -> Finish {
    let (sender, mut texts) = mpsc::channel(1);
    let relay = |who| Box::new(Relay { who, sender: sender.clone() });
    let mut late = pin!(sleep(patience.unwrap_or_default()));
    let mut may_hedge = patience.is_some();
    let mut race = Race {
        begun: Instant::now(),
        calls: [make(false, relay(0)), None],
        winner: None,
        finish: Finish { result: Err(nobody()), begun_after: None, has_dropped: false },
        deltas,
    };
    loop {
        tokio::select! {
            biased;
            Some(text) = texts.recv() => race.hear(text).await,
            (who, result) = next(&mut race.calls) => {
                // What it said last, or the other has said, may still be on its way.
                while let Ok(text) = texts.try_recv() {
                    race.hear(text).await;
                }
                if race.ends_with(who, result) {
                    return race.finish;
                }
            }
            () = &mut late, if may_hedge && race.winner.is_none() => {
                may_hedge = false;
                race.calls[1] = make(true, relay(1));
            }
        }
    }
}

struct Race<'a, 'd> {
    begun: Instant,
    calls: [Option<Call<'a>>; 2],
    /// Who was heard first.
    winner: Option<usize>,
    finish: Finish,
    deltas: &'d mut dyn DeltaSink,
}

impl Race<'_, '_> {
    /// Passes a text on, if it is the winner's; the first makes one.
    async fn hear(&mut self, (who, text): Text) {
        if self.winner.is_none() {
            self.winner = Some(who);
            self.finish.begun_after = Some(self.begun.elapsed());
            self.finish.has_dropped = self.calls[1 - who].take().is_some();
        }
        if self.winner == Some(who) {
            self.deltas.push(&text).await;
        }
    }

    /// Whether that a call has ended is the end of the race.
    fn ends_with(&mut self, who: usize, result: Result<ModelReply, ModelError>) -> bool {
        let other_goes_on = self.calls[1 - who].is_some();
        match self.winner {
            // The other one was heard first, though this one has ended first.
            Some(winner) if winner != who => {
                self.finish.has_dropped |= result.is_ok();
                return false;
            }
            // The other one may do better.
            None if result.is_err() && other_goes_on => return false,
            _ => {}
        }
        if result.is_ok() {
            self.finish.begun_after = self.finish.begun_after.or(Some(self.begun.elapsed()));
            self.finish.has_dropped |= other_goes_on;
        }
        self.finish.result = result;
        true
    }
}

/// The next call that ends.
async fn next(calls: &mut [Option<Call<'_>>; 2]) -> (usize, Result<ModelReply, ModelError>) {
    poll_fn(|context| {
        for (who, slot) in calls.iter_mut().enumerate() {
            if let Some(call) = slot
                && let Poll::Ready(result) = call.as_mut().poll(context)
            {
                *slot = None;
                return Poll::Ready((who, result));
            }
        }
        Poll::Pending
    })
    .await
}

fn nobody() -> ModelError {
    ModelError::Unavailable { retry_after: None, source: "nobody was asked".into() }
}

/// Passes text on, and says whose it is.
struct Relay {
    who: usize,
    sender: mpsc::Sender<Text>,
}

#[async_trait]
impl DeltaSink for Relay {
    async fn push(&mut self, text: &str) {
        // Nobody receives any more once the race is over; then this call is about to be dropped.
        let _ = self.sender.send((self.who, text.to_owned())).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt as _;
    use powerhouse_domain::model::Usage;

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<String>>);

    #[async_trait]
    impl DeltaSink for Heard {
        async fn push(&mut self, text: &str) {
            self.0.lock().unwrap().push_str(text);
        }
    }

    /// Says these words, each so many seconds after the one before, and then fails or not.
    fn call(
        words: &'static [(u64, &'static str)],
        fails: bool,
        mut sink: Box<dyn DeltaSink>,
    ) -> Call<'static> {
        async move {
            let mut said = String::new();
            for (seconds, word) in words {
                sleep(Duration::from_secs(*seconds)).await;
                sink.push(word).await;
                said.push_str(word);
            }
            if fails { Err(nobody()) } else { Ok(ModelReply::text(said, Usage::default(), "m")) }
        }
        .boxed()
    }

    type Words = (&'static [(u64, &'static str)], bool);

    async fn run(first: Words, second: Words, patience: Option<u64>) -> (Finish, String, Duration) {
        let (mut heard, begun) = (Heard::default(), Instant::now());
        let make = |again, sink| {
            let (words, fails) = if again { second } else { first };
            Some(call(words, fails, sink))
        };
        let finish = race(make, patience.map(Duration::from_secs), &mut heard).await;
        let text = heard.0.lock().unwrap().clone();
        (finish, text, begun.elapsed())
    }

    const NOBODY: Words = (&[], true);

    #[tokio::test(start_paused = true)]
    async fn without_a_second_call_it_is_the_call() {
        let (finish, heard, _) = run((&[(1, "a"), (9, "b")], false), NOBODY, None).await;
        assert_eq!((finish.result.unwrap().text, heard.as_str()), ("ab".to_owned(), "ab"));
        assert_eq!((finish.begun_after, finish.has_dropped), (Some(Duration::from_secs(1)), false));
        let (finish, heard, _) = run((&[(1, "a")], true), NOBODY, None).await;
        assert!(finish.result.is_err() && finish.begun_after.is_some() && heard == "a");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_begins_first_wins_and_the_other_is_dropped() {
        let late: Words = (&[(50, "late")], false);
        let quick: Words = (&[(2, "a"), (1, "b")], false);
        let (finish, heard, took) = run(late, quick, Some(5)).await;
        assert_eq!(
            (finish.result.unwrap().text, heard.as_str(), finish.has_dropped),
            ("ab".to_owned(), "ab", true)
        );
        assert_eq!((took, finish.begun_after), (Duration::from_secs(8), Some(Duration::from_secs(7))));
        // The first one begins while the second is on its way.
        let (finish, heard, _) = run((&[(6, "a"), (9, "b")], false), late, Some(5)).await;
        assert_eq!((heard.as_str(), finish.has_dropped, finish.result.is_ok()), ("ab", true, true));
        // It begins in time: nobody else is asked.
        let (finish, heard, _) = run((&[(1, "a"), (90, "b")], false), quick, Some(5)).await;
        assert_eq!((heard.as_str(), finish.has_dropped), ("ab", false));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_leaves_it_to_the_other_unless_it_was_heard() {
        let fails_late: Words = (&[(7, "")], true);
        let (finish, heard, _) = run((&[(6, "a")], true), (&[(9, "b")], false), Some(5)).await;
        assert!(finish.result.is_err() && heard == "a", "a reader never hears two texts");
        let silent: Words = (&[(40, "x")], false);
        let (finish, heard, _) = run(silent, NOBODY, Some(5)).await;
        assert_eq!((heard.as_str(), finish.has_dropped, finish.result.is_ok()), ("x", false, true));
        let (finish, _, _) = run(NOBODY, silent, Some(5)).await;
        assert!(finish.result.is_err() && !finish.has_dropped, "it has failed before anybody was late");
        let (finish, ..) = run(fails_late, fails_late, None).await;
        assert!(finish.result.is_err());
    }
}
