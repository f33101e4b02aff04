//! Webhooks: endpoints that are told of what happens to runs, and the deliveries of each announcement, as Standard
//! Webhooks specifies (<https://github.com/standard-webhooks/standard-webhooks>).

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::access::named_enum;
use crate::ids::{UserId, WebhookId};
use crate::runs::EventBody;

mod announcement;
mod claim;
mod delivery;
mod secret;

pub use announcement::{Announcement, RunSummary};
pub use claim::DueDelivery;
pub use delivery::{Attempt, Delivery, DeliveryParts, DeliveryState, InvalidRetries, NotDead, Retries};
pub use secret::{Secret, SecretLength, signatures};

/// The most endpoints of a tenant.
pub const MAX_WEBHOOKS: u64 = 20;
/// The most bytes of an endpoint's address.
const MAX_URL: usize = 2_048;

named_enum! {
    /// What endpoints are told of.
    Announced as "event" {
        /// A run was accepted.
        Queued = "run.queued",
        /// A worker began a run, or took it over.
        Started = "run.started",
        /// A run waits for something outside.
        Waiting = "run.waiting",
        /// A run has its answer.
        Succeeded = "run.succeeded",
        /// A run has none.
        Failed = "run.failed",
        /// Somebody stopped a run.
        Cancelled = "run.cancelled",
        /// A run's time was over.
        TimedOut = "run.timed_out",
        /// Somebody tries an endpoint. Every endpoint gets it, when asked.
        Test = "webhook.test",
    }
}

impl Announced {
    /// What an event of a run's journal is announced as; steps and pieces of text are not.
    pub const fn of(body: &EventBody) -> Option<Self> {
        match body {
            EventBody::Queued => Some(Self::Queued),
            EventBody::Started { .. } => Some(Self::Started),
            EventBody::Waiting { .. } => Some(Self::Waiting),
            EventBody::Succeeded { .. } => Some(Self::Succeeded),
            EventBody::Failed { .. } => Some(Self::Failed),
            EventBody::Cancelled => Some(Self::Cancelled),
            EventBody::TimedOut => Some(Self::TimedOut),
            EventBody::ApprovalAsked { .. }
            | EventBody::ApprovalAnswered { .. }
            | EventBody::PauseAsked { .. }
            | EventBody::Resumed { .. }
            | EventBody::Forked { .. }
            | EventBody::ToolsOffered { .. }
            | EventBody::ConversationShown { .. }
            | EventBody::StepStarted { .. }
            | EventBody::TextDelta { .. }
            | EventBody::StepEnded { .. } => None,
        }
    }
}

/// Where an endpoint is: an absolute URL of HTTP or HTTPS. Whether it may be reached is for whoever sends to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl(String);

/// A text that is not an endpoint's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an absolute https URL of at most {MAX_URL} bytes")]
pub struct InvalidUrl;

impl FromStr for EndpointUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_good = text.len() <= MAX_URL
            && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_good { Ok(Self(text.to_owned())) } else { Err(InvalidUrl) }
    }
}

impl EndpointUrl {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an endpoint wants to hear of: some kinds of events, each once, or all when there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Vec<Announced>);

/// A list that is no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("each kind of a run's events at most once")]
pub struct InvalidFilter;

impl Filter {
    /// Checks a list.
    pub fn new(events: Vec<Announced>) -> Result<Self, InvalidFilter> {
        let is_bad = |(position, event): (usize, &Announced)| {
            *event == Announced::Test || events[..position].contains(event)
        };
        if events.iter().enumerate().any(is_bad) { Err(InvalidFilter) } else { Ok(Self(events)) }
    }

    /// The kinds; all when there are none.
    pub fn events(&self) -> &[Announced] {
        &self.0
    }
}

named_enum! {
    /// Why an endpoint is told nothing.
    DisabledReason as "reason" {
        /// Somebody wanted it so.
        Asked = "asked",
        /// It answered 410, which says that it is gone.
        Gone = "gone",
    }
}

/// Whether an endpoint is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// It is.
    Enabled,
    /// It is not.
    Disabled {
        /// Why.
        reason: DisabledReason,
        /// Since when.
        since: DateTime<Utc>,
    },
}

/// Somebody outside who is told. Its secrets are kept apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: WebhookId,
    /// Where it is.
    pub url: EndpointUrl,
    /// What it wants to hear of.
    pub filter: Filter,
    /// Whether it is told.
    pub state: EndpointState,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Grows by one with each change.
    pub version: u64,
}

impl Endpoint {
    /// Somewhere else, and of something else, from now on. Enabled or not, as is said.
    #[must_use]
    pub fn change(self, url: EndpointUrl, filter: Filter, is_enabled: bool, now: DateTime<Utc>) -> Self {
        let state = match (is_enabled, self.state) {
            (true, _) => EndpointState::Enabled,
            (false, EndpointState::Enabled) => {
                EndpointState::Disabled { reason: DisabledReason::Asked, since: now }
            }
            (false, disabled @ EndpointState::Disabled { .. }) => disabled,
        };
        Self { url, filter, state, version: self.version + 1, ..self }
    }

    /// It has said that it is gone.
    #[must_use]
    pub fn gone(self, now: DateTime<Utc>) -> Self {
        let state = EndpointState::Disabled { reason: DisabledReason::Gone, since: now };
        Self { state, version: self.version + 1, ..self }
    }

    /// Whether it is told.
    pub fn is_enabled(&self) -> bool {
        self.state == EndpointState::Enabled
    }
}

#[cfg(test)]
mod tests;
