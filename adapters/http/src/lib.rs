//! The HTTP API. [`service`] puts it together: the layers of a request in their order, and the routes by slice.
//! [`operations`] is the service for whoever runs the product, on a listener of its own.

mod body;
mod cursor;
mod documents;
mod guard;
mod idempotency;
mod layers;
mod measure;
mod operations;
mod problem;
mod reply;
mod routes;

pub use operations::{Exposition, operations};
pub use routes::agents::Agents;
pub use routes::approvals::Approvals;
pub use routes::audit::{Audit, AuditRecordView};
pub use routes::collections::Collections;
pub use routes::health::Health;
pub use routes::memories::Memories;
pub use routes::models::Models;
pub use routes::money::Money;
pub use routes::runs::{JournalDocument, NotReplayable, Runs};
pub use routes::schedules::Schedules;
pub use routes::secrets::Secrets;
pub use routes::selection::Selection;
pub use routes::sessions::Sessions;
pub use routes::tenants::Tenants;
pub use routes::threads::Threads;
pub use routes::tools::Tools;
pub use routes::users::Users;
pub use routes::webhooks::Webhooks;
pub use routes::{Api, openapi, service};
