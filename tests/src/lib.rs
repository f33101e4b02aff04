//! What tests of several crates share: the contract suites, each generic over a harness, run against every adapter,
//! a stub of a model's API, and databases and stores of one's own.

pub mod contract;
pub mod labelled;
pub mod no_maker;
pub mod own_database;
pub mod own_pgbouncer;
pub mod own_postgres;
pub mod own_redis;
pub mod own_stores;
pub mod pdf;
pub mod proxy;
pub mod scripts;
pub mod stub_model;

/// How much there is to be of something, by the environment: tests that have a long form take it from there.
pub fn scale<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}
