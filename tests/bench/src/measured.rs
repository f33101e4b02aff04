//! Work done over and over by several workers for a while, and how long it took each time.

use std::time::{Duration, Instant};

/// What came of a while of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) median_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Does one thing, over and over.
pub(crate) trait Worker: Send + 'static {
    fn work(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Lets each worker work as often as it can, one after the other, for so long.
pub(crate) async fn measure<W: Worker>(time: Duration, workers: Vec<W>) -> anyhow::Result<Figures> {
    let begun = Instant::now();
    let working = workers.into_iter().map(|mut worker| {
        tokio::spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < time {
                let started = Instant::now();
                worker.work().await?;
                took.push(started.elapsed());
            }
            anyhow::Ok(took)
        })
    });
    let mut took = Vec::new();
    for working in working.collect::<Vec<_>>() {
        took.extend(working.await??);
    }
    let elapsed = begun.elapsed();
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    let count = u32::try_from(took.len())?;
    Ok(Figures { per_second: f64::from(count) / elapsed.as_secs_f64(), median_ms: at(50), p99_ms: at(99) })
}

/// The middle one.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
