//! Contract suites: what an adapter of a port must do, whatever it is made of.
//!
//! A suite is a list of `async fn`s over a harness. To run one against an adapter of your own, implement
//! [`stores::Harness`] and call [`stores::suite`] with it in a test.

#![expect(
    clippy::missing_panics_doc,
    reason = "a suite panics where the contract is broken; that is what it is for"
)]

pub mod sample;
pub mod stores;
