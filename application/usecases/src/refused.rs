//! Why a use case did not do as asked: one vocabulary for all, so that each refusal has one answer over HTTP.

use std::time::Duration;

use powerhouse_domain::access::{Action, Denied, Permit, Principal, Privilege};
use powerhouse_ports::store::StoreError;

use crate::Answer;

/// Why a use case did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such thing, or the caller may not know of it.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The caller sees the thing but may not do this to it.
    #[error("your role does not allow `{0}`")]
    Forbidden(Action),
    /// A part of the request breaks a rule.
    #[error("{reason}")]
    Invalid {
        /// JSON Pointer (RFC 6901) to the part.
        pointer: String,
        /// The rule.
        reason: String,
    },
    /// A part of the request is in a form that is not taken.
    #[error("{reason}")]
    Unsupported {
        /// Stable, for programs.
        code: &'static str,
        /// JSON Pointer to the part.
        pointer: String,
        /// What to do instead.
        reason: String,
    },
    /// The request is fine, but things are not so that it could be done.
    #[error("{reason}")]
    Conflict {
        /// Stable, for programs.
        code: &'static str,
        /// For people.
        reason: String,
    },
    /// The thing changed since the caller read it.
    #[error("it was changed since you read it")]
    Stale,
    /// It was done before, when it was asked for with the same key: this was the answer.
    #[error("it was done before")]
    DoneBefore(Box<Answer>),
    /// Something else was asked for with the same key.
    #[error("this `Idempotency-Key` was used for another request")]
    KeyReused,
    /// The credentials are not good.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// Something outside of the platform is needed and does not answer.
    #[error("{reason}")]
    Elsewhere {
        /// Stable, for programs.
        code: &'static str,
        /// For people.
        reason: String,
    },
    /// Too much at once.
    #[error("too many requests")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Something that should not fail did. The text is for the log only.
    #[error("internal failure")]
    Internal(String),
}

impl Refused {
    /// A rule that the part at `pointer` breaks.
    #[expect(clippy::needless_pass_by_value, reason = "takes an error as it comes, or a text")]
    pub fn invalid(pointer: impl Into<String>, reason: impl ToString) -> Self {
        Self::Invalid { pointer: pointer.into(), reason: reason.to_string() }
    }

    /// A form that is not taken, at `pointer`.
    pub(crate) fn unsupported(code: &'static str, pointer: &str, reason: &str) -> Self {
        Self::Unsupported { code, pointer: pointer.to_owned(), reason: reason.to_owned() }
    }

    /// The same of a part of a larger body; what is at `but` stays there.
    #[must_use]
    pub fn below(self, parent: &str, but: &str) -> Self {
        match self {
            Self::Invalid { pointer, reason } if pointer != but => {
                Self::invalid(format!("{parent}{pointer}"), reason)
            }
            other => other,
        }
    }

    /// A state in which it cannot be done.
    #[expect(clippy::needless_pass_by_value, reason = "takes an error as it comes, or a text")]
    pub fn conflict(code: &'static str, reason: impl ToString) -> Self {
        Self::Conflict { code, reason: reason.to_string() }
    }

    /// A store's conflict, read as: a unique key is taken.
    pub(crate) fn taken(code: &'static str, reason: &str) -> impl FnOnce(StoreError) -> Self {
        move |error| match error {
            StoreError::Conflict { .. } => Self::conflict(code, reason),
            other => Self::Store(other),
        }
    }

    /// A store's conflict, read as: somebody else was faster.
    pub(crate) fn stale(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::Stale,
            other => Self::Store(other),
        }
    }
}

/// Asks for a permit. Somebody who may not even see the thing, by `visible`, is told that there is none.
pub fn permit<A: Privilege>(
    principal: &Principal,
    resource: A::Resource,
    what: &'static str,
    visible: bool,
) -> Result<Permit<A>, Refused> {
    principal.permit::<A>(resource).map_err(|denied| match denied {
        Denied::Role { action, .. } | Denied::NotOwner { action } if visible => Refused::Forbidden(action),
        Denied::Role { .. } | Denied::NotOwner { .. } | Denied::OtherTenant { .. } => Refused::NotFound(what),
    })
}

/// Refuses a change of something that is not at the version the caller has read.
pub(crate) fn expect_version(actual: u64, expected: Option<u64>) -> Result<(), Refused> {
    match expected {
        Some(expected) if expected != actual => Err(Refused::Stale),
        _ => Ok(()),
    }
}
