//! Selection: what it knows of a tenant's agents, how it learns, and who does what fits nobody.

mod change_selection;
mod learner;
mod logged_choices;
mod read_selection;
mod reset_selection;
mod selectors;

pub use change_selection::ChangeSelection;
pub use learner::Learner;
pub use logged_choices::LoggedChoices;
pub use read_selection::{AgentKnown, ReadSelection, SelectionKnown};
pub use reset_selection::ResetSelection;
pub(crate) use selectors::Asked;
pub use selectors::Selectors;

/// Agents that are looked at.
pub(crate) const MAX_CANDIDATES: u32 = 2_000;
