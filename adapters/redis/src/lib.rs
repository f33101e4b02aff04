//! What replicas share through Redis: rate limits, circuit breakers, cached values, and live news of runs.
//!
//! Redis may go away at any time. Then limits fall back to a stricter one in the process, and breakers to those of the process, values are read from
//! the database, and news come from the readers' own look into the journal; when it is back, both recover by themselves. Start reading at [`Redis`].

mod breakers;
mod cache;
mod connection;
mod event_bus;
mod listener;
mod rate_limiter;

pub use breakers::RedisBreakers;
pub use cache::RedisCache;
pub use connection::{Redis, RedisError};
pub use event_bus::RedisEventBus;
pub use rate_limiter::RedisRateLimiter;
