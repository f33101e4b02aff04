//! What is kept of a request with a key, and what becomes of the next one.

use std::sync::Mutex;

use chrono::DateTime;
use mockall::predicate::eq;
use powerhouse_domain::access::Role;
use powerhouse_domain::ids::{SessionId, TenantId, UserId};
use powerhouse_ports::clock::MockClock;
use powerhouse_ports::secrets::{MockSecretBox, OpenFailed};
use powerhouse_ports::store::{MockTenantStore, MockTenantTx};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::*;

fn principal() -> Principal {
    let id = Uuid::from_u128(1);
    Principal::verified(TenantId::from_uuid(id), UserId::from_uuid(id), SessionId::from_uuid(id), Role::Owner)
}

/// Seals by writing for whom before it.
fn sealer() -> MockSecretBox {
    let mut sealer = MockSecretBox::new();
    let prefix = |name: &str| [name.as_bytes(), b" "].concat();
    sealer.expect_seal().returning(move |_, name, secret| Ok([&prefix(name)[..], secret].concat()));
    sealer.expect_open().returning(move |_, name, sealed| {
        sealed.strip_prefix(&prefix(name)[..]).map(|secret| Zeroizing::new(secret.to_vec())).ok_or(OpenFailed)
    });
    sealer
}

fn keyed(key: &str, request: &[u8]) -> Keyed {
    let mut clock = MockClock::new();
    clock.expect_now().return_const(DateTime::UNIX_EPOCH);
    let keeper = Keeper { sealer: Arc::new(sealer()), clock: Arc::new(clock), kept: TimeDelta::hours(24) };
    let request = RequestHash::of(&[request]);
    Keyed { keeper, principal: principal(), key: key.parse().unwrap(), request }
}

fn once(key: &str, request: &[u8]) -> Once<u32> {
    Once::keyed(keyed(key, request), |done| Answer {
        status: 201,
        location: Some(format!("/v1/things/{done}")),
        version: Some(7),
        body: format!("{{\"id\":{done}}}"),
    })
}

fn store(tx: MockTenantTx) -> MockTenantStore {
    let mut store = MockTenantStore::new();
    let tx = Mutex::new(Some(tx));
    store.expect_begin().returning(move |_| Ok(Box::new(tx.lock().unwrap().take().unwrap())));
    store
}

/// What is kept after `once` was carried out with 5.
async fn kept(once: &Once<u32>) -> Vec<u8> {
    let (mut tx, kept) = (MockTenantTx::default(), Arc::new(Mutex::new(Vec::new())));
    let user = principal().user_id();
    let expires_at = DateTime::UNIX_EPOCH + TimeDelta::hours(24);
    tx.idempotency
        .expect_claim()
        .once()
        .with(eq(user), mockall::predicate::always(), eq(DateTime::UNIX_EPOCH), eq(expires_at))
        .returning(|_, _, _, _| Ok(None));
    let to = Arc::clone(&kept);
    tx.idempotency.expect_answer().once().returning(move |_, _, sealed| {
        *to.lock().unwrap() = sealed.to_vec();
        Ok(())
    });
    let tx = once.begin(&store(tx), &principal().scope()).await.unwrap();
    once.commit(tx, &5).await.unwrap();
    let kept = kept.lock().unwrap();
    kept.clone()
}

/// How `once` is refused where this was kept, or could not be claimed.
async fn refused(once: &Once<u32>, before: Result<Option<Vec<u8>>, StoreError>) -> Refused {
    let mut tx = MockTenantTx::default();
    tx.idempotency.expect_claim().return_once(move |_, _, _, _| before);
    once.begin(&store(tx), &principal().scope()).await.err().unwrap()
}

#[tokio::test]
async fn without_a_key_the_store_hears_of_none() {
    let (once, tx) = (Once::<u32>::unkeyed(), MockTenantTx::default());
    let tx = once.begin(&store(tx), &principal().scope()).await.unwrap();
    once.commit(tx, &5).await.unwrap();
}

#[tokio::test]
async fn what_was_done_is_answered_as_it_was() {
    let kept = kept(&once("k", b"a")).await;
    let Refused::DoneBefore(answer) = refused(&once("k", b"a"), Ok(Some(kept.clone()))).await else {
        panic!("it was done")
    };
    assert_eq!((answer.status, answer.version, answer.body.as_str()), (201, Some(7), "{\"id\":5}"));
    assert_eq!(answer.location.as_deref(), Some("/v1/things/5"));
    assert!(!format!("{answer:?}").contains("id"), "an answer may have a secret");
    assert!(matches!(refused(&once("k", b"b"), Ok(Some(kept.clone()))).await, Refused::KeyReused));
    // A row that was swapped for another opens nothing.
    assert!(matches!(refused(&once("other", b"a"), Ok(Some(kept))).await, Refused::Internal(_)));
}

#[tokio::test]
async fn a_key_that_another_request_has_is_in_use() {
    let conflict = || StoreError::Conflict { entity: "idempotency key" };
    let refused = refused(&once("k", b"a"), Err(conflict())).await;
    assert!(matches!(refused, Refused::Conflict { code: "idempotency_key_in_use", .. }), "{refused:?}");
}
