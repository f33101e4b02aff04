//! Rows and how they become domain values: one module a table, private to this crate.

pub(crate) mod agent;
pub(crate) mod agent_version;
pub(crate) mod approval;
pub(crate) mod approval_rules;
pub(crate) mod audit_head;
pub(crate) mod audit_record;
pub(crate) mod budget;
pub(crate) mod budget_window;
pub(crate) mod collection;
pub(crate) mod data_key;
pub(crate) mod document;
pub(crate) mod document_chunk;
pub(crate) mod document_word;
pub(crate) mod egress_rules;
pub(crate) mod idempotency_key;
pub(crate) mod masking_rules;
pub(crate) mod memory;
pub(crate) mod model_provider;
pub(crate) mod price;
pub(crate) mod queue_turn;
pub(crate) mod run;
pub(crate) mod run_event;
pub(crate) mod run_feedback;
pub(crate) mod schedule;
pub(crate) mod secret;
pub(crate) mod selector;
pub(crate) mod session;
pub(crate) mod stored;
pub(crate) mod tenant;
pub(crate) mod thread;
pub(crate) mod tool;
pub(crate) mod usage;
pub(crate) mod user;
pub(crate) mod webhook;
pub(crate) mod webhook_delivery;

use powerhouse_ports::store::StoreError;

/// A stored value that the domain refuses.
pub(crate) fn corrupt<E>(table: &'static str, column: &'static str) -> impl FnOnce(E) -> StoreError {
    move |_| StoreError::CorruptRow { table, column }
}

/// A count that was stored as a signed number.
pub(crate) fn unsigned(table: &'static str, column: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(corrupt(table, column))
}

/// A count as it is stored. More than 2⁶³ is stored as that.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
