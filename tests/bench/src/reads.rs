//! `powerhouse-bench reads`: reads over HTTP, beside the same queries by the bare driver.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

use std::time::Duration;

use crate::driver::Driver;
use crate::http::Connection;
use crate::measured::{Figures, Worker, measure, median};
use crate::read::{Next, Read, Reads};
use crate::scene::Scene;

/// How reads are measured.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: u64,
    pub(crate) time: Duration,
    pub(crate) rounds: u64,
}

/// Sets the scene, measures and clears it.
pub(crate) async fn bench(load: Load) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    let measured = reads(&scene, load).await;
    scene.site.clear().await?;
    measured
}

/// What a kind of read came to, over all rounds.
#[derive(Default)]
struct Rounds {
    http: Vec<Figures>,
    under_rls: Vec<Figures>,
    bare: Vec<Figures>,
}

async fn reads(scene: &Scene, load: Load) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "{} connections, {} rounds of {:?} each; generator, server, PostgreSQL and Redis share {cores} cores",
        load.connections, load.rounds, load.time
    );
    for (read, name) in [(Read::One, "GET /v1/agents/{id}"), (Read::Page, "GET /v1/agents?limit=20")] {
        let mut rounds = Rounds::default();
        // The first round fills caches and plans, and does not count.
        for round in 0..=load.rounds {
            let http = over_http(scene, read, load).await?;
            let under_rls = by_driver(scene, read, load, true).await?;
            let bare = by_driver(scene, read, load, false).await?;
            if round > 0 {
                rounds.http.push(http);
                rounds.under_rls.push(under_rls);
                rounds.bare.push(bare);
            }
        }
        report(name, &rounds);
    }
    Ok(())
}

struct OverHttp {
    connection: Connection,
    reads: Reads,
}

impl Worker for OverHttp {
    async fn work(&mut self) -> anyhow::Result<()> {
        let Next { caller, read, agent } = self.reads.next();
        self.connection.get(&caller.request(read, agent)).await?;
        Ok(())
    }
}

async fn over_http(scene: &Scene, read: Read, load: Load) -> anyhow::Result<Figures> {
    let mut workers = Vec::new();
    for seed in 0..load.connections {
        let connection = Connection::open(scene.address).await?;
        workers.push(OverHttp { connection, reads: Reads::new(&scene.callers, read, seed) });
    }
    measure(load.time, workers).await
}

struct ByDriver {
    driver: Driver,
    reads: Reads,
    is_under_rls: bool,
}

impl Worker for ByDriver {
    async fn work(&mut self) -> anyhow::Result<()> {
        let Next { caller, read, agent } = self.reads.next();
        if self.is_under_rls {
            self.driver.read_as_tenant(caller.tenant, read, agent).await
        } else {
            self.driver.read(caller.tenant, read, agent).await
        }
    }
}

async fn by_driver(scene: &Scene, read: Read, load: Load, is_under_rls: bool) -> anyhow::Result<Figures> {
    let url = if is_under_rls { &scene.site.application } else { &scene.site.owner };
    let mut workers = Vec::new();
    for seed in 0..load.connections {
        let driver = Driver::open(url).await?;
        workers.push(ByDriver { driver, reads: Reads::new(&scene.callers, read, seed), is_under_rls });
    }
    measure(load.time, workers).await
}

fn report(name: &str, rounds: &Rounds) {
    println!("\n{name:<40} {:>10} {:>10} {:>10}", "reads/s", "p50 ms", "p99 ms");
    let lines = [
        ("over HTTP: authenticated, limited, RLS", &rounds.http),
        ("driver, RLS: BEGIN and SET, SELECT", &rounds.under_rls),
        ("driver, no RLS: SELECT", &rounds.bare),
    ];
    for (what, figures) in lines {
        let of = |figure: fn(&Figures) -> f64| median(figures.iter().map(figure));
        println!(
            "{what:<40} {:>10.0} {:>10.2} {:>10.2}",
            of(|figures| figures.per_second),
            of(|figures| figures.median_ms),
            of(|figures| figures.p99_ms)
        );
    }
    let ratio = |other: &[Figures]| {
        median(rounds.http.iter().zip(other).map(|(http, other)| http.per_second / other.per_second))
    };
    println!(
        "ratio of HTTP to the driver, median of rounds: {:.2} with RLS, {:.2} without",
        ratio(&rounds.under_rls),
        ratio(&rounds.bare)
    );
}
