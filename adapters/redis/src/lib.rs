//! What replicas share through Redis: rate limits, and live news of runs.
//!
//! Redis may go away at any time. Then limits fall back to a stricter one in the process, and news to the readers'
//! own look into the journal; when it is back, both recover by themselves. Start reading at [`Redis`].

mod connection;
mod event_bus;
mod rate_limiter;

pub use connection::{Redis, RedisError};
pub use event_bus::RedisEventBus;
pub use rate_limiter::RedisRateLimiter;
