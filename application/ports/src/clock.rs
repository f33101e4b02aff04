//! Time and ids: the two things that the domain takes as values.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The wall clock.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// Where new ids come from.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait IdSource: Send + Sync {
    /// A UUID version 7 (RFC 9562), later than every one given before by this source.
    fn next(&self) -> Uuid;
}
