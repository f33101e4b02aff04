//! Doing what is asked once, however often it is asked with the same key (draft-ietf-httpapi-idempotency-key-header).
//!
//! The key is claimed where the unit of work begins, and answered where it is committed: what was done and its answer are
//! stored together, or neither is. A request that was refused has changed nothing, and its key is free.

use std::fmt;
use std::sync::Arc;

use chrono::TimeDelta;
use powerhouse_domain::access::{Principal, TenantScope};
use powerhouse_domain::audit::Entry;
use powerhouse_domain::idempotency::{IdempotencyKey, RequestHash};
use powerhouse_ports::Chain;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::secrets::SecretBox;
use powerhouse_ports::store::{StoreError, TenantStore, TenantTx};
use serde::{Deserialize, Serialize};

use crate::Refused;

/// An answer as it was given over HTTP. It may have a secret in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Location`.
    pub location: Option<String>,
    /// The version in `ETag`.
    pub version: Option<u64>,
    /// The body, JSON.
    pub body: String,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// An answer with what it was the answer to, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    request: [u8; 32],
    answer: Answer,
}

/// How answers are kept.
#[derive(Clone)]
pub struct Keeper {
    /// Seals them: an answer may have a secret that is shown once, and the hash of a request may be of a password.
    pub sealer: Arc<dyn SecretBox>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// For how long.
    pub kept: TimeDelta,
}

/// A request with a key.
#[derive(Clone)]
pub struct Keyed {
    /// How its answer is kept.
    pub keeper: Keeper,
    /// Who asks. Others may use the same key for something else.
    pub principal: Principal,
    /// The key.
    pub key: IdempotencyKey,
    /// What is asked.
    pub request: RequestHash,
}

impl Keyed {
    /// Takes the key for the rest of the transaction.
    async fn claim(&self, tx: &mut dyn TenantTx) -> Result<(), Refused> {
        let now = self.keeper.clock.now();
        let user = self.principal.user_id();
        let before = tx.idempotency().claim(user, &self.key, now, now + self.keeper.kept).await;
        let sealed = match before {
            Ok(None) => return Ok(()),
            Ok(Some(sealed)) => sealed,
            Err(StoreError::Conflict { .. }) => {
                let reason =
                    "a request with this `Idempotency-Key` is still being carried out: try again shortly";
                return Err(Refused::conflict("idempotency_key_in_use", reason));
            }
            Err(error) => return Err(error.into()),
        };
        let opened = self.keeper.sealer.open(&self.principal.scope(), &self.name(), &sealed);
        let opened = opened.map_err(|error| Refused::Internal(Chain(&error).to_string()))?;
        let kept: Kept = serde_json::from_slice(&opened)
            .map_err(|_| Refused::Internal("a kept answer cannot be read".to_owned()))?;
        if kept.request != *self.request.as_bytes() {
            return Err(Refused::KeyReused);
        }
        Err(Refused::DoneBefore(Box::new(kept.answer)))
    }

    async fn answer(&self, tx: &mut dyn TenantTx, answer: Answer) -> Result<(), Refused> {
        let kept = Kept { request: *self.request.as_bytes(), answer };
        let internal =
            |error: &(dyn std::error::Error + 'static)| Refused::Internal(Chain(error).to_string());
        let text = serde_json::to_vec(&kept).map_err(|error| internal(&error))?;
        let sealed = self.keeper.sealer.seal(&self.principal.scope(), &self.name(), &text);
        let sealed = sealed.map_err(|error| internal(&error))?;
        Ok(tx.idempotency().answer(self.principal.user_id(), &self.key, &sealed).await?)
    }

    /// What an answer is sealed for.
    fn name(&self) -> String {
        let key = u128::from_be_bytes(*self.key.digest().first_chunk().unwrap_or(&[0; 16]));
        format!("idempotency:{}:{key:032x}", self.principal.user_id())
    }
}

/// How a `T` is shown to whoever asked.
type Show<T> = Box<dyn Fn(&T) -> Answer + Send + Sync>;

/// The promise to do something that gives a `T` once, if the request has a key; else, nothing.
pub struct Once<T>(Option<(Keyed, Show<T>)>);

impl<T> Once<T> {
    /// Without a key: each request is carried out.
    pub fn unkeyed() -> Self {
        Self(None)
    }

    /// With a key, and how the answer looks.
    pub fn keyed(keyed: Keyed, show: impl Fn(&T) -> Answer + Send + Sync + 'static) -> Self {
        Self(Some((keyed, Box::new(show))))
    }

    /// Opens a unit of work, and claims the key in it. `DoneBefore` when this was done.
    pub(crate) async fn begin(
        &self,
        store: &dyn TenantStore,
        scope: &TenantScope,
    ) -> Result<Box<dyn TenantTx>, Refused> {
        let mut tx = store.begin(scope).await?;
        if let Some((keyed, _)) = &self.0 {
            keyed.claim(&mut *tx).await?;
        }
        Ok(tx)
    }

    /// Writes down what was done in this transaction, and makes it last, with the answer that is given for it.
    pub(crate) async fn commit_audited(
        &self,
        mut tx: Box<dyn TenantTx>,
        done: &T,
        entry: Entry,
    ) -> Result<(), Refused> {
        tx.audit().append(entry).await?;
        self.commit(tx, done).await
    }

    /// Makes the changes last, with the answer that is given for them.
    pub(crate) async fn commit(&self, mut tx: Box<dyn TenantTx>, done: &T) -> Result<(), Refused> {
        if let Some((keyed, show)) = &self.0 {
            keyed.answer(&mut *tx, show(done)).await?;
        }
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests;
