//! The contract of `Breakers`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use futures::future::join_all;
use powerhouse_domain::breaker::{BreakerSettings, Phase};
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_ports::limits::{Breakers, CircuitId, Passage};
use tokio::time::sleep;
use uuid::Uuid;

/// What the breakers under test are made with.
pub const SETTINGS: BreakerSettings =
    BreakerSettings { failures: 3, window: TimeDelta::seconds(60), cool_down: TimeDelta::milliseconds(400) };

/// The adapter under test. Each call gives breakers that are all closed.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The same breakers, as each replica has them.
    async fn replicas(&self) -> Vec<Arc<dyn Breakers>>;
}

/// Declares the suite for a harness, an expression that may be evaluated often: one test a promise.
#[macro_export]
macro_rules! breakers_contract {
    ($harness:expr) => {
        $crate::contract_tests!($harness, breakers:
            what_failed_anywhere_counts_everywhere, each_circuit_is_its_own, a_success_is_the_end_of_the_row,
            after_a_while_one_call_tries_for_all
        );
    };
}

fn circuit(model: &str) -> CircuitId {
    CircuitId { provider: None, model: model.to_owned() }
}

async fn passage(breakers: &Arc<dyn Breakers>, circuit: &CircuitId) -> Passage {
    breakers.admit(circuit, Utc::now()).await
}

/// So many failures, each noticed by the next replica. Where the breaker was after each.
async fn fail(replicas: &[Arc<dyn Breakers>], circuit: &CircuitId, times: usize) -> Vec<Phase> {
    let mut phases = Vec::new();
    for breakers in replicas.iter().cycle().take(times) {
        phases.push(breakers.failed(circuit, Utc::now()).await);
    }
    phases
}

/// Failures of several replicas make one row, and all leave alone whom it opens for.
pub async fn what_failed_anywhere_counts_everywhere(harness: &impl Harness) {
    let (replicas, model) = (harness.replicas().await, circuit("m"));
    assert_eq!(passage(&replicas[0], &model).await, Passage::Clear);
    let phases = fail(&replicas, &model, 2).await;
    assert_eq!(phases, [Phase::Closed; 2]);
    assert_eq!(passage(&replicas[0], &model).await, Passage::Watched { is_try: false });
    assert_eq!(fail(&replicas, &model, 1).await, [Phase::Open]);
    for breakers in &replicas {
        let Passage::Barred { left } = passage(breakers, &model).await else { panic!("it lets one through") };
        assert!(Duration::from_millis(1) <= left && left <= Duration::from_millis(400), "{left:?}");
    }
    // One that was begun before does not keep it open for longer.
    assert_eq!(fail(&replicas, &model, 1).await, [Phase::Open]);
    sleep(Duration::from_millis(401)).await;
    assert_eq!(passage(&replicas[0], &model).await, Passage::Watched { is_try: true });
}

/// Providers and models count apart, whatever their names have in them.
pub async fn each_circuit_is_its_own(harness: &impl Harness) {
    let replicas = harness.replicas().await;
    let of = |number, model: &str| {
        let provider = Some(ModelProviderId::from_uuid(Uuid::from_u128(number)));
        CircuitId { provider, ..circuit(model) }
    };
    let others = [circuit("n"), circuit("m}"), circuit(""), of(1, "m"), of(2, "m"), of(1, "{m}:é\0")];
    fail(&replicas, &circuit("m"), 3).await;
    for other in &others {
        assert_eq!(passage(&replicas[0], other).await, Passage::Clear, "{other:?}");
    }
    for other in &others {
        fail(&replicas, other, 3).await;
        let is_barred = matches!(passage(&replicas[0], other).await, Passage::Barred { .. });
        assert!(is_barred, "{other:?}");
    }
}

/// Only failures in a row open it.
pub async fn a_success_is_the_end_of_the_row(harness: &impl Harness) {
    let (replicas, model) = (harness.replicas().await, circuit("m"));
    for _ in 0..3 {
        fail(&replicas, &model, 2).await;
        replicas[replicas.len() - 1].succeeded(&model).await;
        assert_eq!(passage(&replicas[0], &model).await, Passage::Clear);
    }
}

/// However many ask, and wherever: one is let through, and what becomes of it counts for all.
pub async fn after_a_while_one_call_tries_for_all(harness: &impl Harness) {
    let (replicas, model) = (harness.replicas().await, circuit("m"));
    let asking = async || {
        let asking = (0..30).map(|number| {
            let (breakers, model) = (Arc::clone(&replicas[number % replicas.len()]), model.clone());
            tokio::spawn(async move { passage(&breakers, &model).await })
        });
        let answers = join_all(asking).await.into_iter().map(|answer| answer.expect("no panic"));
        let let_through = answers.filter(|passage| !matches!(passage, Passage::Barred { .. }));
        let_through.collect::<Vec<_>>()
    };
    fail(&replicas, &model, 3).await;
    assert_eq!(asking().await, []);
    sleep(Duration::from_millis(401)).await;
    assert_eq!(asking().await, [Passage::Watched { is_try: true }]);
    // It is no better.
    assert_eq!(fail(&replicas, &model, 1).await, [Phase::Open]);
    assert_eq!(asking().await, []);
    sleep(Duration::from_millis(401)).await;
    assert_eq!(asking().await.len(), 1);
    replicas[replicas.len() - 1].succeeded(&model).await;
    assert_eq!(asking().await, [Passage::Clear; 30]);
}
