//! Envelope encryption: a secret is sealed with a data key of its tenant, and that is wrapped by a master key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::DataKeyId;
use powerhouse_domain::secrets::{Secret, SecretName, SecretValue};
use powerhouse_ports::Chain;
use powerhouse_ports::clock::IdSource;
use powerhouse_ports::secrets::{DataKey, Envelopes, KeyManagement, SecretReader, SecretUnreadable};
use powerhouse_ports::store::{SealedValue, StoredDataKey, TenantStore};
use powerhouse_ports::webhooks::SecretSource;
use tokio::time::Instant;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Refused;

/// How long an opened data key is kept in memory: its master key is not asked for each use.
const KEPT: Duration = Duration::from_mins(5);
/// The most opened data keys that are kept.
const MAX_KEPT: usize = 1_024;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Data keys that were opened not long ago. They are wiped when they leave.
#[derive(Default)]
struct Opened(Mutex<HashMap<DataKeyId, (Instant, Arc<DataKey>)>>);

impl Opened {
    fn get(&self, id: DataKeyId) -> Option<Arc<DataKey>> {
        let opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(&id).filter(|(until, _)| Instant::now() < *until).map(|(_, key)| Arc::clone(key))
    }

    fn put(&self, id: DataKeyId, key: &Arc<DataKey>) {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        opened.retain(|_, (until, _)| now < *until);
        if opened.len() < MAX_KEPT {
            opened.insert(id, (now + KEPT, Arc::clone(key)));
        }
    }
}

/// Seals and opens values.
#[derive(Clone)]
pub struct Vault {
    store: Arc<dyn TenantStore>,
    masters: Arc<dyn KeyManagement>,
    envelopes: Arc<dyn Envelopes>,
    source: Arc<dyn SecretSource>,
    ids: Arc<dyn IdSource>,
    opened: Arc<Opened>,
}

/// What a tenant's values are sealed with.
pub(crate) struct Sealer {
    id: DataKeyId,
    key: Arc<DataKey>,
    envelopes: Arc<dyn Envelopes>,
    /// It is new, and has to be stored with what it seals.
    pub(crate) new: Option<StoredDataKey>,
}

impl Sealer {
    /// The value, sealed for this version of this secret.
    pub(super) fn seal(
        &self,
        scope: &TenantScope,
        secret: &Secret,
        value: &SecretValue,
    ) -> Result<SealedValue, Refused> {
        let sealed = self.sealed(scope, &bound_to(secret), value.expose().as_bytes())?;
        Ok(SealedValue { data_key: self.id, sealed })
    }

    /// What is no named secret, sealed for whatever `bound_to` says, with the id of the data key before it.
    pub(crate) fn enclose(
        &self,
        scope: &TenantScope,
        bound_to: &str,
        content: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        Ok([&self.id.as_uuid().as_bytes()[..], &self.sealed(scope, bound_to, content)?].concat())
    }

    fn sealed(&self, scope: &TenantScope, bound_to: &str, content: &[u8]) -> Result<Vec<u8>, Refused> {
        let sealed = self.envelopes.locked_by(&self.key).seal(scope, bound_to, content);
        sealed.map_err(|error| Refused::Internal(Chain(&error).to_string()))
    }
}

/// What a value is sealed for, besides its tenant. A name has neither `:` nor blanks.
fn bound_to(secret: &Secret) -> String {
    format!("secret:{}:{}", secret.name, secret.version)
}

impl Vault {
    /// A vault on this store, whose data keys these masters wrap.
    pub fn new(
        store: Arc<dyn TenantStore>,
        masters: Arc<dyn KeyManagement>,
        envelopes: Arc<dyn Envelopes>,
        source: Arc<dyn SecretSource>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        Self { store, masters, envelopes, source, ids, opened: Arc::default() }
    }

    /// 256 random bits.
    pub(crate) fn random(&self) -> DataKey {
        self.source.random()
    }

    /// What this tenant's values are sealed with from now on. The master key is asked here, where no transaction is open.
    pub(crate) async fn sealer(&self, scope: &TenantScope) -> Result<Sealer, Refused> {
        let mut view = self.store.read(scope).await?;
        let newest = view.secrets().newest_data_key().await?;
        drop(view);
        let made = match newest {
            Some(stored) => self.open(scope, &stored).await.map(|key| (stored.id, key, None)),
            None => self.make(scope).await.map(|(stored, key)| (stored.id, key, Some(stored))),
        };
        let (id, key, new) = made.map_err(|error| Refused::Internal(Chain(&*error).to_string()))?;
        Ok(Sealer { id, key, envelopes: Arc::clone(&self.envelopes), new })
    }

    async fn make(&self, scope: &TenantScope) -> Result<(StoredDataKey, Arc<DataKey>), Failure> {
        let id = DataKeyId::from_uuid(self.ids.next());
        let key = self.source.random();
        let wrapped = self.masters.wrap(scope.tenant_id(), id, &key).await?;
        Ok((StoredDataKey { id, key: wrapped }, Arc::new(key)))
    }

    async fn open(&self, scope: &TenantScope, stored: &StoredDataKey) -> Result<Arc<DataKey>, Failure> {
        if let Some(key) = self.opened.get(stored.id) {
            return Ok(key);
        }
        let key = Arc::new(self.masters.unwrap(scope.tenant_id(), stored.id, &stored.key).await?);
        self.opened.put(stored.id, &key);
        Ok(key)
    }

    /// Opens what was [enclosed](Sealer::enclose). None when it is not what was enclosed for this; an error when something
    /// is away, and trying again may help.
    pub(crate) async fn disclose(
        &self,
        scope: &TenantScope,
        bound_to: &str,
        enclosed: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let Some((id, sealed)) = enclosed.split_first_chunk() else { return Ok(None) };
        let id = DataKeyId::from_uuid(Uuid::from_bytes(*id));
        let key = if let Some(key) = self.opened.get(id) {
            key
        } else {
            let mut view = self.store.read(scope).await?;
            let stored = view.secrets().data_key(id).await?;
            drop(view);
            let Some(stored) = stored else { return Ok(None) };
            self.open(scope, &stored).await?
        };
        Ok(self.envelopes.locked_by(&key).open(scope, bound_to, sealed).ok())
    }

    /// The value that a secret has now; none when there is no such secret. The value itself is never kept.
    async fn read(&self, scope: &TenantScope, name: &SecretName) -> Result<Option<SecretValue>, Failure> {
        let mut view = self.store.read(scope).await?;
        let Some((secret, value)) = view.secrets().value(name).await? else { return Ok(None) };
        let key = if let Some(key) = self.opened.get(value.data_key) {
            key
        } else {
            let stored = view.secrets().data_key(value.data_key).await?;
            drop(view);
            self.open(scope, &stored.ok_or("its data key is not there")?).await?
        };
        let opened = self.envelopes.locked_by(&key).open(scope, &bound_to(&secret), &value.sealed)?;
        let text = std::str::from_utf8(&opened).map_err(|_| "it is no text")?;
        Ok(Some(SecretValue::new(Zeroizing::new(text.to_owned()))?))
    }
}

/// Opens secrets for those who send them out.
#[derive(Clone)]
pub struct VaultReader(pub Vault);

#[async_trait]
impl SecretReader for VaultReader {
    async fn read(&self, scope: &TenantScope, name: &SecretName) -> Result<SecretValue, SecretUnreadable> {
        match self.0.read(scope, name).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(SecretUnreadable::Missing(name.clone())),
            Err(source) => Err(SecretUnreadable::Unavailable { name: name.clone(), source }),
        }
    }
}
