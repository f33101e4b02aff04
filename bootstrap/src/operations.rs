//! The operations listener: `/metrics` and `/health`, apart from the API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use powerhouse_http::{Exposition, Health};
use powerhouse_telemetry::Metrics;
use salvo::Server;
use salvo::conn::{Acceptor as _, Listener as _, TcpListener};
use tokio_util::task::AbortOnDropHandle;

use crate::wiring::Observe;

/// How often what was timed is sorted into its buckets.
const SETTLE_EVERY: Duration = Duration::from_secs(5);

/// The listener. It serves until it is dropped, so that a process that drains can be watched.
pub(crate) struct Operations {
    pub(crate) address: SocketAddr,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Operations {
    /// Serves what `metrics` has; what is looked at only when somebody asks is `observed` then.
    pub(crate) async fn listen(
        address: SocketAddr,
        metrics: Metrics,
        observed: Vec<Observe>,
        health: &Health,
    ) -> anyhow::Result<Self> {
        let acceptor = TcpListener::new(address).try_bind().await.with_context(|| {
            format!("{address} cannot be listened on: stop what uses it, or set operations.address")
        })?;
        let bound = acceptor.holdings().first().and_then(|holding| holding.local_addr.clone().into_std());
        let rendered = metrics.clone();
        let exposition: Exposition = Arc::new(move || {
            for observe in &observed {
                observe();
            }
            rendered.render()
        });
        let service = powerhouse_http::operations(health, exposition);
        let serving = async move {
            if let Err(error) = Server::new(acceptor).try_serve(service).await {
                tracing::error!(%error, "the operations listener failed");
            }
        };
        let settling = async move {
            loop {
                tokio::time::sleep(SETTLE_EVERY).await;
                metrics.settle();
            }
        };
        let tasks = [tokio::spawn(serving), tokio::spawn(settling)].map(AbortOnDropHandle::new);
        Ok(Self { address: bound.unwrap_or(address), _tasks: tasks })
    }
}
