//! Crash points: a run is driven by processes that are killed, each at another moment. Whatever the moment, the run ends as if
//! nothing had happened, each journalled step has one outcome, and no effect that must not be repeated was made twice.
//!
//! What a process leaves behind changes with its transactions, its claims and its effects alone. So the short form, in every test
//! run, kills one process for each such change, in turn right after it and right before the next: at every other moment the
//! world is as at one of these. `CRASH_EVERY_MOMENT=1` kills at those as well: before each unit of work, and before and after each
//! call of a model. `CRASH_SCENARIOS=5000 cargo test -p powerhouse-tests --test crash_sweep several` kills several processes of each
//! of so many runs, at moments of any kind that a seed gives.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::path::Path;
use std::time::Duration;

use powerhouse_tests::contract::stores::Stores;
use powerhouse_tests::own_stores::{migrated, on_postgres, on_sqlite};
use powerhouse_tests::scale;
use tempfile::TempDir;
use tokio::time::timeout;

mod mortal;
mod scenario;
mod scene;
mod world;

use mortal::{Death, Life};
use scenario::{SCENARIOS, Scenario};
use scene::{Outcome, Scene};

/// A run is given up by the test when it has not ended by then.
const PATIENCE: Duration = Duration::from_mins(1);

/// Drives a run by processes that die so, then by one that is left alone; and how many moments passed for that one, and how many
/// changes it made.
async fn survive(stores: &Stores, scenario: Scenario, deaths: &[Death]) -> (Outcome, (usize, usize)) {
    let scene = Scene::new(stores, scenario).await;
    let lives = deaths.iter().copied().chain([Death::Never]);
    let told = format!("{scenario:?}, killed {deaths:?}");
    let mut passed = (0, 0);
    let ends = async {
        for death in lives {
            let life = Life::until(death);
            let has_ended = scene.live(&life).await;
            passed = life.passed();
            if has_ended {
                return;
            }
            scene.clock.skip();
        }
    };
    let is_over = timeout(PATIENCE, ends).await.is_ok();
    assert!(is_over, "it is stuck: {told}; {}", scene.journal().await);
    (scene.outcome().await, passed)
}

/// The deaths that leave the world in each state that it has in an undisturbed life.
fn deaths((moments, changes): (usize, usize)) -> Vec<Death> {
    if scale::<usize>("CRASH_EVERY_MOMENT").is_some() {
        return (1..moments).map(Death::At).collect();
    }
    let after = |change: usize| {
        // The same state, with more under way.
        if change.is_multiple_of(2) { Death::Before(change + 1) } else { Death::After(change) }
    };
    (1..changes).map(after).collect()
}

/// Kills at each moment of an undisturbed life that leaves something else behind.
async fn sweep(stores: &Stores) {
    for scenario in SCENARIOS {
        let (undisturbed, passed) = survive(stores, scenario, &[]).await;
        assert!(passed.1 > 2, "{scenario:?} has only {passed:?} moments and changes");
        for death in deaths(passed) {
            let (outcome, _) = survive(stores, scenario, &[death]).await;
            assert_eq!(outcome, undisturbed, "{scenario:?}, killed {death:?}");
        }
    }
}

/// A folder in memory, where there is one: it is processes that are killed here, and not machines.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_a_death_at_each_moment() {
    let folder = folder();
    sweep(&on_sqlite(folder.path()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_postgresql_survives_a_death_at_each_moment() {
    let own = migrated().await;
    sweep(&on_postgres(&own).await).await;
}

/// The numbers of a seed, by `SplitMix64` (Steele, Lea and Flood 2014).
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(seed), |state| Some(state.wrapping_add(0x9e37_79b9_7f4a_7c15))).skip(1).map(
        |state| {
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or_default()
        },
    )
}

/// Several processes of one run are killed, one after another. As many runs as `CRASH_SCENARIOS` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_several_deaths() {
    let runs: u64 = scale("CRASH_SCENARIOS").unwrap_or(60);
    let folder = folder();
    let own = migrated().await;
    let databases = [on_sqlite(folder.path()).await, on_postgres(&own).await];
    for seed in 0..runs {
        let mut numbers = numbers(seed);
        let mut below = |bound: usize| numbers.next().unwrap_or_default() % bound;
        let (scenario, stores) = (SCENARIOS[below(SCENARIOS.len())], &databases[below(databases.len())]);
        // Fewer than what gives a run up for want of progress.
        let deaths: Vec<_> = (0..=below(4)).map(|_| Death::At(1 + below(40))).collect();
        let (undisturbed, _) = survive(stores, scenario, &[]).await;
        let (outcome, _) = survive(stores, scenario, &deaths).await;
        assert_eq!(outcome, undisturbed, "seed {seed}: {scenario:?}, killed {deaths:?}");
    }
}
