//! Runs that are begun by other runs.

use crate::ids::RunId;

/// How deep runs may begin each other: a run that somebody asked for is at depth 0.
pub const MAX_DEPTH: u8 = 4;

/// Where a run stands in the tree of those that began each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The run that began it.
    pub parent: RunId,
    /// The run that somebody asked for.
    pub root: RunId,
    /// How many are above it, at least 1.
    pub depth: u8,
}
