//! In-process adapters for the embedded default: the system's clock and ids, a rate limiter, circuit breakers, a cache and an
//! event bus.
//!
//! They serve one process. Several replicas need adapters that share their state.

mod breakers;
mod cache;
mod event_bus;
mod rate_limiter;
mod system;
#[cfg(test)]
mod testing;

pub use breakers::MemoryBreakers;
pub use cache::MemoryCache;
pub use event_bus::MemoryEventBus;
pub use rate_limiter::MemoryRateLimiter;
pub use system::{SystemClock, UuidV7Source};
