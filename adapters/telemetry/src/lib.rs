//! What is measured. [`CATALOGUE`] lists every metric; [`Metrics`] records them and renders them for Prometheus.
//!
//! Adapters and use cases measure through the macros of the `metrics` crate, which do nothing until a recorder is
//! installed. They name their metrics themselves; a test compares what they name with the catalogue (ADR 0019).

mod catalogue;
mod recorder;

pub use catalogue::{CATALOGUE, Kind, Metric};
pub use recorder::{InstallError, Metrics};
