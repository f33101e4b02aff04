//! Clears away what nobody needs any more.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use powerhouse_ports::Chain;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::store::StoreError;
use tokio_util::sync::CancellationToken;

/// How long a session stays after it has expired.
const KEPT: TimeDelta = TimeDelta::days(1);
/// The pause after everything was cleared away.
const EVERY: Duration = Duration::from_hours(1);
/// Sessions that go in one transaction, so that none is long.
const AT_ONCE: u32 = 1_000;

/// Clears away sessions that are over. Each replica has one; they do not disturb each other.
pub struct Housekeeper {
    /// Where sessions are.
    pub platform: Arc<dyn PlatformStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl Housekeeper {
    /// Works until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            match self.clear().await {
                Ok(0) => {}
                Ok(sessions) => tracing::info!(sessions, "expired sessions were cleared away"),
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "expired sessions could not be cleared away");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn clear(&self) -> Result<u64, StoreError> {
        let before = self.clock.now() - KEPT;
        let mut cleared = 0;
        loop {
            let gone = self.platform.purge_sessions(before, AT_ONCE).await?;
            cleared += gone;
            if gone < u64::from(AT_ONCE) {
                return Ok(cleared);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use mockall::Sequence;
    use powerhouse_ports::clock::MockClock;
    use powerhouse_ports::platform::MockPlatformStore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_until_little_is_left_and_comes_again_whatever_failed() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut clock = MockClock::new();
        clock.expect_now().return_const(now);
        let mut platform = MockPlatformStore::new();
        let mut order = Sequence::new();
        for answer in [Ok(1_000), Ok(3), Err(()), Ok(0)] {
            let expected = platform.expect_purge_sessions().once().in_sequence(&mut order);
            expected.withf(move |before, limit| *before == now - KEPT && *limit == AT_ONCE).return_once(
                move |_, _| answer.map_err(|()| StoreError::Unavailable("away for a moment".into())),
            );
        }
        let stop = CancellationToken::new();
        let housekeeper = Housekeeper { platform: Arc::new(platform), clock: Arc::new(clock) };
        let working = tokio::spawn(housekeeper.run(stop.clone()));
        tokio::time::sleep(EVERY * 5 / 2).await;
        stop.cancel();
        working.await.unwrap();
    }
}
