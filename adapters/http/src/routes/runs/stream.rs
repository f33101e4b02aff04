//! Runs as server-sent events (WHATWG HTML §9.2).

use std::convert::Infallible;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use http::HeaderValue;
use http::header::{CONTENT_LOCATION, HeaderMap};
use powerhouse_usecases::runs::RunWatch;
use salvo::prelude::Response;
use salvo::sse::{SseEvent, SseKeepAlive};

use super::views::EventView;
use crate::body::asks_for;
use crate::problem::Problem;

/// How often a quiet stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Whether the caller asks for a stream.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    asks_for(headers, "text/event-stream")
}

/// The event after which the caller reads on; the beginning when it names none.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let detail = "`Last-Event-ID` must be the id of an event of this run";
    let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    id.filter(|id| i64::try_from(*id).is_ok())
        .ok_or_else(|| Problem::bad_request("last_event_id_invalid", detail))
}

/// Streams a run's events until it has ended.
pub(super) fn send(watch: RunWatch, location: &str, res: &mut Response) {
    if let Ok(value) = HeaderValue::try_from(location) {
        res.headers_mut().insert(CONTENT_LOCATION, value);
    }
    // Proxies that buffer would hold events back.
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events(watch)).max_interval(KEEP_ALIVE).stream(res);
}

fn events(watch: RunWatch) -> impl Stream<Item = Result<SseEvent, Infallible>> + Send {
    let batches = stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(events)) => {
                let events = events.iter().map(|event| EventView::from(event).into_sse()).collect::<Vec<_>>();
                Some((events, Some(watch)))
            }
            Ok(None) => None,
            Err(refused) => {
                // The reader comes back with its last id, and misses nothing.
                let problem = Problem::from(refused);
                let event =
                    SseEvent::default().name("error").json(problem.document(None)).unwrap_or_default();
                Some((vec![event], None))
            }
        }
    });
    batches.flat_map(stream::iter).map(Ok)
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;

    use super::*;

    #[test]
    fn a_stream_is_wanted_when_accepted() {
        let accepts = |value| is_wanted(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))]));
        assert!(accepts("text/event-stream"));
        assert!(accepts("application/json;q=0.5, Text/Event-Stream;q=0.9"));
        assert!(!accepts("*/*"));
        assert!(!accepts("application/json"));
    }

    #[test]
    fn a_last_event_id_is_a_number() {
        let read = |value| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", HeaderValue::from_static(value));
            last_event_id(&headers).ok()
        };
        assert_eq!(read("17"), Some(17));
        assert_eq!(read("seventeen"), None);
        assert_eq!(read("-1"), None);
        assert_eq!(read("18446744073709551615"), None);
        assert_eq!(last_event_id(&HeaderMap::new()).ok(), Some(0));
    }
}
