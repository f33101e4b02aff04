//! Measures a pool of connections.

use metrics::gauge;

/// Measures how many connections of a pool are open now, and how many of them wait for work. `role` says whose they
/// are; it is a label.
pub fn observe_pool(role: &'static str, open: u32, idle: usize) {
    // Both are counted one after the other, while connections come and go.
    let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(open);
    gauge!("powerhouse_database_connections", "role" => role, "state" => "idle").set(idle);
    gauge!("powerhouse_database_connections", "role" => role, "state" => "in_use").set(open - idle);
}
