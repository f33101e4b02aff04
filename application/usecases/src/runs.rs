//! Runs: accepting tasks, watching them, stopping them.
