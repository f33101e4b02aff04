//! `Prefer: wait=N` (RFC 7240 §4.3).

use std::time::Duration;

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};
use powerhouse_usecases::runs::RunWatch;
use salvo::prelude::Response;

use crate::problem::Problem;

/// The longest wait, in seconds.
const MAX_WAIT: u64 = 60;
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long the caller would wait. Other preferences are ignored, as the RFC has it.
pub(super) fn wait(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let wait = preferences.flat_map(|text| text.split(',')).find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').to_owned())
    });
    let Some(seconds) = wait else { return Ok(None) };
    let detail = "`Prefer: wait=` takes a whole number of seconds";
    let seconds: u64 = seconds.parse().map_err(|_| Problem::bad_request("prefer_invalid", detail))?;
    Ok(Some(Duration::from_secs(seconds.min(MAX_WAIT))))
}

/// Reads until the run has ended. Says whether it has, within the limit.
pub(super) async fn until_end(watch: &mut RunWatch, limit: Duration) -> Result<bool, Problem> {
    let ended = async {
        while watch.next().await?.is_some() {}
        Ok::<_, Problem>(())
    };
    match tokio::time::timeout(limit, ended).await {
        Ok(result) => result.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Says how long was waited for.
pub(super) fn confirm(limit: Duration, res: &mut Response) {
    if let Ok(value) = HeaderValue::try_from(format!("wait={}", limit.as_secs())) {
        res.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Result<Option<Duration>, u16> {
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("prefer"), HeaderValue::from_static(value))]);
        wait(&headers).map_err(|_| 400)
    }

    #[test]
    fn a_wait_is_read_among_other_preferences_and_bounded() {
        assert_eq!(of("wait=5"), Ok(Some(Duration::from_secs(5))));
        assert_eq!(of("respond-async, Wait=\"7\""), Ok(Some(Duration::from_secs(7))));
        assert_eq!(of("wait=100000"), Ok(Some(Duration::from_secs(MAX_WAIT))));
        assert_eq!(of("return=minimal"), Ok(None));
        assert_eq!(of("wait=soon"), Err(400));
        assert_eq!(wait(&HeaderMap::new()).ok(), Some(None));
    }
}
