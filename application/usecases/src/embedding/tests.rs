//! What is masked, paid in advance and given back, and what becomes of failures between.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use powerhouse_domain::access::Role;
use powerhouse_domain::ids::{BudgetId, SessionId, TenantId};
use powerhouse_domain::masking::{Class, MaskingRules};
use powerhouse_domain::money::{Amount, Budget, BudgetScope, Caps, Period, Price, PriceEntry, Spending};
use powerhouse_ports::clock::MockClock;
use powerhouse_ports::embeddings::MockEmbedder;
use powerhouse_ports::store::{MockTenantTx, Plain, TenantTx, TenantView};
use uuid::Uuid;

use super::*;

const PATIENCE: Duration = Duration::from_secs(1);

/// A store whose units of work are these, in this order.
#[derive(Default)]
struct Units(Mutex<VecDeque<MockTenantTx>>);

impl Units {
    fn next(&self) -> Box<MockTenantTx> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Box::new(next.expect("no other unit of work is begun"))
    }
}

#[async_trait]
impl TenantStore for Units {
    async fn begin(&self, _: &TenantScope) -> Result<Box<dyn TenantTx>, StoreError> {
        Ok(self.next())
    }

    async fn read(&self, _: &TenantScope) -> Result<Box<dyn TenantView>, StoreError> {
        Ok(self.next())
    }

    async fn record_plain<'a>(&self, _: &[Plain<'a>]) -> Result<Vec<Option<u64>>, StoreError> {
        Err(StoreError::Unavailable("nobody runs here".into()))
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn ada() -> Principal {
    let id = Uuid::from_u128(1);
    Principal::verified(TenantId::from_uuid(id), UserId::from_uuid(id), SessionId::from_uuid(id), Role::Owner)
}

fn person() -> Payer {
    Payer::of(&ada(), None)
}

/// What the embedder is asked with by the tenant whose units of work these are.
fn embedding(embedder: MockEmbedder, units: Vec<MockTenantTx>) -> Embedding {
    let mut clock = MockClock::new();
    clock.expect_now().returning(now);
    let store = Arc::new(Units(Mutex::new(units.into())));
    Embedding::new(Arc::new(embedder), "m", store, Arc::new(clock))
}

/// The first unit of work: which classes are masked.
fn masking(classes: Classes) -> MockTenantTx {
    let mut tx = MockTenantTx::default();
    tx.model_providers.expect_masking().return_once(move || Ok(MaskingRules { classes, version: 1 }));
    tx
}

fn budget(tokens: u64) -> Budget {
    let (id, caps) = (BudgetId::from_uuid(Uuid::from_u128(7)), Caps::new(None, Some(tokens)).unwrap());
    Budget::new(id, BudgetScope::Tenant, Period::Month, caps, now())
}

/// A token of `m` costs a millionth of a dollar, of `m-1` two.
fn prices() -> Vec<PriceEntry> {
    let price =
        |model: &str, micros| PriceEntry::new(model, DateTime::UNIX_EPOCH, Price::new(micros, 0)).unwrap();
    vec![price("m", 1_000_000), price("m-1", 2_000_000)]
}

/// The second: so much is set aside of a budget that has this cap, where it fits.
fn paying(cap: u64, most: u64) -> MockTenantTx {
    let mut tx = MockTenantTx::default();
    let fits = most <= cap;
    tx.budgets
        .expect_applying()
        .withf(|_, agent| agent.is_none())
        .return_once(move |_, _| Ok(vec![budget(cap)]));
    tx.prices.expect_list().return_once(|| Ok(prices()));
    tx.budgets.expect_hold().return_once(|_| Ok(Spending::default()));
    let amount = Usage::of_tokens(most, 0).at_cost(most);
    tx.budgets
        .expect_reserve()
        .withf(move |_, _, of| *of == amount)
        .times(usize::from(fits))
        .returning(|_, _, _| Ok(true));
    tx.budgets
        .expect_settle()
        .withf(move |_, set_aside, spent| (*set_aside, *spent) == (amount, amount))
        .times(usize::from(fits))
        .returning(|_, _, _| Ok(()));
    tx
}

/// The third: so much of it comes back, and so much is counted by this model.
fn settling(back: u64, counted: Option<(u64, u64, &'static str)>) -> MockTenantTx {
    let mut tx = MockTenantTx::default();
    let of = move |usage: &Usage| Amount::from(*usage) == Amount { micros: back, tokens: back };
    tx.budgets.expect_give_back().withf(move |_, unspent| of(unspent)).times(1).returning(|_, _| Ok(()));
    if let Some((calls, tokens, model)) = counted {
        tx.usage
            .expect_add()
            .withf(move |key, number, usage| {
                (key.agent, key.model.as_str(), *number) == (None, model, calls)
                    && usage.total_tokens() == tokens
            })
            .times(1)
            .returning(|_, _, _| Ok(()));
    }
    tx
}

fn unavailable() -> ModelError {
    ModelError::Unavailable { retry_after: None, source: "away".into() }
}

fn vectors(texts: &[String], tokens: u64, model: &str) -> Embeddings {
    #[expect(clippy::cast_precision_loss, reason = "few letters")]
    let vectors = texts.iter().map(|text| vec![text.len() as f32]).collect();
    Embeddings { vectors, usage: Usage::of_tokens(tokens, 0), model: model.to_owned() }
}

fn lengths(texts: &[String]) -> Vec<usize> {
    batches(texts).map(<[_]>::len).collect()
}

#[test]
fn batches_are_bounded_by_number_and_bytes() {
    let texts = |number, bytes| vec!["x".repeat(bytes); number];
    assert_eq!(lengths(&[]), [0; 0]);
    assert_eq!(lengths(&texts(MAX_TEXTS + 1, 1)), [MAX_TEXTS, 1]);
    assert_eq!(lengths(&texts(13, 64 * 1024)), [6, 6, 1]);
    assert_eq!(lengths(&texts(2, MAX_BATCH + 1)), [1, 1], "the embedder refuses it, not we");
}

fn answering(models: [&'static str; 2]) -> Embedding {
    let mut embedder = MockEmbedder::new();
    let mut models = models.into_iter();
    embedder
        .expect_embed()
        .withf(|model, _| model == "m")
        .times(2)
        .returning(move |_, texts| Ok(vectors(texts, texts.len() as u64, models.next().unwrap())));
    embedding(embedder, vec![masking(Classes::NONE)])
}

#[tokio::test]
async fn vectors_of_several_calls_are_in_the_order_of_the_texts() {
    let texts: Vec<_> = (1..=MAX_TEXTS + 2).map(|length| "x".repeat(length)).collect();
    let run = Payer::Run(ada().scope());
    let Embedded { made, used } = answering(["m-1", "m-1"]).of(run, texts.clone(), PATIENCE).await.unwrap();
    let (made, used) = (made.unwrap(), used.unwrap());
    assert_eq!(made.vectors.len(), texts.len());
    assert!(made.vectors.iter().enumerate().all(|(index, vector)| {
        (f64::from(vector[0]) - f64::from(u32::try_from(index + 1).unwrap())).abs() < 1e-6
    }));
    assert_eq!((used.usage, used.model.as_str()), (Usage::of_tokens(texts.len() as u64, 0), "m-1"));
    let Embedded { made, used } = answering(["m-1", "m-2"]).of(run, texts.clone(), PATIENCE).await.unwrap();
    assert!(matches!(made, Err(NoVectors::Model(ModelError::Malformed(_)))));
    assert_eq!(used.unwrap().usage.total_tokens(), texts.len() as u64, "it was read all the same");
}

#[tokio::test]
async fn nothing_is_asked_and_paid_for_no_texts() {
    let none = embedding(MockEmbedder::new(), Vec::new()).of(person(), Vec::new(), PATIENCE).await.unwrap();
    assert!(none.made.unwrap().vectors.is_empty() && none.used.is_none());
}

#[tokio::test]
async fn no_embedder_is_told_what_is_masked_and_the_same_is_masked_alike() {
    let mut embedder = MockEmbedder::new();
    let told = ["write to <EMAIL> or <EMAIL>", "<EMAIL> on 203.0.113.7"];
    embedder
        .expect_embed()
        .withf(move |_, texts| texts == told)
        .returning(|_, texts| Ok(vectors(texts, 1, "m")));
    let classes = Classes::from_iter([Class::Email, Class::Secret]);
    let texts = ["write to a@example.org or b@example.org", "b@example.org on 203.0.113.7"];
    let texts = texts.map(str::to_owned).to_vec();
    let asked = embedding(embedder, vec![masking(classes)]);
    assert!(asked.of(Payer::Run(ada().scope()), texts, PATIENCE).await.unwrap().made.is_ok());
}

/// Nine bytes, and eight around each text.
const TEXT: &str = "nine byte";
const MOST: u64 = 17;

#[tokio::test]
async fn what_was_set_aside_and_not_used_comes_back_at_the_price_of_who_answered() {
    let mut embedder = MockEmbedder::new();
    embedder.expect_embed().returning(|_, texts| Ok(vectors(texts, 3, "m-1")));
    let mut back = MockTenantTx::default();
    back.budgets
        .expect_give_back()
        .withf(|_, unspent| *unspent == Usage::of_tokens(MOST - 3, 0).at_cost(MOST - 6))
        .times(1)
        .returning(|_, _| Ok(()));
    back.usage
        .expect_add()
        .withf(|key, calls, usage| {
            (key.model.as_str(), *calls, *usage) == ("m-1", 1, Usage::of_tokens(3, 0).at_cost(6))
        })
        .times(1)
        .returning(|_, _, _| Ok(()));
    let asked = embedding(embedder, vec![masking(Classes::NONE), paying(MOST, MOST), back]);
    let Embedded { made, used } = asked.of(person(), vec![TEXT.into()], PATIENCE).await.unwrap();
    assert!(made.is_ok());
    assert_eq!(used.unwrap().usage.cost_micros, 6);
}

#[tokio::test]
async fn what_no_budget_has_room_for_is_refused_and_nobody_is_asked() {
    let asked = embedding(MockEmbedder::new(), vec![masking(Classes::NONE), paying(MOST - 1, MOST)]);
    let refused = Refused::from(asked.of(person(), vec![TEXT.into()], PATIENCE).await.unwrap_err());
    let Refused::Conflict { code, reason } = refused else { panic!("{refused:?}") };
    assert_eq!(code, "limit_reached");
    assert!(reason.contains("nothing was done: the month budget budget_"), "{reason}");
}

#[tokio::test]
async fn an_embedder_that_fails_costs_nothing_and_all_of_it_comes_back() {
    let mut embedder = MockEmbedder::new();
    embedder.expect_embed().times(1).returning(|_, _| Err(unavailable()));
    let asked = embedding(embedder, vec![masking(Classes::NONE), paying(99, MOST), settling(MOST, None)]);
    let Embedded { made, used } = asked.of(person(), vec![TEXT.into()], PATIENCE).await.unwrap();
    assert!(matches!(made, Err(NoVectors::Model(ModelError::Unavailable { .. }))));
    assert_eq!(used, None);
}

#[tokio::test]
async fn what_was_answered_before_an_embedder_failed_is_paid() {
    let mut embedder = MockEmbedder::new();
    let mut calls = 0;
    embedder.expect_embed().times(2).returning(move |_, texts| {
        calls += 1;
        if calls == 1 { Ok(vectors(texts, 5, "m")) } else { Err(unavailable()) }
    });
    let texts = vec!["x".to_owned(); MAX_TEXTS + 1];
    let most = 9 * texts.len() as u64;
    let units = vec![masking(Classes::NONE), paying(most, most), settling(most - 5, Some((1, 5, "m")))];
    let asked = embedding(embedder, units).of(person(), texts, PATIENCE).await.unwrap();
    assert!(asked.made.is_err());
}

/// Answers never.
struct Silent;

#[async_trait]
impl Embedder for Silent {
    async fn embed(&self, _: &str, _: &[String]) -> Result<Embeddings, ModelError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_broken_off_is_paid_in_full() {
    let units = vec![masking(Classes::NONE), paying(99, MOST), settling(0, Some((1, MOST, "m")))];
    let asked = Embedding { embedder: Arc::new(Silent), ..embedding(MockEmbedder::new(), units) };
    let Embedded { made, used } = asked.of(person(), vec![TEXT.into()], PATIENCE).await.unwrap();
    assert!(matches!(made, Err(NoVectors::TooLong)));
    assert_eq!(used.unwrap().usage.total_tokens(), MOST);
}
