//! What tests of several crates share: the contract suites, each generic over a harness, run against every adapter,
//! and a stub of a model's API.

pub mod contract;
pub mod stub_model;
