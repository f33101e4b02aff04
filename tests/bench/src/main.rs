//! Benchmarks of the release binary: see `docs/benchmarks.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

mod driver;
mod http;
mod measured;
mod model;
mod read;
mod reads;
mod runs;
mod scene;
mod site;

const USAGE: &str = "\
powerhouse-bench reads [connections=16] [seconds=3] [rounds=5]
powerhouse-bench runs [runs=2000] [calls=2] [tenants=20] [concurrency=64] [servers=1] [per_second=50] [seconds=10]";

/// `name=value` arguments, each a number above zero.
struct Arguments(BTreeMap<String, u64>);

impl Arguments {
    fn read(arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let read = |argument: String| {
            let (name, value) = argument.split_once('=')?;
            Some((name.to_owned(), value.parse().ok().filter(|value| *value > 0)?))
        };
        Ok(Self(arguments.map(read).collect::<Option<_>>().context(USAGE)?))
    }

    fn take(&mut self, name: &str, otherwise: u64) -> u64 {
        self.0.remove(name).unwrap_or(otherwise)
    }

    /// Nobody has taken what is left.
    fn end(self) -> anyhow::Result<()> {
        ensure!(self.0.is_empty(), USAGE);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next();
    let mut given = Arguments::read(arguments)?;
    match what.as_deref() {
        Some("reads") => {
            let load = reads::Load {
                connections: given.take("connections", 16),
                time: Duration::from_secs(given.take("seconds", 3)),
                rounds: given.take("rounds", 5),
            };
            given.end()?;
            reads::bench(load).await
        }
        Some("runs") => {
            let load = runs::Load {
                runs: given.take("runs", 2_000),
                calls: given.take("calls", 2),
                tenants: given.take("tenants", 20),
                concurrency: given.take("concurrency", 64),
                servers: given.take("servers", 1),
                per_second: given.take("per_second", 50),
                seconds: given.take("seconds", 10),
            };
            given.end()?;
            runs::bench(load).await
        }
        _ => bail!(USAGE),
    }
}
