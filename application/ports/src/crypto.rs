//! Passwords.

use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

/// A password as it was typed. Wiped when dropped, never printed.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes over a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for a hasher.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A hasher that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Too many wait already.
    #[error("too many passwords are being checked")]
    Overloaded,
    /// The stored hash is no hash.
    #[error("the stored password hash is malformed")]
    Malformed,
}

/// Hashes passwords, away from the async threads.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// A salted hash in PHC string form.
    async fn hash(&self, password: Password) -> Result<String, HashError>;

    /// Whether the password is the one that was hashed. Without a hash it takes as long and answers `false`, so
    /// that nobody learns who exists.
    async fn verify(&self, password: Password, hash: Option<String>) -> Result<bool, HashError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let shown = format!("{:?}", Password::new("correct horse".into()));
        assert!(!shown.contains("horse"), "{shown}");
    }
}
