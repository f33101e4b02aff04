//! The machine's clock, and ids made of it and of its randomness.

use chrono::{DateTime, SubsecRound as _, Utc};
use powerhouse_ports::clock::{Clock, IdSource};
use uuid::Uuid;

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        // As fine as a PostgreSQL timestamp: a time that is read back equals the one that was written.
        Utc::now().trunc_subsecs(6)
    }
}

/// UUIDs of version 7 (RFC 9562), ordered within the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidV7Source;

impl IdSource for UuidV7Source {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_in_order_and_are_version_7() {
        let ids: Vec<_> = (0..10_000).map(|_| UuidV7Source.next()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }
}
