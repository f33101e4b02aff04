//! Tenants' own providers of models.

use powerhouse_domain::catalogue::{
    CatalogueModel, Provider, ProviderKind, ProviderModels, ProviderSettings,
};
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{KeyChange, Limit, SealedKey, StoreError};

use super::Stores;
use crate::contract::sample::{Office, at, next_id, office};

fn provider(office: &Office, name: &str) -> Provider {
    let model = CatalogueModel {
        context_tokens: Some(128_000),
        max_output_tokens: Some(8_000),
        max_concurrent: Some(4),
        fallbacks: vec!["other/small".into()],
        is_hedged: true,
        ..CatalogueModel::named("large")
    };
    Provider {
        id: ModelProviderId::from_uuid(next_id()),
        name: name.parse().expect("a name"),
        settings: ProviderSettings {
            kind: ProviderKind::Anthropic,
            base_url: "https://llm.example.org/v1".parse().expect("an address"),
            cache_prompts: true,
            models: ProviderModels::new(vec![model, CatalogueModel::named("small")]).expect("models"),
        },
        has_key: true,
        created_by: office.owner.id(),
        created_at: at(0),
        version: 1,
    }
}

/// What is stored comes back, with its key; changes, and the key with them, are kept.
pub async fn providers_survive(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (second, first) = (provider(&office, "west"), provider(&office, "east"));
    let keyless = Provider { has_key: false, ..first };
    let scope = office.principal.scope();
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    tx.model_providers().add(&second, Some(vec![1, 2, 3])).await.expect("add");
    tx.model_providers().add(&keyless, None).await.expect("add");
    tx.commit().await.expect("commit");

    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    let providers = tx.model_providers();
    assert_eq!(providers.find(second.id).await.expect("find"), Some(second.clone()));
    assert_eq!(providers.count().await.expect("count"), 2);
    let listed = providers.list(None, Limit::new(1).expect("a limit")).await.expect("list");
    assert_eq!((listed.items.clone(), listed.next), (vec![second.clone()], Some(second.id)));
    let rest = providers.list(listed.next, Limit::default()).await.expect("list");
    assert_eq!((rest.items, rest.next), (vec![keyless.clone()], None));
    let catalogue = providers.catalogue().await.expect("catalogue");
    assert_eq!(catalogue, [(keyless.clone(), None), (second.clone(), Some(vec![1, 2, 3]))], "by their names");

    let mut changed = Provider { version: 2, ..second.clone() };
    changed.settings.kind = ProviderKind::OpenAi;
    changed.settings.cache_prompts = false;
    providers.update(&changed, &KeyChange::Keep).await.expect("update");
    let stale = providers.update(&changed, &KeyChange::Remove).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
    let sealed = |catalogue: &[(Provider, Option<SealedKey>)]| catalogue[1].clone();
    assert_eq!(sealed(&providers.catalogue().await.expect("read")), (changed.clone(), Some(vec![1, 2, 3])));
    let changed = Provider { version: 3, ..changed };
    providers.update(&changed, &KeyChange::Put(vec![9])).await.expect("update");
    assert_eq!(sealed(&providers.catalogue().await.expect("read")), (changed.clone(), Some(vec![9])));
    let changed = Provider { version: 4, has_key: false, ..changed };
    providers.update(&changed, &KeyChange::Remove).await.expect("update");
    assert_eq!(sealed(&providers.catalogue().await.expect("read")), (changed, None));

    let taken = providers.add(&provider(&office, "west"), None).await;
    assert!(matches!(taken, Err(StoreError::Conflict { .. })), "{taken:?}");
    assert!(providers.remove(second.id).await.expect("remove"));
    assert!(!providers.remove(second.id).await.expect("remove"));
    tx.commit().await.expect("commit");
    let mut view = stores.tenants.read(&scope).await.expect("read");
    assert_eq!(view.model_providers().find(second.id).await.expect("find"), None);
    assert_eq!(view.model_providers().count().await.expect("count"), 1);
}

/// A name is taken in its tenant only, and nobody sees, changes or removes what is another tenant's.
pub async fn providers_are_their_tenants_own(stores: &Stores) {
    let (ours, theirs) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Team).await);
    let theirs_own = provider(&theirs, "llm");
    let mut tx = stores.tenants.begin(&theirs.principal.scope()).await.expect("begin");
    tx.model_providers().add(&theirs_own, Some(vec![7])).await.expect("add");
    tx.commit().await.expect("commit");

    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    let providers = tx.model_providers();
    assert_eq!(providers.find(theirs_own.id).await.expect("find"), None);
    assert!(providers.list(None, Limit::default()).await.expect("list").items.is_empty());
    assert!(providers.catalogue().await.expect("catalogue").is_empty());
    assert_eq!(providers.count().await.expect("count"), 0);
    let changed = Provider { version: 2, ..theirs_own.clone() };
    assert!(providers.update(&changed, &KeyChange::Remove).await.is_err());
    assert!(!providers.remove(theirs_own.id).await.expect("remove"));
    // The same id and name, of one's own.
    let twin = Provider { created_by: ours.owner.id(), ..theirs_own.clone() };
    providers.add(&twin, Some(vec![8])).await.expect("names and ids are a tenant's own");
    let changed = Provider { version: 2, ..twin };
    providers.update(&changed, &KeyChange::Put(vec![5])).await.expect("update");
    assert!(providers.remove(changed.id).await.expect("remove"));
    tx.commit().await.expect("commit");

    let mut view = stores.tenants.read(&theirs.principal.scope()).await.expect("read");
    let kept = view.model_providers().catalogue().await.expect("catalogue");
    assert_eq!(kept, [(theirs_own, Some(vec![7]))]);
}
