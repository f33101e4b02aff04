//! What tests of several crates share: the contract suites, each generic over a harness, run against every adapter,
//! a
//! stub of a model's API, and databases of one's own.

pub mod contract;
pub mod own_database;
pub mod own_pgbouncer;
pub mod own_redis;
pub mod proxy;
pub mod stub_model;
