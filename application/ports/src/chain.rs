//! An error with its causes, for the log: an adapter's error says only what callers may read, its causes the rest.

use std::error::Error;
use std::fmt;

/// Shows an error and its causes in one line.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::ModelError;

    #[test]
    fn causes_follow_what_they_caused() {
        let error = ModelError::Rejected("HTTP 400".into());
        assert_eq!(Chain(&error).to_string(), format!("{error}: HTTP 400"));
    }
}
