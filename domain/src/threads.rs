//! Conversation threads: runs that see what was said before them.
//!
//! A thread has no messages of its own. Its turns are its runs that have succeeded, each a task and an answer, so that the end
//! of a run is the end of its turn, once, in the transaction that ends it. One run at a time is under way in a thread.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{RunId, ThreadId, UserId};

/// The most threads of a tenant.
pub const MAX_THREADS: u64 = 100_000;
/// The most runs of a thread.
pub const MAX_TURNS: u32 = 1_000;
/// The most characters of a title.
const MAX_TITLE: usize = 200;
/// How many tokens of earlier turns a run sees before the older ones are summarised, as far as characters tell.
pub const MAX_TOKENS: usize = 8_000;
/// How many of the last turns are never summarised.
pub const KEPT_TURNS: usize = 4;
/// The most characters of a summary.
pub const MAX_SUMMARY_CHARS: usize = 16_000;
/// So many characters make a token, about.
const CHARS_PER_TOKEN: usize = 4;

/// What a thread is called: 1 to 200 characters in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(String);

/// A text that is no title.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a title has 1 to {MAX_TITLE} characters in one line")]
pub struct InvalidTitle;

impl FromStr for Title {
    type Err = InvalidTitle;

    fn from_str(text: &str) -> Result<Self, InvalidTitle> {
        let text = text.trim();
        if text.is_empty() || text.chars().nth(MAX_TITLE).is_some() || text.chars().any(char::is_control) {
            return Err(InvalidTitle);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Title {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was said up to a turn, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The text.
    pub text: String,
    /// The last turn that it tells of.
    pub through: u32,
}

/// A conversation of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id.
    pub id: ThreadId,
    /// Whose it is.
    pub owner: UserId,
    /// What it is called, if anything.
    pub title: Option<Title>,
    /// How many runs it has had.
    pub runs: u32,
    /// The newest of them.
    pub last_run: Option<RunId>,
    /// What was said in older turns, once they were too long to be shown.
    pub summary: Option<Summary>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its last run was accepted, or it was made.
    pub updated_at: DateTime<Utc>,
    /// Grows by one with each run.
    pub version: u64,
}

/// A thread has had as many runs as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thread has at most {MAX_TURNS} runs: begin another one")]
pub struct ThreadFull;

impl Thread {
    /// A new one.
    pub fn begin(id: ThreadId, owner: UserId, title: Option<Title>, now: DateTime<Utc>) -> Self {
        Self {
            id,
            owner,
            title,
            runs: 0,
            last_run: None,
            summary: None,
            created_at: now,
            updated_at: now,
            version: 1,
        }
    }

    /// The thread with one more run, and where in it the run is.
    pub fn continued(self, run: RunId, now: DateTime<Utc>) -> Result<(Self, InThread), ThreadFull> {
        if self.runs >= MAX_TURNS {
            return Err(ThreadFull);
        }
        let runs = self.runs + 1;
        let place = InThread { thread: self.id, turn: runs };
        Ok((Self { runs, last_run: Some(run), updated_at: now, version: self.version + 1, ..self }, place))
    }
}

/// Where in a thread a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InThread {
    /// The thread.
    pub thread: ThreadId,
    /// Its number among the thread's runs, from 1 on.
    pub turn: u32,
}

/// What was asked and answered, as runs see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Its number among the thread's runs.
    pub number: u32,
    /// What was asked.
    pub task: String,
    /// What was answered.
    pub answer: String,
}

/// A run of a thread that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenTurn {
    /// What was said.
    pub turn: Turn,
    /// The run.
    pub run: RunId,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When it was answered.
    pub answered_at: DateTime<Utc>,
}

/// What was said before a run, as it is journalled when the run begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// What was said before the first of the turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The turns, the oldest first.
    pub turns: Vec<Turn>,
    /// How many of the turns are to be summarised before the run does anything else.
    #[serde(default)]
    pub to_summarise: usize,
}

impl Conversation {
    /// What a run sees of these turns and what is known of those before. All but the last [`KEPT_TURNS`] are to be
    /// summarised once all together have more than [`MAX_TOKENS`].
    pub fn of(summary: Option<String>, turns: Vec<Turn>) -> Self {
        let texts = turns.iter().flat_map(|turn| [turn.task.as_str(), turn.answer.as_str()]);
        let chars: usize = texts.chain(summary.as_deref()).map(|text| text.chars().count()).sum();
        let is_long = chars.div_ceil(CHARS_PER_TOKEN) > MAX_TOKENS;
        let to_summarise = if is_long { turns.len().saturating_sub(KEPT_TURNS) } else { 0 };
        Self { summary, turns, to_summarise }
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.summary.is_none() && self.turns.is_empty()
    }

    /// The last turn that a summary would tell of; nothing when none is to be made.
    pub fn through(&self) -> Option<u32> {
        self.turns[..self.to_summarise.min(self.turns.len())].last().map(|turn| turn.number)
    }

    /// The same with this summary in the place of what was summarised; without one, what there was before is all that is left
    /// of it.
    #[must_use]
    pub fn summarised(mut self, summary: Option<String>) -> Self {
        self.turns.drain(..self.to_summarise.min(self.turns.len()));
        Self { summary: summary.or(self.summary), turns: self.turns, to_summarise: 0 }
    }
}

/// A model's text as a summary: nothing when it says nothing, and no more than [`MAX_SUMMARY_CHARS`].
pub fn summary(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(MAX_SUMMARY_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn turns(count: u32, chars: usize) -> Vec<Turn> {
        let turn = |number| Turn { number, task: "q".into(), answer: "a".repeat(chars) };
        (1..=count).map(turn).collect()
    }

    #[test]
    fn runs_of_a_thread_are_numbered_until_it_is_full() {
        let now = DateTime::UNIX_EPOCH;
        let thread = Thread::begin(
            ThreadId::from_uuid(Uuid::nil()),
            UserId::from_uuid(Uuid::nil()),
            "Tea".parse().ok(),
            now,
        );
        let run = RunId::from_uuid(Uuid::from_u128(7));
        let (thread, first) = thread.continued(run, now).unwrap();
        let (thread, second) = thread.continued(run, now).unwrap();
        assert_eq!((first.turn, second.turn, thread.version, thread.last_run), (1, 2, 3, Some(run)));
        assert_eq!(Thread { runs: MAX_TURNS, ..thread }.continued(run, now), Err(ThreadFull));
    }

    #[test]
    fn older_turns_are_summarised_once_all_are_too_long_and_the_last_never() {
        let all = MAX_TOKENS * CHARS_PER_TOKEN;
        assert_eq!(Conversation::of(None, turns(10, all / 10 - 1)).to_summarise, 0);
        let long = Conversation::of(None, turns(10, all / 10));
        assert_eq!((long.to_summarise, long.through()), (6, Some(6)));
        let with_summary = Conversation::of(Some("s".repeat(20)), turns(10, all / 10 - 2));
        assert_eq!(with_summary.to_summarise, 6);
        let few = Conversation::of(None, turns(4, all));
        assert_eq!((few.to_summarise, few.through()), (0, None));
        assert!(Conversation::default().is_empty() && !few.is_empty());
    }

    #[test]
    fn a_summary_stands_for_what_it_tells_of() {
        let long = Conversation::of(Some("before".into()), turns(6, MAX_TOKENS));
        let made = long.clone().summarised(summary(" all of it "));
        assert_eq!(
            (made.summary.as_deref(), made.turns[0].number, made.to_summarise),
            (Some("all of it"), 3, 0)
        );
        let failed = long.summarised(summary("\n"));
        assert_eq!((failed.summary.as_deref(), failed.turns.len()), (Some("before"), 4));
        assert_eq!(
            summary(&"x".repeat(MAX_SUMMARY_CHARS + 1)).map(|text| text.len()),
            Some(MAX_SUMMARY_CHARS)
        );
    }

    #[test]
    fn a_conversation_survives_its_stored_form() {
        let conversation = Conversation::of(Some("before".into()), turns(6, MAX_TOKENS));
        let stored = serde_json::to_string(&conversation).unwrap();
        assert_eq!(serde_json::from_str::<Conversation>(&stored).unwrap(), conversation);
    }
}
