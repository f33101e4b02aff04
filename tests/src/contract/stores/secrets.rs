//! Secrets, sealed, and the keys that they are sealed with, wrapped.

use powerhouse_domain::audit::{Actor, AuditAction};
use powerhouse_domain::ids::DataKeyId;
use powerhouse_domain::secrets::Secret;
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::platform::TenantDataKey;
use powerhouse_ports::secrets::WrappedKey;
use powerhouse_ports::store::{AuditFilter, Limit, SealedValue, StoreError, StoredDataKey};

use super::Stores;
use crate::contract::sample::{Office, at, next_id, office};

fn wrapped(master: &str) -> WrappedKey {
    WrappedKey { master: master.to_owned(), wrapped: vec![0, 255, 7] }
}

pub(super) fn data_key(master: &str) -> StoredDataKey {
    StoredDataKey { id: DataKeyId::from_uuid(next_id()), key: wrapped(master) }
}

fn secret(office: &Office, name: &str) -> Secret {
    Secret::new(name.parse().expect("a name"), office.owner.id(), at(1))
}

fn value(key: &StoredDataKey, sealed: &[u8]) -> SealedValue {
    SealedValue { data_key: key.id, sealed: sealed.to_vec() }
}

/// Stores secrets of these names, sealed with a new key.
async fn stored(stores: &Stores, office: &Office, names: &[&str]) -> StoredDataKey {
    let key = data_key("first");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.secrets().add_data_key(&key).await.expect("add");
    for name in names {
        tx.secrets().add(&secret(office, name), &value(&key, name.as_bytes())).await.expect("add");
    }
    tx.commit().await.expect("commit");
    key
}

/// What is stored is found as it was, by its name and in the order of names.
pub async fn secrets_survive(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let key = stored(stores, &office, &["b", "a", "c"]).await;
    let newer = data_key("second");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    assert_eq!(tx.secrets().newest_data_key().await.expect("newest"), Some(key.clone()));
    tx.secrets().add_data_key(&newer).await.expect("add");
    assert_eq!(tx.secrets().newest_data_key().await.expect("newest"), Some(newer.clone()));
    assert_eq!(tx.secrets().data_key(key.id).await.expect("key"), Some(key.clone()));
    assert_eq!(tx.secrets().data_key(DataKeyId::from_uuid(next_id())).await.expect("key"), None);

    let a = secret(&office, "a");
    assert_eq!(tx.secrets().find(&a.name).await.expect("find"), Some(a.clone()));
    assert_eq!(tx.secrets().value(&a.name).await.expect("value"), Some((a.clone(), value(&key, b"a"))));
    assert_eq!(tx.secrets().count().await.expect("count"), 3);
    let two = Limit::new(2).expect("a limit");
    let page = tx.secrets().list(None, two).await.expect("list");
    assert_eq!(page.items.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let rest = tx.secrets().list(page.next, two).await.expect("list");
    assert_eq!(rest.items.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(rest.next, None);

    let changed = a.clone().changed(at(9));
    tx.secrets().update(&changed, &value(&newer, b"new")).await.expect("update");
    assert_eq!(
        tx.secrets().value(&a.name).await.expect("value"),
        Some((changed.clone(), value(&newer, b"new")))
    );
    let refused = tx.secrets().update(&changed, &value(&newer, b"late")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let refused = tx.secrets().add(&a, &value(&key, b"again")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let unknown = SealedValue { data_key: DataKeyId::from_uuid(next_id()), sealed: Vec::new() };
    assert!(
        tx.secrets().update(&changed.clone().changed(at(10)), &unknown).await.is_err(),
        "a key that is not there"
    );
    assert!(tx.secrets().remove(&a.name).await.expect("remove"));
    assert!(!tx.secrets().remove(&a.name).await.expect("remove"));
    assert_eq!(tx.secrets().value(&a.name).await.expect("value"), None);
    tx.commit().await.expect("commit");
}

/// With the names and ids of another tenant in hand, nothing is found and nothing changes.
pub async fn secrets_are_their_tenants_own(stores: &Stores) {
    let (ours, theirs) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Team).await);
    let their_key = stored(stores, &theirs, &["token"]).await;
    let token = secret(&theirs, "token");
    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    assert_eq!(tx.secrets().find(&token.name).await.expect("find"), None);
    assert_eq!(tx.secrets().value(&token.name).await.expect("value"), None);
    assert!(tx.secrets().list(None, Limit::default()).await.expect("list").items.is_empty());
    assert_eq!(tx.secrets().count().await.expect("count"), 0);
    assert_eq!(tx.secrets().newest_data_key().await.expect("newest"), None);
    assert_eq!(tx.secrets().data_key(their_key.id).await.expect("key"), None);
    assert!(!tx.secrets().remove(&token.name).await.expect("remove"));
    let refused = tx.secrets().update(&token.clone().changed(at(5)), &value(&their_key, b"stolen")).await;
    assert!(refused.is_err(), "another tenant's secret was changed");
    assert!(
        tx.secrets().add(&token, &value(&their_key, b"x")).await.is_err(),
        "sealed with another tenant's key"
    );
    let our_key = StoredDataKey { key: wrapped("ours"), ..their_key.clone() };
    tx.secrets().add_data_key(&our_key).await.expect("the same id is free here");
    tx.secrets()
        .add(&secret(&ours, "token"), &value(&our_key, b"ours"))
        .await
        .expect("the same name is free here");
    tx.commit().await.expect("commit");
    for (office, key, sealed) in [(&ours, &our_key, &b"ours"[..]), (&theirs, &their_key, b"token")] {
        let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
        let found = view.secrets().value(&token.name).await.expect("value");
        assert_eq!(found.map(|(_, value)| value), Some(value(key, sealed)));
        assert_eq!(view.secrets().data_key(key.id).await.expect("key"), Some(key.clone()));
    }
}

/// The platform wraps the keys of all tenants anew, and knows nothing else of them. It is in each tenant's trail.
pub async fn data_keys_are_wrapped_anew(stores: &Stores) {
    let (one, other) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Free).await);
    let (first, second) = (stored(stores, &one, &["a"]).await, stored(stores, &one, &["b"]).await);
    let third = stored(stores, &other, &["a"]).await;
    let of = |office: &Office, key: &StoredDataKey| TenantDataKey {
        tenant: office.tenant.id(),
        id: key.id,
        key: key.key.clone(),
    };
    let all = [of(&one, &first), of(&one, &second), of(&other, &third)];
    assert_eq!(stores.platform.data_keys(None, 9).await.expect("keys"), all);
    let page = stores.platform.data_keys(None, 2).await.expect("keys");
    assert_eq!(page, all[..2]);
    let rest = stores.platform.data_keys(Some((page[1].tenant, page[1].id)), 2).await.expect("keys");
    assert_eq!(rest, all[2..]);

    assert!(stores.platform.rewrap(&all[1], &wrapped("next"), at(5)).await.expect("rewrap"));
    assert!(
        !stores.platform.rewrap(&all[1], &wrapped("late"), at(6)).await.expect("rewrap"),
        "it is another's now"
    );
    let mut view = stores.tenants.read(&one.principal.scope()).await.expect("read");
    let found = view.secrets().data_key(second.id).await.expect("key").expect("it is there");
    assert_eq!(found.key, wrapped("next"));
    assert_eq!(view.secrets().data_key(first.id).await.expect("key"), Some(first));
    let filter = AuditFilter { resource: Some(second.id.to_string()), ..AuditFilter::default() };
    let trail = view.audit().list(&filter, None, Limit::default()).await.expect("list").items;
    let [record] = trail.as_slice() else { panic!("{trail:?}") };
    assert_eq!((record.entry.actor, record.entry.action), (Actor::Platform, AuditAction::DataKeyRewrapped));
    assert_eq!(record.entry.details["master"], "next");
}
