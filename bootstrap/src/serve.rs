//! `powerhouse serve`: the API and the worker in one process, until a signal stops both.

use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail};
use powerhouse_telemetry::Metrics;
use salvo::conn::{Listener as _, TcpListener};
use salvo::server::ServerHandle;
use salvo::{Server, conn::Acceptor as _};
use tokio_util::sync::CancellationToken;

use crate::first_owner;
use crate::model;
use crate::operations::Operations;
use crate::settings::{Database, Settings};
use crate::wiring::{self, Product};

/// Serves until SIGINT or SIGTERM. Then no run is claimed any more, leases are handed back, and requests may end.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let is_embedded = matches!(settings.database, Database::Sqlite);
    let is_new = is_embedded && !settings.sqlite().exists();
    // First, so that nothing happens unmeasured.
    let operations = match settings.operations {
        Some(address) => Some((address, Metrics::install()?)),
        None => None,
    };
    let stores = wiring::open_stores(&settings).await?;
    let chosen = model::choose(&settings.model).await?;
    let label = chosen.label.clone();
    let Product { api, worker, housekeeper, scheduler, deliverer, learner, observed } =
        wiring::wire(&settings, stores, chosen).await?;
    if is_embedded {
        first_owner::welcome(&settings, &api.tenants.sign_up, is_new).await?;
    }

    let acceptor = TcpListener::new(settings.address).try_bind().await.with_context(|| {
        format!("{} cannot be listened on: stop what uses it, or set server.address", settings.address)
    })?;
    let address = acceptor.holdings().first().and_then(|holding| holding.local_addr.clone().into_std());
    let operations = match operations {
        Some((address, metrics)) => Some(Operations::listen(address, metrics, observed, &api.health).await?),
        None => None,
    };
    let server = Server::new(acceptor);
    let stop = CancellationToken::new();
    tokio::spawn(on_signal(stop.clone(), server.handle(), settings.grace));
    tokio::spawn(housekeeper.run(stop.clone()));
    tokio::spawn(scheduler.run(stop.clone()));
    tokio::spawn(deliverer.run(stop.clone()));
    tokio::spawn(learner.run(stop.clone()));
    let mut working = tokio::spawn(worker.run(stop.clone()));
    let operations_at = operations.as_ref().map(|operations| operations.address);
    greet(&settings, is_embedded, address.unwrap_or(settings.address), operations_at, &label);

    let mut serving = pin!(server.try_serve(powerhouse_http::service(&api)));
    let (api_end, worker_end) = tokio::select! {
        api_end = &mut serving => {
            stop.cancel();
            (api_end, working.await)
        }
        // Told to stop, it is done before the last request is. Otherwise nobody would work off runs any more.
        worker_end = &mut working => {
            if !stop.is_cancelled() {
                worker_end.context("the worker failed")?;
                bail!("the worker ended by itself");
            }
            (serving.await, worker_end)
        }
    };
    worker_end.context("the worker failed")?;
    api_end.context("the server failed")?;
    drop(operations);
    tracing::info!("stopped");
    Ok(())
}

async fn on_signal(stop: CancellationToken, server: ServerHandle, grace: Duration) {
    signal().await;
    tracing::info!("stopping");
    stop.cancel();
    server.stop_graceful(grace);
    signal().await;
    tracing::warn!("stopping at once");
    server.stop_forceful();
}

async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = tokio::signal::ctrl_c() => return,
            }
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// How this program was called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned())
}

fn greet(
    settings: &Settings,
    is_embedded: bool,
    address: SocketAddr,
    operations: Option<SocketAddr>,
    model: &str,
) {
    let mut lines = vec![
        format!("Powerhouse {} is ready on http://{address}", env!("CARGO_PKG_VERSION")),
        format!("  reference  http://{address}/docs"),
        format!("  model      {model}"),
        format!("  data       {}", settings.data.display()),
    ];
    if let Some(address) = operations {
        lines.push(format!("  metrics    http://{address}/metrics"));
    }
    if is_embedded && settings.owner_password().exists() {
        let (tenant, email) = (first_owner::TENANT, first_owner::EMAIL);
        let file = settings.owner_password();
        lines.push(format!("  sign in    tenant {tenant}, email {email}, password in {}", file.display()));
        lines.push(format!("  try        {} run \"What is 12.5 % of 380?\"", program()));
    }
    // Nobody reads when it cannot be written.
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
}
