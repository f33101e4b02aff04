//! Requests to addresses that tenants and models name: checked after resolution, pinned, bounded.
//!
//! Start at [`Egress`], which makes the client that each of them goes through. [`Guarded`] is for URLs that tenants name,
//! [`HttpWebhookSender`] for webhooks, and [`Sockets`] for what is not HTTP.

mod addresses;
mod client;
mod destinations;
mod guarded;
mod hosts;
mod resolver;
mod sockets;
mod webhook;

pub use addresses::is_public;
pub use client::{AddressPolicy, Egress, Timeouts};
pub use destinations::{DestinationRefused, Destinations};
pub use guarded::{Failure, Guarded};
pub use hosts::{HostListError, Hosts};
pub use resolver::{AddressRefused, Lookup, SystemLookup};
pub use sockets::Sockets;
pub use webhook::HttpWebhookSender;

/// Reads at most `limit` bytes of a body, and says whether there were more.
pub async fn read(response: &mut reqwest::Response, limit: usize) -> reqwest::Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body, true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, false))
}
