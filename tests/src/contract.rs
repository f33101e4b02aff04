//! Contract suites: what an adapter of a port must do, whatever it is made of.
//!
//! A suite is a list of `async fn`s over a harness. To run one against an adapter of your own, implement the suite's
//! `Harness`, and hand it to the suite's macro.

#![expect(
    clippy::missing_panics_doc,
    reason = "a suite panics where the contract is broken; that is what it is for"
)]

pub mod breakers;
pub mod cache;
pub mod embeddings;
pub mod events;
pub mod limits;
pub mod models;
pub mod sample;
pub mod stores;

/// Declares a test for each promise of a suite.
#[macro_export]
macro_rules! contract_tests {
    ($harness:expr, $suite:ident: $($test:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let harness = $harness;
            $crate::contract::$suite::$test(&harness).await;
        })+
    };
}
