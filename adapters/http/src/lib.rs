//! The HTTP API. [`service`] puts it together: the layers of a request in their order, and the routes by slice.

mod body;
mod cursor;
mod documents;
mod guard;
mod layers;
mod problem;
mod reply;
mod routes;

pub use routes::agents::Agents;
pub use routes::health::Health;
pub use routes::runs::Runs;
pub use routes::sessions::Sessions;
pub use routes::tenants::Tenants;
pub use routes::users::Users;
pub use routes::{Api, openapi, service};
