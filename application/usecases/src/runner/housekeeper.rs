//! Clears away what nobody needs any more, and makes room for what comes.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Months, TimeDelta, Utc};
use futures::future::BoxFuture;
use powerhouse_ports::Chain;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::store::StoreError;
use tokio_util::sync::CancellationToken;

/// How long a session stays after it has expired.
const SESSIONS_KEPT: TimeDelta = TimeDelta::days(1);
/// How long a delivery to a webhook stays after it has ended, for somebody to look at it or to send it again.
const DELIVERIES_KEPT: TimeDelta = TimeDelta::days(30);
/// The pause after everything was cleared away.
const EVERY: Duration = Duration::from_hours(1);
/// Rows that go in one transaction, so that none is long.
const AT_ONCE: u32 = 1_000;

/// How long things are kept after their month is over; for ever where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Runs, with their journals.
    pub runs: Option<TimeDelta>,
    /// What was used.
    pub usage: Option<Months>,
    /// Who changed what.
    pub audit: Option<Months>,
}

/// Clears away sessions that are over, and what was kept long enough. Each replica has one; they do not disturb each
/// other.
pub struct Housekeeper {
    /// Where sessions and runs are.
    pub platform: Arc<dyn PlatformStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// How long the rest is kept.
    pub kept: Retention,
}

impl Housekeeper {
    /// Works until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            self.make_room().await;
            let now = self.clock.now();
            self.clear("sessions", Some(now - SESSIONS_KEPT), |before| {
                self.platform.purge_sessions(before, AT_ONCE)
            })
            .await;
            self.clear("deliveries", Some(now - DELIVERIES_KEPT), |before| {
                self.platform.purge_deliveries(before, AT_ONCE)
            })
            .await;
            self.clear("idempotency keys", Some(now), |before| {
                self.platform.purge_idempotency_keys(before, AT_ONCE)
            })
            .await;
            let before = self.kept.runs.and_then(|kept| now.checked_sub_signed(kept));
            self.clear("runs", before, |before| self.platform.purge_runs(before, AT_ONCE)).await;
            let before = self.kept.usage.and_then(|kept| now.checked_sub_months(kept));
            self.clear("usage", before, |before| self.platform.purge_usage(before, AT_ONCE)).await;
            let before = self.kept.audit.and_then(|kept| now.checked_sub_months(kept));
            self.clear("audit records", before, |before| self.platform.purge_audit(before, AT_ONCE)).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn make_room(&self) {
        if let Err(error) = self.platform.make_room().await {
            tracing::warn!(error = %Chain(&error), "no room could be made for the coming months");
        }
    }

    /// Removes what is older, until little is left.
    async fn clear<'a>(
        &'a self,
        what: &'static str,
        before: Option<DateTime<Utc>>,
        purge: impl Fn(DateTime<Utc>) -> BoxFuture<'a, Result<u64, StoreError>>,
    ) {
        let Some(before) = before else { return };
        let mut cleared = 0;
        loop {
            match purge(before).await {
                Ok(gone) => {
                    cleared += gone;
                    if gone == u64::from(AT_ONCE) {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::warn!(what, error = %Chain(&error), "what is too old could not be cleared away");
                }
            }
            break;
        }
        if cleared > 0 {
            tracing::info!(what, cleared, "what was too old was cleared away");
        }
    }
}

#[cfg(test)]
mod tests {
    use mockall::Sequence;
    use powerhouse_ports::clock::MockClock;
    use powerhouse_ports::platform::MockPlatformStore;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn unavailable() -> StoreError {
        StoreError::Unavailable("away for a moment".into())
    }

    async fn work(platform: MockPlatformStore, kept: Retention) {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(now());
        let stop = CancellationToken::new();
        let housekeeper = Housekeeper { platform: Arc::new(platform), clock: Arc::new(clock), kept };
        let working = tokio::spawn(housekeeper.run(stop.clone()));
        tokio::time::sleep(EVERY * 5 / 2).await;
        stop.cancel();
        working.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_until_little_is_left_and_comes_again_whatever_failed() {
        let mut platform = MockPlatformStore::new();
        let mut order = Sequence::new();
        platform.expect_make_room().times(3).returning(|| Err(unavailable()));
        let before = now() - SESSIONS_KEPT;
        for answer in [Ok(1_000), Ok(3), Err(()), Ok(0)] {
            let expected = platform.expect_purge_sessions().once().in_sequence(&mut order);
            expected
                .withf(move |given, limit| *given == before && *limit == AT_ONCE)
                .return_once(move |_, _| answer.map_err(|()| unavailable()));
        }
        platform.expect_purge_deliveries().times(3).returning(|_, _| Ok(0));
        platform
            .expect_purge_idempotency_keys()
            .times(3)
            .withf(|given, limit| *given == now() && *limit == AT_ONCE)
            .returning(|_, _| Ok(0));
        platform.expect_purge_runs().never();
        platform.expect_purge_usage().never();
        platform.expect_purge_audit().never();
        work(platform, Retention::default()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn runs_usage_and_audit_records_go_when_they_were_kept_long_enough() {
        let kept = TimeDelta::days(90);
        let mut platform = MockPlatformStore::new();
        platform.expect_make_room().times(3).returning(|| Ok(()));
        platform.expect_purge_sessions().times(3).returning(|_, _| Ok(0));
        platform.expect_purge_deliveries().times(3).returning(|_, _| Ok(0));
        platform.expect_purge_idempotency_keys().times(3).returning(|_, _| Ok(0));
        let mut order = Sequence::new();
        for answer in [1_000, 999, 0, 0] {
            let expected = platform.expect_purge_runs().once().in_sequence(&mut order);
            expected
                .withf(move |given, limit| *given == now() - kept && *limit == AT_ONCE)
                .return_once(move |_, _| Ok(answer));
        }
        // Of 14 November 2023.
        let two_years_before = "2021-11-14T22:13:20Z".parse::<DateTime<Utc>>().unwrap();
        platform
            .expect_purge_usage()
            .times(3)
            .withf(move |given, limit| *given == two_years_before && *limit == AT_ONCE)
            .returning(|_, _| Ok(0));
        let month_before = "2023-10-14T22:13:20Z".parse::<DateTime<Utc>>().unwrap();
        platform
            .expect_purge_audit()
            .times(3)
            .withf(move |given, _| *given == month_before)
            .returning(|_, _| Ok(0));
        let (usage, audit) = (Some(Months::new(24)), Some(Months::new(1)));
        work(platform, Retention { runs: Some(kept), usage, audit }).await;
    }
}
