//! What was used, by day, agent, user and model.

use chrono::NaiveDate;

use crate::ids::{AgentId, UserId};
use crate::model::Usage;

/// What calls are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageKey {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// The agent that made them; none, where somebody had them made without one, as for a document.
    pub agent: Option<AgentId>,
    /// Who asked for the runs, or for the calls.
    pub user: UserId,
    /// The model that answered, or was asked when none did.
    pub model: String,
}

/// By what usage is told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is told apart or not, in any combination")]
pub struct Grouping {
    /// By day.
    pub day: bool,
    /// By agent.
    pub agent: bool,
    /// By user.
    pub user: bool,
    /// By model.
    pub model: bool,
}

/// The sum of a group; what the group is not told apart by is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageGroup {
    /// The day.
    pub day: Option<NaiveDate>,
    /// The agent; none too for calls that no agent made.
    pub agent: Option<AgentId>,
    /// The user.
    pub user: Option<UserId>,
    /// The model.
    pub model: Option<String>,
    /// Model calls.
    pub calls: u64,
    /// What they used.
    pub usage: Usage,
}
