//! Keys of requests, and the answers that were given to them.

use powerhouse_domain::idempotency::IdempotencyKey;
use powerhouse_domain::ids::UserId;
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{StoreError, TenantTx};

use super::Stores;
use crate::contract::sample::{Office, agent, at, next_id, office};

/// A caller's key.
fn key(text: &str) -> IdempotencyKey {
    text.parse().expect("a key")
}

/// Claims a key at this second, to be kept for a hundred more.
async fn claim(tx: &mut dyn TenantTx, user: UserId, key: &IdempotencyKey, second: i64) -> Option<Vec<u8>> {
    tx.idempotency().claim(user, key, at(second), at(second + 100)).await.expect("claim")
}

async fn begin(stores: &Stores, office: &Office) -> Box<dyn TenantTx> {
    stores.tenants.begin(&office.principal.scope()).await.expect("begin")
}

/// What was committed with a key is its answer from then on, for its user in its tenant only.
pub async fn a_key_has_its_answer_for_its_user_only(stores: &Stores) {
    let other = office(&*stores.platform, Plan::Team).await;
    let office = office(&*stores.platform, Plan::Team).await;
    let (owner, somebody) = (office.owner.id(), UserId::from_uuid(next_id()));
    let mut tx = begin(stores, &office).await;
    assert_eq!(claim(&mut *tx, owner, &key("k"), 0).await, None);
    tx.idempotency().answer(owner, &key("k"), b"done").await.expect("answer");
    tx.commit().await.expect("commit");

    let mut tx = begin(stores, &office).await;
    assert_eq!(claim(&mut *tx, owner, &key("k"), 1).await.as_deref(), Some(&b"done"[..]));
    assert_eq!(claim(&mut *tx, owner, &key("K"), 1).await, None);
    assert_eq!(claim(&mut *tx, somebody, &key("k"), 1).await, None);
    let unclaimed = tx.idempotency().answer(owner, &key("new"), b"other").await;
    assert!(matches!(unclaimed, Err(StoreError::Conflict { .. })), "{unclaimed:?}");
    drop(tx);

    // Another tenant's user with the same id.
    let mut tx = begin(stores, &other).await;
    assert_eq!(claim(&mut *tx, owner, &key("k"), 1).await, None);
    tx.idempotency().answer(owner, &key("k"), b"theirs").await.expect("answer");
    tx.commit().await.expect("commit");
    let mut tx = begin(stores, &office).await;
    assert_eq!(claim(&mut *tx, owner, &key("k"), 2).await.as_deref(), Some(&b"done"[..]));
}

/// A key whose transaction was not committed is free, and so is what was done with it.
pub async fn a_key_goes_with_its_transaction(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let owner = office.owner.id();
    let mut tx = begin(stores, &office).await;
    assert_eq!(claim(&mut *tx, owner, &key("k"), 0).await, None);
    tx.agents().add(&agent("helper")).await.expect("add");
    tx.idempotency().answer(owner, &key("k"), b"done").await.expect("answer");
    drop(tx);
    let mut tx = begin(stores, &office).await;
    assert_eq!(claim(&mut *tx, owner, &key("k"), 1).await, None);
    assert_eq!(tx.agents().count_in_use().await.expect("count"), 0);
}

/// Of many who have the same key at the same time one does it, and the others wait and have its answer.
pub async fn of_many_with_one_key_one_does_it(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let tries = (0..8).map(|number: u8| {
        let (stores, office) = (stores.clone(), office.clone());
        tokio::spawn(async move {
            let owner = office.owner.id();
            let mut tx = begin(&stores, &office).await;
            if let Some(answer) = claim(&mut *tx, owner, &key("k"), 0).await {
                return (false, answer);
            }
            tx.agents().add(&agent(&format!("helper-{number}"))).await.expect("add");
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            tx.idempotency().answer(owner, &key("k"), &[number]).await.expect("answer");
            tx.commit().await.expect("commit");
            (true, vec![number])
        })
    });
    let mut answers = Vec::new();
    for tried in tries.collect::<Vec<_>>() {
        answers.push(tried.await.expect("the task ends"));
    }
    assert_eq!(answers.iter().filter(|(did, _)| *did).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|(_, answer)| *answer == answers[0].1), "{answers:?}");
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    assert_eq!(view.agents().count_in_use().await.expect("count"), 1);
}

/// A key that has expired is a new one, whether it was purged or not; and only such keys are purged.
pub async fn keys_expire(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let owner = office.owner.id();
    for (name, second) in [("old", 0), ("older", -10), ("young", 90)] {
        let mut tx = begin(stores, &office).await;
        assert_eq!(claim(&mut *tx, owner, &key(name), second).await, None);
        tx.idempotency().answer(owner, &key(name), name.as_bytes()).await.expect("answer");
        tx.commit().await.expect("commit");
    }
    let mut tx = begin(stores, &office).await;
    assert_eq!(claim(&mut *tx, owner, &key("old"), 99).await.as_deref(), Some(&b"old"[..]));
    assert_eq!(claim(&mut *tx, owner, &key("older"), 99).await, None);
    tx.idempotency().answer(owner, &key("older"), b"anew").await.expect("answer");
    tx.commit().await.expect("commit");
    let mut tx = begin(stores, &office).await;
    assert_eq!(claim(&mut *tx, owner, &key("older"), 198).await.as_deref(), Some(&b"anew"[..]));
    drop(tx);

    let purge =
        async |second, limit| stores.platform.purge_idempotency_keys(at(second), limit).await.expect("purge");
    assert_eq!((purge(100, 9).await, purge(101, 9).await), (0, 1), "`old` is gone");
    assert_eq!((purge(1_000, 1).await, purge(1_000, 9).await, purge(1_000, 9).await), (1, 1, 0));
}
