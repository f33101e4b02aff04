//! What is read, and by whom: callers of many tenants in turn, each with any of its agents.

use std::sync::Arc;

use powerhouse_domain::ids::AgentId;
use uuid::Uuid;

/// A kind of read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// One agent by its id.
    One,
    /// The first twenty.
    Page,
}

/// Somebody who has signed in to a tenant, and the tenant's agents.
pub(crate) struct Caller {
    pub(crate) tenant: Uuid,
    pub(crate) token: String,
    pub(crate) agents: Vec<Uuid>,
}

impl Caller {
    /// A request as it goes over the wire.
    pub(crate) fn request(&self, read: Read, agent: Uuid) -> String {
        let path = match read {
            Read::One => format!("/v1/agents/{}", AgentId::from_uuid(agent)),
            Read::Page => "/v1/agents?limit=20".to_owned(),
        };
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", self.token)
    }
}

/// Who reads, and what.
pub(crate) struct Next<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) read: Read,
    pub(crate) agent: Uuid,
}

/// The reads of one worker, the same in every round.
pub(crate) struct Reads {
    read: Read,
    callers: Arc<[Caller]>,
    state: u64,
}

impl Reads {
    pub(crate) fn new(callers: &Arc<[Caller]>, read: Read, seed: u64) -> Self {
        Self { read, callers: Arc::clone(callers), state: seed + 1 }
    }

    pub(crate) fn next(&mut self) -> Next<'_> {
        let (caller, agent) = (self.number(), self.number());
        let caller = &self.callers[caller % self.callers.len()];
        Next { caller, read: self.read, agent: caller.agents[agent % caller.agents.len()] }
    }

    /// The higher bits of a linear congruential generator, with Knuth's constants.
    fn number(&mut self) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap_or_default()
    }
}
