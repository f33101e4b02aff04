//! Master keys that this process has itself: they wrap the data keys of tenants by XChaCha20-Poly1305.
//!
//! Whoever wants them kept by a service elsewhere implements [`KeyManagement`] for it; nothing else changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use base64ct::{Base64, Encoding as _};
use powerhouse_domain::ids::{DataKeyId, TenantId};
use powerhouse_ports::secrets::{
    DataKey, Envelopes, KeyManagement, KeyManagementError, SecretBox, WrappedKey,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::AeadSecretBox;
use crate::keys::KeyError;
use crate::keys::file::{create, read_private, replace};
use crate::secret_box::Aead;

/// The most master keys at a time: one that wraps, and others that open what they wrapped before.
const MAX_KEYS: usize = 8;
/// The most bytes of a file with them.
const MAX_FILE: usize = 64 * MAX_KEYS;

struct MasterKey {
    name: String,
    aead: Aead,
}

impl MasterKey {
    fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        // A hash of the key tells nothing of it: it has 256 random bits.
        let digest =
            Sha256::new().chain_update(b"powerhouse master key v1").chain_update(&key[..]).finalize();
        let name = digest[..8].iter().fold(String::from("local-"), |name, byte| format!("{name}{byte:02x}"));
        Self { name, aead: Aead::new(key) }
    }
}

/// Keys in base64, by white space or commas: the first wraps, all open.
fn read(text: &str) -> Result<Vec<MasterKey>, KeyError> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let keys = words.map(|word| {
        let mut key = Zeroizing::new([0; 32]);
        match Base64::decode(word, &mut key[..]) {
            Ok(bytes) if bytes.len() == 32 => Ok(MasterKey::new(&key)),
            _ => Err(KeyError::NotASecretKey),
        }
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    match keys.len() {
        0 => Err(KeyError::NotASecretKey),
        1..=MAX_KEYS => Ok(keys),
        _ => Err(KeyError::TooMany),
    }
}

fn generated() -> Result<Zeroizing<String>, KeyError> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut key[..]).map_err(KeyError::Randomness)?;
    Ok(Zeroizing::new(Base64::encode_string(&key[..])))
}

fn read_file(path: &Path) -> Result<Vec<MasterKey>, KeyError> {
    let text = read_private(path, MAX_FILE)?;
    read(std::str::from_utf8(&text).map_err(|_| KeyError::NotASecretKey)?)
}

/// The master keys of this process.
pub struct LocalMasterKeys {
    keys: RwLock<Arc<Vec<MasterKey>>>,
    /// Where they are, when they are in a file: it may get another key while this process works.
    file: Option<PathBuf>,
}

impl LocalMasterKeys {
    /// Keys of 32 bytes in base64, by commas or white space: the first wraps, the others open what they wrapped.
    pub fn new(keys: &str) -> Result<Self, KeyError> {
        Ok(Self { keys: RwLock::new(Arc::new(read(keys)?)), file: None })
    }

    /// The keys in a file, one a line, with a new key in it if there is none. The file is for its owner alone. Replicas
    /// need the same keys.
    pub fn load_or_generate(path: &Path) -> Result<Self, KeyError> {
        let keys = match read_file(path) {
            Err(KeyError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                create(path, &generated()?)?;
                read_file(path)?
            }
            read => read?,
        };
        Ok(Self { keys: RwLock::new(Arc::new(keys)), file: Some(path.to_owned()) })
    }

    /// Puts a new key in front of those in a file. It wraps from then on; the others open what they wrapped. Processes that
    /// are at work take it up by themselves.
    pub fn add_to_file(path: &Path) -> Result<(), KeyError> {
        let old = read_private(path, MAX_FILE)?;
        read(std::str::from_utf8(&old).map_err(|_| KeyError::NotASecretKey)?)?;
        let mut text = Zeroizing::new(String::with_capacity(2 * MAX_FILE));
        text.push_str(&generated()?);
        text.push('\n');
        text.push_str(std::str::from_utf8(&old).map_err(|_| KeyError::NotASecretKey)?);
        read(&text)?;
        replace(path, &text)
    }

    fn keys(&self) -> Arc<Vec<MasterKey>> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys as they are in the file now.
    async fn read_again(&self) -> Result<Arc<Vec<MasterKey>>, KeyManagementError> {
        let Some(file) = self.file.clone() else { return Ok(self.keys()) };
        let unavailable =
            |error: Box<dyn std::error::Error + Send + Sync>| KeyManagementError::Unavailable(error);
        let read = tokio::task::spawn_blocking(move || read_file(&file)).await;
        let keys = Arc::new(read.map_err(|e| unavailable(e.into()))?.map_err(|e| unavailable(e.into()))?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        Ok(keys)
    }
}

impl std::fmt::Debug for LocalMasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalMasterKeys(…)")
    }
}

/// What a data key is wrapped for. Both ids have a fixed length, so no two pairs give the same bytes.
fn bound_to(tenant: TenantId, id: DataKeyId) -> Vec<u8> {
    [b"powerhouse data key v1".as_slice(), tenant.as_uuid().as_bytes(), id.as_uuid().as_bytes()].concat()
}

#[async_trait]
impl KeyManagement for LocalMasterKeys {
    async fn current(&self) -> Result<String, KeyManagementError> {
        // INVARIANT: there is at least one key.
        Ok(self.read_again().await?[0].name.clone())
    }

    async fn wrap(
        &self,
        tenant: TenantId,
        id: DataKeyId,
        key: &DataKey,
    ) -> Result<WrappedKey, KeyManagementError> {
        let keys = self.read_again().await?;
        let wrapped = keys[0]
            .aead
            .seal(&bound_to(tenant, id), &key[..])
            .map_err(|error| KeyManagementError::Unavailable(error.into()))?;
        Ok(WrappedKey { master: keys[0].name.clone(), wrapped })
    }

    async fn unwrap(
        &self,
        tenant: TenantId,
        id: DataKeyId,
        wrapped: &WrappedKey,
    ) -> Result<DataKey, KeyManagementError> {
        let has = |keys: &Vec<MasterKey>| keys.iter().position(|key| key.name == wrapped.master);
        let mut keys = self.keys();
        let mut found = has(&keys);
        if found.is_none() {
            keys = self.read_again().await?;
            found = has(&keys);
        }
        let found = found.ok_or_else(|| KeyManagementError::UnknownMaster(wrapped.master.clone()))?;
        let opened = keys[found].aead.open(&bound_to(tenant, id), &wrapped.wrapped);
        let opened = opened.map_err(|_| KeyManagementError::Refused)?;
        let key = <[u8; 32]>::try_from(&opened[..]).map_err(|_| KeyManagementError::Refused)?;
        Ok(Zeroizing::new(key))
    }
}

/// Boxes by XChaCha20-Poly1305.
#[derive(Clone, Copy, Debug, Default)]
pub struct AeadEnvelopes;

impl Envelopes for AeadEnvelopes {
    fn locked_by(&self, key: &DataKey) -> Box<dyn SecretBox> {
        Box::new(AeadSecretBox::new(key))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(byte: u8) -> String {
        Base64::encode_string(&[byte; 32])
    }

    fn ids(tenant: u128, id: u128) -> (TenantId, DataKeyId) {
        (TenantId::from_uuid(Uuid::from_u128(tenant)), DataKeyId::from_uuid(Uuid::from_u128(id)))
    }

    #[tokio::test]
    async fn a_data_key_opens_for_its_tenant_its_id_and_its_master_alone() {
        let (tenant, id) = ids(1, 2);
        let data_key = Zeroizing::new([7; 32]);
        let masters = LocalMasterKeys::new(&key(1)).unwrap();
        let wrapped = masters.wrap(tenant, id, &data_key).await.unwrap();
        assert_eq!(wrapped.master, masters.current().await.unwrap());
        assert_eq!(masters.unwrap(tenant, id, &wrapped).await.unwrap(), data_key);
        for (tenant, id) in [ids(3, 2), ids(1, 3)] {
            let refused = masters.unwrap(tenant, id, &wrapped).await;
            assert!(matches!(refused, Err(KeyManagementError::Refused)));
        }
        let renamed = WrappedKey { master: MasterKey::new(&Zeroizing::new([2; 32])).name, ..wrapped.clone() };
        let both = LocalMasterKeys::new(&format!("{},{}", key(1), key(2))).unwrap();
        assert!(matches!(both.unwrap(tenant, id, &renamed).await, Err(KeyManagementError::Refused)));
        let other = LocalMasterKeys::new(&key(2)).unwrap();
        let unknown = other.unwrap(tenant, id, &wrapped).await;
        assert!(matches!(unknown, Err(KeyManagementError::UnknownMaster(_))));
        assert!(!wrapped.wrapped.windows(8).any(|window| window == [7; 8]));
        assert!(!format!("{masters:?}").contains(&key(1)));
    }

    #[tokio::test]
    async fn the_first_key_wraps_and_all_open() {
        let (tenant, id) = ids(1, 2);
        let data_key = Zeroizing::new([7; 32]);
        let old = LocalMasterKeys::new(&key(1)).unwrap().wrap(tenant, id, &data_key).await.unwrap();
        let both = LocalMasterKeys::new(&format!("{}\n{}\n", key(2), key(1))).unwrap();
        assert_eq!(both.unwrap(tenant, id, &old).await.unwrap(), data_key);
        let new = both.wrap(tenant, id, &data_key).await.unwrap();
        assert_ne!(new.master, old.master);
        assert!(LocalMasterKeys::new(&key(2)).unwrap().unwrap(tenant, id, &new).await.is_ok());
    }

    /// A process that is at work when another key comes into the file wraps by it, and opens what others wrapped by it.
    #[tokio::test]
    async fn a_key_that_comes_into_the_file_is_taken_up() {
        let (tenant, id) = ids(1, 2);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.keys");
        let at_work = LocalMasterKeys::load_or_generate(&file).unwrap();
        let data_key = Zeroizing::new([7; 32]);
        let old = at_work.wrap(tenant, id, &data_key).await.unwrap();
        LocalMasterKeys::add_to_file(&file).unwrap();
        let fresh = LocalMasterKeys::load_or_generate(&file).unwrap();
        let new = fresh.wrap(tenant, id, &data_key).await.unwrap();
        assert_ne!(new.master, old.master);
        assert_eq!(at_work.unwrap(tenant, id, &new).await.unwrap(), data_key);
        assert_eq!(fresh.unwrap(tenant, id, &old).await.unwrap(), data_key);
        assert_eq!(at_work.wrap(tenant, id, &data_key).await.unwrap().master, new.master);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused() {
        let too_many = vec![key(1); MAX_KEYS + 1].join(",");
        for wrong in ["", " ", "short", &key(1)[1..], too_many.as_str()] {
            assert!(LocalMasterKeys::new(wrong).is_err(), "{wrong}");
        }
    }
}
