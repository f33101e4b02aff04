//! Who calls, as it is now: looked up with every request, and so kept in the cache.

use std::str::from_utf8;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{FutureExt as _, TryFutureExt as _};
use powerhouse_domain::access::{Principal, TenantScope};
use powerhouse_domain::ids::{SessionId, UserId};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::cache::{Cache, CacheKey};
use powerhouse_ports::platform::{OpenSession, PlatformStore, Standing};
use powerhouse_ports::store::StoreError;

/// Somebody who has signed in, as of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who, with the role of now.
    pub principal: Principal,
    /// What the tenant has signed up for.
    pub plan: Plan,
}

/// Finds callers. Whoever ends a session or changes a user says so here.
#[derive(Clone)]
pub struct Callers {
    /// Knows sessions and users.
    pub platform: Arc<dyn PlatformStore>,
    /// Where they are kept.
    pub cache: Arc<dyn Cache>,
}

impl Callers {
    /// The principal of now, if its session, user and tenant are all active.
    pub async fn find(&self, claimed: &Principal, now: DateTime<Utc>) -> Result<Option<Caller>, StoreError> {
        let scope = claimed.scope();
        let (session, standing) = futures::try_join!(
            self.session(scope, claimed.session_id()),
            self.standing(scope, claimed.user_id())
        )?;
        let stands =
            session.is_some_and(|found| found.user_id == claimed.user_id() && now < found.expires_at);
        Ok(standing.filter(|_| stands).map(|Standing { role, plan }| {
            let (tenant, user, session) = (claimed.tenant_id(), claimed.user_id(), claimed.session_id());
            Caller { principal: Principal::verified(tenant, user, session, role), plan }
        }))
    }

    /// A session has been ended.
    pub async fn session_ended(&self, principal: &Principal) {
        self.cache.invalidate(&session_key(&principal.scope(), principal.session_id())).await;
    }

    /// A user's role or standing has changed, or the user is gone.
    pub async fn user_changed(&self, scope: &TenantScope, user: UserId) {
        self.cache.invalidate(&standing_key(scope, user)).await;
    }

    async fn session(&self, scope: TenantScope, id: SessionId) -> Result<Option<OpenSession>, StoreError> {
        self.kept(&session_key(&scope, id), || {
            let platform = Arc::clone(&self.platform);
            async move { platform.session(&scope, id).await }
        })
        .await
    }

    async fn standing(&self, scope: TenantScope, user: UserId) -> Result<Option<Standing>, StoreError> {
        self.kept(&standing_key(&scope, user), || {
            let platform = Arc::clone(&self.platform);
            async move { platform.standing(&scope, user).await }
        })
        .await
    }

    async fn kept<T: Encoded, L>(&self, key: &CacheKey, load: impl Fn() -> L) -> Result<Option<T>, StoreError>
    where
        L: Future<Output = Result<Option<T>, StoreError>> + Send + 'static,
    {
        let load = || {
            let loading = load();
            // Counted when it is polled: most are dropped, since some tier has the value.
            async {
                metrics::counter!("powerhouse_cache_loads_total").increment(1);
                loading.await
            }
        };
        let mut kept = self.cache.get(key);
        if kept.is_none() {
            let encoded = load().map_ok(|found| found.as_ref().map(T::encode));
            kept = self.cache.get_or_load(key, encoded.boxed()).await?;
        }
        let Some(bytes) = kept else { return Ok(None) };
        match T::decode(&bytes) {
            // What an older release has left there is read from the store.
            None => load().await,
            found => Ok(found),
        }
    }
}

fn session_key(scope: &TenantScope, session: SessionId) -> CacheKey {
    CacheKey::new(scope, "session", session)
}

fn standing_key(scope: &TenantScope, user: UserId) -> CacheKey {
    CacheKey::new(scope, "standing", user)
}

/// Two words of text: small, and readable with `redis-cli`.
trait Encoded: Sized {
    fn encode(&self) -> Bytes;
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl Encoded for OpenSession {
    fn encode(&self) -> Bytes {
        format!("{} {}", self.user_id, self.expires_at.timestamp_micros()).into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (user, expires_at) = from_utf8(bytes).ok()?.split_once(' ')?;
        let expires_at = DateTime::from_timestamp_micros(expires_at.parse().ok()?)?;
        Some(Self { user_id: user.parse().ok()?, expires_at })
    }
}

impl Encoded for Standing {
    fn encode(&self) -> Bytes {
        format!("{} {}", self.role.as_str(), self.plan.as_str()).into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (role, plan) = from_utf8(bytes).ok()?.split_once(' ')?;
        Some(Self { role: role.parse().ok()?, plan: plan.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::access::Role;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_nonsense_does_not() {
        let expires_at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let session = OpenSession { user_id: UserId::from_uuid(Uuid::from_u128(7)), expires_at };
        assert_eq!(OpenSession::decode(&session.encode()), Some(session));
        for (role, plan) in Role::ALL.iter().zip(Plan::ALL.iter().cycle()) {
            let standing = Standing { role: *role, plan: *plan };
            assert_eq!(Standing::decode(&standing.encode()), Some(standing));
        }
        for nonsense in [&b""[..], b"owner", b"emperor team", b"\xff \xff", b"user_x 7"] {
            assert_eq!(Standing::decode(nonsense), None);
            assert_eq!(OpenSession::decode(nonsense), None);
        }
    }
}
