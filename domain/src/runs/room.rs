//! How much a worker may take on.

/// How many runs a worker has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of whoever is first.
    pub anyone: u32,
    /// Beyond these, the first run of tenants that have none under way: no backlog of another one ever fills this part.
    pub newcomers: u32,
}

impl Room {
    /// Room for so many runs, whosever they are.
    pub const fn for_anyone(runs: u32) -> Self {
        Self { anyone: runs, newcomers: 0 }
    }

    /// The most runs that it takes.
    pub const fn total(self) -> u32 {
        self.anyone.saturating_add(self.newcomers)
    }
}
