//! Keys and principals for this crate's tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64ct::{Base64, Encoding};
use ed25519_dalek::SigningKey;
use powerhouse_domain::access::{Principal, Role, TenantScope};
use powerhouse_domain::ids::{SessionId, TenantId, UserId};
use powerhouse_ports::clock::IdSource;
use uuid::Uuid;

use crate::ed25519::{PKCS8_PREFIX, from_pkcs8};

/// The private key of RFC 8410 §10.3, as PEM.
pub(crate) fn private_pem() -> String {
    block("PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC")
}

/// The public key of RFC 8410 §10.1, as PEM: the other half of [`private_pem`].
pub(crate) fn public_pem() -> String {
    block("PUBLIC KEY", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=")
}

/// The key of [`private_pem`].
pub(crate) fn signing_key() -> SigningKey {
    let der = Base64::decode_vec(private_pem().lines().nth(1).unwrap()).unwrap();
    from_pkcs8(&der).unwrap()
}

/// A key as PEM.
pub(crate) fn pem_of(key: &SigningKey) -> String {
    let der = [&PKCS8_PREFIX[..], key.as_bytes()].concat();
    block("PRIVATE KEY", &Base64::encode_string(&der))
}

/// A PEM block.
pub(crate) fn block(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// Somebody in tenant 1.
pub(crate) fn principal(role: Role) -> Principal {
    let id = Uuid::from_u128;
    Principal::verified(
        TenantId::from_uuid(id(1)),
        UserId::from_uuid(id(2)),
        SessionId::from_uuid(id(3)),
        role,
    )
}

/// Ids that count.
#[derive(Default)]
pub(crate) struct CountingIds(AtomicU64);

impl IdSource for CountingIds {
    fn next(&self) -> Uuid {
        Uuid::from_u128(self.0.fetch_add(1, Ordering::Relaxed).into())
    }
}

/// A new source of ids that count.
pub(crate) fn ids() -> Arc<dyn IdSource> {
    Arc::new(CountingIds::default())
}

/// The scope of the tenant with this number.
pub(crate) fn scope(tenant: u128) -> TenantScope {
    let id = Uuid::from_u128(tenant);
    Principal::verified(TenantId::from_uuid(id), UserId::from_uuid(id), SessionId::from_uuid(id), Role::Owner)
        .scope()
}
