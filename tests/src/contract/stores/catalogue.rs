//! Tenants' own providers of models.

use powerhouse_domain::catalogue::{
    CatalogueModel, Provider, ProviderKind, ProviderModels, ProviderSettings,
};
use powerhouse_domain::ids::ModelProviderId;
use powerhouse_domain::masking::{Class, Classes, MaskingRules};
use powerhouse_domain::secrets::Secret;
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{Limit, SealedValue, StoreError, TenantTx};

use super::Stores;
use super::secrets::data_key;
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
            key: Some("llm".parse().expect("a name")),
            cache_prompts: true,
            models: ProviderModels::new(vec![model, CatalogueModel::named("small")]).expect("models"),
        },
        created_by: office.owner.id(),
        created_at: at(0),
        version: 1,
    }
}

/// Puts a version of the secret `llm` in.
async fn put_key(tx: &mut dyn TenantTx, office: &Office, version: u64) {
    let secret = Secret::new("llm".parse().expect("a name"), office.owner.id(), at(0));
    let key = data_key("first");
    let value = SealedValue { data_key: key.id, sealed: vec![1] };
    tx.secrets().add_data_key(&key).await.expect("add");
    if version == 1 {
        tx.secrets().add(&secret, &value).await.expect("add");
    } else {
        tx.secrets().update(&Secret { version, ..secret }, &value).await.expect("update");
    }
}

/// What is stored comes back, with the version of its key; changes are kept.
pub async fn providers_survive(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (second, first) = (provider(&office, "west"), provider(&office, "east"));
    let mut keyless = first;
    keyless.settings.key = None;
    let scope = office.principal.scope();
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    tx.model_providers().add(&second).await.expect("add");
    tx.model_providers().add(&keyless).await.expect("add");
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
    assert_eq!(catalogue, [(keyless.clone(), None), (second.clone(), None)], "by their names");

    let mut changed = Provider { version: 2, ..second.clone() };
    changed.settings.kind = ProviderKind::OpenAi;
    changed.settings.cache_prompts = false;
    providers.update(&changed).await.expect("update");
    let stale = providers.update(&changed).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
    put_key(&mut *tx, &office, 1).await;
    let catalogue = tx.model_providers().catalogue().await.expect("read");
    assert_eq!(catalogue, [(keyless.clone(), None), (changed.clone(), Some(1))]);
    put_key(&mut *tx, &office, 2).await;
    assert_eq!(tx.model_providers().catalogue().await.expect("read")[1], (changed.clone(), Some(2)));
    let mut changed = Provider { version: 3, ..changed };
    changed.settings.key = None;
    let providers = tx.model_providers();
    providers.update(&changed).await.expect("update");
    assert_eq!(providers.catalogue().await.expect("read")[1], (changed, None));

    let taken = providers.add(&provider(&office, "west")).await;
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
    tx.model_providers().add(&theirs_own).await.expect("add");
    put_key(&mut *tx, &theirs, 1).await;
    tx.commit().await.expect("commit");

    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    let providers = tx.model_providers();
    assert_eq!(providers.find(theirs_own.id).await.expect("find"), None);
    assert!(providers.list(None, Limit::default()).await.expect("list").items.is_empty());
    assert!(providers.catalogue().await.expect("catalogue").is_empty());
    assert_eq!(providers.count().await.expect("count"), 0);
    let changed = Provider { version: 2, ..theirs_own.clone() };
    assert!(providers.update(&changed).await.is_err());
    assert!(!providers.remove(theirs_own.id).await.expect("remove"));
    // The same id and name, of one's own.
    let twin = Provider { created_by: ours.owner.id(), ..theirs_own.clone() };
    providers.add(&twin).await.expect("names and ids are a tenant's own");
    let changed = Provider { version: 2, ..twin };
    providers.update(&changed).await.expect("update");
    let catalogue = providers.catalogue().await.expect("catalogue");
    assert_eq!(catalogue, [(changed.clone(), None)], "their secret is not our key");
    assert!(providers.remove(changed.id).await.expect("remove"));
    tx.commit().await.expect("commit");

    let mut view = stores.tenants.read(&theirs.principal.scope()).await.expect("read");
    let kept = view.model_providers().catalogue().await.expect("catalogue");
    assert_eq!(kept, [(theirs_own, Some(1))]);
}

/// What is masked is kept, and changed by whoever has read what is there; it is each tenant's own.
pub async fn what_is_masked_survives(stores: &Stores) {
    let (ours, theirs) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Team).await);
    let mut tx = stores.tenants.begin(&theirs.principal.scope()).await.expect("begin");
    let their_rules = MaskingRules::default().replaced(Classes::ALL);
    tx.model_providers().replace_masking(&their_rules).await.expect("replace");
    tx.commit().await.expect("commit");

    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    let providers = tx.model_providers();
    assert_eq!(providers.masking().await.expect("read"), MaskingRules::default());
    let first = MaskingRules::default().replaced([Class::Email, Class::Secret].into_iter().collect());
    providers.replace_masking(&first).await.expect("replace");
    for stale in [first, first.replaced(Classes::ALL).replaced(Classes::ALL)] {
        let refused = providers.replace_masking(&stale).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(providers.masking().await.expect("read"), first);
    let second = first.replaced(Classes::NONE);
    providers.replace_masking(&second).await.expect("replace");
    assert_eq!(providers.masking().await.expect("read"), second);
    tx.commit().await.expect("commit");

    let mut view = stores.tenants.read(&theirs.principal.scope()).await.expect("read");
    assert_eq!(view.model_providers().masking().await.expect("read"), their_rules);
}
