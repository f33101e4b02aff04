//! The real binary, end to end: over HTTP and by its command line, with a stub of a model's API.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

mod agent_pages;
mod approvals;
mod audit;
mod bad_input;
mod code;
mod command_line;
mod databases;
mod embeddings;
mod fairness;
mod families;
mod faults;
mod first_run;
mod golden_journals;
mod idempotency;
mod injection;
mod isolation;
mod knowledge;
mod masking;
mod mcp;
mod memories;
mod metrics;
mod models;
mod money;
mod pdf;
mod postgres;
mod raw_requests;
mod redis;
mod remembering;
mod replay;
mod runs;
mod schedules;
mod secrets;
mod selection;
mod server;
mod streams;
mod threads;
mod tools;
mod under_kills;
mod webhooks;
