//! What is counted and timed of runs. Without a recorder, all of it does nothing.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use powerhouse_domain::breaker::Phase;
use powerhouse_domain::runs::RunStatus;

use crate::runner::{Sign, Vitals};

/// A task was accepted.
pub(crate) fn run_submitted() {
    counter!("powerhouse_runs_submitted_total").increment(1);
}

/// So many runs were claimed, for the first time or again.
pub(crate) fn runs_claimed(runs: usize) {
    counter!("powerhouse_runs_claimed_total").increment(u64::try_from(runs).unwrap_or(u64::MAX));
}

/// A run's last state is stored.
pub(crate) fn run_ended(status: RunStatus) {
    counter!("powerhouse_runs_ended_total", "status" => status.as_str()).increment(1);
}

/// An effect was performed. One that is dropped, because its run has ended, is not seen here.
pub(crate) fn effect_performed(kind: &'static str, is_ok: bool, took: Duration) {
    let outcome = if is_ok { "ok" } else { "failed" };
    histogram!("powerhouse_run_effect_duration_seconds", "kind" => kind, "outcome" => outcome).record(took);
}

/// A model could not answer, and another one is asked.
pub(crate) fn call_passed_over() {
    counter!("powerhouse_model_calls_passed_over_total").increment(1);
}

/// A model call is made a second time, since the first is late.
pub(crate) fn call_hedged() {
    counter!("powerhouse_model_calls_hedged_total").increment(1);
}

/// Texts of so many tokens were turned into vectors.
pub(crate) fn embedded(tokens: u64) {
    counter!("powerhouse_embedded_tokens_total").increment(tokens);
}

/// So many of this process's circuits are in a phase.
pub(crate) fn circuits_counted(phase: Phase, count: u32) {
    let state = match phase {
        Phase::Closed => "closed",
        Phase::Open => "open",
        Phase::HalfOpen => "half_open",
    };
    gauge!("powerhouse_model_circuits", "state" => state).set(count);
}

/// A drive was left, and not by a panic: `end` says how.
pub(crate) fn drive_left(end: &'static str) {
    counter!("powerhouse_run_drives_total", "end" => end).increment(1);
}

/// What the worker's pulse says.
pub(crate) fn vitals_taken(vitals: &Vitals) {
    let age = |sign: Option<Sign>| sign.map_or(0.0, |sign| sign.age.as_secs_f64());
    gauge!("powerhouse_worker_wedged").set(if vitals.is_wedged { 1.0 } else { 0.0 });
    gauge!("powerhouse_worker_claim_age_seconds").set(age(vitals.claim));
    gauge!("powerhouse_worker_heartbeat_age_seconds").set(age(vitals.heartbeat));
    gauge!("powerhouse_worker_progress_age_seconds").set(age(vitals.progress));
}

/// A run that is driven here, from the making of this value to its end.
pub(crate) struct DriveInFlight;

impl DriveInFlight {
    pub(crate) fn begin() -> Self {
        gauge!("powerhouse_run_drives_in_flight").increment(1);
        Self
    }
}

impl Drop for DriveInFlight {
    fn drop(&mut self) {
        gauge!("powerhouse_run_drives_in_flight").decrement(1);
    }
}
