//! What tests of several crates share: the contract suites, each generic over a harness, run against every adapter.

pub mod contract;
