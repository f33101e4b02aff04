//! The runner: claims runs, performs the effects that their strategies ask for, journals and streams.

mod asking;
mod bill;
mod deltas;
mod dispatch;
mod drive;
mod family;
mod gate;
mod housekeeper;
mod journalling;
mod perform;
mod prepaid;
mod pulse;
mod recent;
mod routing;
mod scribe;
mod sink;
mod spending;
mod taking;
mod threads;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::agents::PublishedVersion;
use powerhouse_domain::ids::{AgentId, TenantId};
use powerhouse_domain::runs::ApprovalRules;
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::events::EventBus;
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::store::TenantStore;
use powerhouse_ports::tools::Tool;
use tokio::sync::Notify;

use crate::runs::Going;

use crate::models::Models;
use crate::tools::Resolver;

pub(crate) use bill::settle_in_flight;
pub use housekeeper::{Housekeeper, Retention};
pub(crate) use prepaid::{Prepaid, give_back, pay_in_advance};
pub use pulse::{Pulse, Sign, Vitals};
pub use worker::Worker;

use recent::Recent;
use scribe::Scribe;

/// Tenants whose approval rules a process keeps at hand: most have none.
const MAX_RULEBOOKS: usize = 10_000;
/// Published versions of agents that it keeps at hand: some kilobytes each.
const MAX_VERSIONS: usize = 2_000;

/// Tools by their names.
pub type Toolbox = BTreeMap<String, Arc<dyn Tool>>;

/// What the runner works with.
pub struct Workshop {
    /// Where runs and journals are.
    pub store: Arc<dyn TenantStore>,
    /// Where runs are claimed.
    pub platform: Arc<dyn PlatformStore>,
    /// Who answers model calls.
    pub models: Arc<Models>,
    /// Finds what agents may call, if their definition lists it.
    pub tools: Resolver,
    /// Tells who watches.
    pub bus: Arc<dyn EventBus>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
    /// Says that a run of this process may be claimed.
    pub wake: Arc<Notify>,
    /// Says that it lives.
    pub pulse: Arc<Pulse>,
    /// How it works.
    pub settings: Settings,
}

/// What the drives of a process share.
struct Shared {
    scribe: Scribe,
    /// The tenants' rules on calls of tools. The write that lets a call begin is refused when they are newer.
    rules: Recent<TenantId, ApprovalRules>,
    /// What was published is never changed.
    versions: Recent<(TenantId, AgentId, u32), PublishedVersion>,
}

impl Shared {
    fn new(store: Arc<dyn TenantStore>) -> Self {
        Self {
            scribe: Scribe::new(store),
            rules: Recent::holding(MAX_RULEBOOKS),
            versions: Recent::holding(MAX_VERSIONS),
        }
    }
}

impl Workshop {
    /// Lets runs go on.
    pub(crate) fn going(&self) -> Going {
        Going { bus: Arc::clone(&self.bus), wake: Arc::clone(&self.wake) }
    }
}

/// How the runner works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Runs at the same time in this process.
    pub concurrency: u32,
    /// Further ones, of tenants that have no other under way: a backlog of one tenant never fills these.
    pub for_newcomers: u32,
    /// How long a claim lasts without a heartbeat.
    pub lease: Duration,
    /// How often the queue is looked at when nobody wakes the worker.
    pub poll_every: Duration,
    /// How long a tool may take.
    pub tool_timeout: Duration,
    /// How long a run may move nothing, before another worker is to try.
    pub progress: Duration,
    /// How long a person has for an answer.
    pub approval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 64,
            for_newcomers: 8,
            lease: Duration::from_secs(30),
            poll_every: Duration::from_millis(500),
            tool_timeout: Duration::from_mins(1),
            progress: Duration::from_mins(15),
            approval: Duration::from_hours(24),
        }
    }
}
