//! Redis behind TLS, and behind a network that fails.

use std::time::{Duration, Instant};

use powerhouse_tests::own_redis::OwnRedis;
use powerhouse_tests::proxy::{Mode, Proxy};
use serde_json::Value;
use tokio::time::sleep;

use crate::server::{Caller, Server};

/// How long the server may take to notice that Redis has come or gone.
const PATIENCE: Duration = Duration::from_secs(10);

async fn says(ada: &Caller) -> Value {
    ada.get("/health").await["redis"].clone()
}

pub(crate) async fn until_it_says(ada: &Caller, state: &str) {
    let started = Instant::now();
    while says(ada).await != state {
        assert!(started.elapsed() < PATIENCE, "Redis is not {state}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Only a Redis whose certificate a known authority has signed is talked to; without it the server serves.
#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_redis_is_verified() {
    let redis = OwnRedis::with_tls();
    let url = redis.url();
    let certificate = redis.certificate().display().to_string();
    let trusting = Server::with(&[("REDIS_URL", &url), ("SSL_CERT_FILE", &certificate)]);
    assert_eq!(says(&trusting.tenant("acme").await).await, "ok");
    let other = Server::with(&[("REDIS_URL", &url)]);
    assert_eq!(says(&other.tenant("acme").await).await, "unavailable");
}

/// Cut off or silent: nobody waits for it but the one who finds out, and it is used again when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_fails_before_redis_holds_nobody_up() {
    let redis = OwnRedis::start();
    let proxy = Proxy::to(redis.address()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let server = Server::with(&[("REDIS_URL", &url)]);
    let ada = server.tenant("acme").await;
    for mode in [Mode::Cut, Mode::Silent, Mode::HalfClosed, Mode::Slow(Duration::from_secs(1))] {
        until_it_says(&ada, "ok").await;
        proxy.set(mode);
        let started = Instant::now();
        for _ in 0..20 {
            // It is there, and answered: `get` asserts it.
            ada.get("/v1/agents").await;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{mode:?}: {:?} for 20", started.elapsed());
        until_it_says(&ada, "unavailable").await;
        proxy.set(Mode::Open);
    }
    until_it_says(&ada, "ok").await;
}
