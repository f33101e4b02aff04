//! Argon2id (RFC 9106) away from the async threads, with a bound on how much of it goes on at once.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::Error as Argon2Error;
use argon2::password_hash::phc::PasswordHash;
use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
};
use async_trait::async_trait;
use powerhouse_ports::crypto::{HashError, Password, PasswordHasher};
use tokio::sync::Semaphore;

/// OWASP's first recommendation for Argon2id: 19 MiB, two passes, one lane.
const PARAMS: Params = match Params::new(19_456, 2, 1, Some(Params::DEFAULT_OUTPUT_LEN)) {
    Ok(params) => params,
    Err(_) => panic!("the parameters are in range"),
};

/// What a stored hash may cost at most: 256 MiB, 16 passes, 16 lanes. Hashes that were brought along from elsewhere
/// keep their parameters, but a row must not be able to take the server down.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// How much hashing may go on. Each hash that is being computed holds a core and 19 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingLimits {
    /// How many hashes are computed at once.
    pub at_once: NonZeroUsize,
    /// How many may wait; beyond, [`HashError::Overloaded`].
    pub waiting: usize,
}

/// Hashes passwords with Argon2id.
pub struct Argon2Hasher {
    /// Those that are computing and those that wait.
    places: Arc<Semaphore>,
    /// Those that are computing.
    turns: Arc<Semaphore>,
    /// Verified against when there is no hash.
    stand_in: PasswordHash,
    computed: Arc<AtomicU64>,
}

impl Argon2Hasher {
    /// A hasher with these limits.
    pub fn new(limits: HashingLimits) -> Self {
        let at_once = limits.at_once.get().min(Semaphore::MAX_PERMITS);
        let places = at_once.saturating_add(limits.waiting).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            turns: Arc::new(Semaphore::new(at_once)),
            stand_in: stand_in(),
            computed: Arc::default(),
        }
    }

    /// How many hashes have been computed since the start, for a metric.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Runs `work` on a blocking thread when its turn comes.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| HashError::Overloaded)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| HashError::Overloaded)?;
        let computed = Arc::clone(&self.computed);
        let task = tokio::task::spawn_blocking(move || {
            // The work holds them, not the caller: who hangs up does not make room for more work than the bound.
            let _held = (place, turn);
            computed.fetch_add(1, Ordering::Relaxed);
            work()
        });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => Err(HashError::Overloaded),
            },
        }
    }
}

#[async_trait]
impl PasswordHasher for Argon2Hasher {
    async fn hash(&self, password: Password) -> Result<String, HashError> {
        self.compute(move || {
            let hash = argon2().hash_password(password.expose().as_bytes()).map_err(refusal)?;
            Ok(hash.to_string())
        })
        .await
    }

    async fn verify(&self, password: Password, hash: Option<String>) -> Result<bool, HashError> {
        let (stored, is_known) = match hash {
            Some(hash) => (parse(&hash)?, true),
            None => (self.stand_in.clone(), false),
        };
        let is_match = self
            .compute(move || match argon2().verify_password(password.expose().as_bytes(), &stored) {
                Ok(()) => Ok(true),
                Err(Argon2Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(refusal(error)),
            })
            .await?;
        Ok(is_match && is_known)
    }
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
}

/// No memory and no randomness are states of the machine that pass; all else is wrong with the hash.
fn refusal(error: Argon2Error) -> HashError {
    match error {
        Argon2Error::OutOfMemory | Argon2Error::RngFailure => HashError::Overloaded,
        _ => HashError::Malformed,
    }
}

/// A stored hash that can be verified against: complete, Argon2id, and not too costly.
fn parse(text: &str) -> Result<PasswordHash, HashError> {
    let hash = PasswordHash::new(text).map_err(|_| HashError::Malformed)?;
    let params = Params::try_from(&hash).map_err(|_| HashError::Malformed)?;
    let is_usable = hash.algorithm == ARGON2ID_IDENT
        && hash.version == Some(Version::V0x13.into())
        && hash.salt.is_some()
        && hash.hash.is_some()
        && params.m_cost() <= MAX_MEMORY_KIB
        && params.t_cost() <= MAX_PASSES
        && params.p_cost() <= MAX_LANES;
    if is_usable { Ok(hash) } else { Err(HashError::Malformed) }
}

/// A hash with the parameters of [`PARAMS`], and of no password: nobody knows one whose hash is all zeros.
fn stand_in() -> PasswordHash {
    let (m, t, p) = (PARAMS.m_cost(), PARAMS.t_cost(), PARAMS.p_cost());
    // 16 bytes of salt and 32 of hash, all zero.
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    parse(&format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}")).expect("the stand-in is a hash")
}

#[cfg(test)]
mod tests;
