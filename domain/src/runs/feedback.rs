//! What people thought of a run. Selection learns from it.

use chrono::{DateTime, Utc};

use crate::ids::UserId;

/// Whether a run was any good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It helped.
    Good,
    /// It did not.
    Bad,
}

impl Verdict {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

/// A comment that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a comment has at most {} characters", Feedback::MAX_COMMENT_CHARS)]
pub struct InvalidComment;

/// One person's word on one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    by: UserId,
    verdict: Verdict,
    comment: String,
    at: DateTime<Utc>,
}

impl Feedback {
    /// The most characters that a comment may have.
    pub const MAX_COMMENT_CHARS: usize = 2_000;

    /// Checks a word.
    pub fn new(
        by: UserId,
        verdict: Verdict,
        comment: String,
        at: DateTime<Utc>,
    ) -> Result<Self, InvalidComment> {
        if comment.chars().nth(Self::MAX_COMMENT_CHARS).is_some() {
            return Err(InvalidComment);
        }
        Ok(Self { by, verdict, comment, at })
    }

    /// Whose word it is.
    pub const fn by(&self) -> UserId {
        self.by
    }

    /// Whether the run was any good.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Why; may be empty.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// When it was given.
    pub const fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_comment_has_a_bound() {
        let give = |chars| {
            let by = UserId::from_uuid(Uuid::from_u128(1));
            Feedback::new(by, Verdict::Good, "é".repeat(chars), DateTime::UNIX_EPOCH)
        };
        assert!(give(Feedback::MAX_COMMENT_CHARS).is_ok());
        assert_eq!(give(Feedback::MAX_COMMENT_CHARS + 1), Err(InvalidComment));
    }
}
