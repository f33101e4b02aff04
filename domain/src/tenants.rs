//! Tenants: their slugs, their plans, and the life from founding over suspension to closing.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::access::named_enum;
use crate::ids::TenantId;
use crate::users::DisplayName;

/// Why a text is not a [`Slug`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Fewer than 3 characters.
    #[error("a slug has at least 3 characters")]
    TooShort,
    /// More than 40 characters.
    #[error("a slug has at most 40 characters")]
    TooLong,
    /// Something else than a lower-case letter, a digit or a hyphen.
    #[error("a slug has lower-case letters, digits and hyphens, not `{}`", .found.escape_default())]
    InvalidCharacter {
        /// The first such character.
        found: char,
    },
    /// It starts with a digit or a hyphen.
    #[error("a slug starts with a letter")]
    NoLetterFirst,
    /// It ends with a hyphen.
    #[error("a slug does not end with a hyphen")]
    HyphenLast,
    /// Two hyphens in a row.
    #[error("a slug does not have two hyphens in a row")]
    DoubleHyphen,
}

/// A tenant's name in addresses: 3 to 40 lower-case letters, digits and single inner hyphens, a letter first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(String);

impl Slug {
    /// The shortest slug, in characters.
    pub const MIN_LEN: usize = 3;
    /// The longest slug, in characters.
    pub const MAX_LEN: usize = 40;

    /// The slug.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), SlugError> {
        let allowed = |c: char| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit();
        if let Some(found) = text.chars().find(|&c| !allowed(c)) {
            Err(SlugError::InvalidCharacter { found })
        } else if text.len() < Self::MIN_LEN {
            Err(SlugError::TooShort)
        } else if text.len() > Self::MAX_LEN {
            Err(SlugError::TooLong)
        } else if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            Err(SlugError::NoLetterFirst)
        } else if text.ends_with('-') {
            Err(SlugError::HyphenLast)
        } else if text.contains("--") {
            Err(SlugError::DoubleHyphen)
        } else {
            Ok(())
        }
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        Self::check(text).map(|()| Self(text.to_owned()))
    }
}

impl TryFrom<String> for Slug {
    type Error = SlugError;

    fn try_from(text: String) -> Result<Self, SlugError> {
        Self::check(&text).map(|()| Self(text))
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

named_enum! {
    /// What a tenant has signed up for.
    Plan as "plan" {
        /// To try things out.
        Free = "free",
        /// For a team at work.
        Team = "team",
        /// For a whole organisation.
        Enterprise = "enterprise",
    }
}

/// What a plan allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    /// Requests to the API in a minute, over all users.
    pub requests_per_minute: u32,
    /// Requests that may come at once after a pause.
    pub request_burst: u32,
    /// Runs that are worked on at the same time.
    pub concurrent_runs: u32,
    /// The tenant's share of the workers while others wait too, in proportion to theirs.
    pub weight: u32,
    /// Agents that are not archived.
    pub agents: u32,
    /// Members of the tenant.
    pub users: u32,
    /// Steps that one run may take.
    pub max_run_steps: u32,
    /// Tokens that one run may use, in and out.
    pub max_run_tokens: u64,
    /// Seconds that one run may take from its start.
    pub max_run_seconds: u32,
}

impl Plan {
    /// What the plan allows.
    pub const fn limits(self) -> PlanLimits {
        match self {
            Self::Free => PlanLimits {
                requests_per_minute: 60,
                request_burst: 20,
                concurrent_runs: 2,
                weight: 1,
                agents: 5,
                users: 5,
                max_run_steps: 25,
                max_run_tokens: 100_000,
                max_run_seconds: 300,
            },
            Self::Team => PlanLimits {
                requests_per_minute: 600,
                request_burst: 100,
                concurrent_runs: 20,
                weight: 4,
                agents: 100,
                users: 100,
                max_run_steps: 100,
                max_run_tokens: 1_000_000,
                max_run_seconds: 1_800,
            },
            Self::Enterprise => PlanLimits {
                requests_per_minute: 6_000,
                request_burst: 1_000,
                concurrent_runs: 200,
                weight: 16,
                agents: 2_000,
                users: 10_000,
                max_run_steps: 500,
                max_run_tokens: 10_000_000,
                max_run_seconds: 14_400,
            },
        }
    }
}

named_enum! {
    /// Why a tenant was suspended, in words that the tenant may read.
    SuspensionReason as "suspension reason" {
        /// A bill is not paid.
        Payment = "payment",
        /// The terms of use were broken.
        Abuse = "abuse",
        /// Its accounts or keys may be in the wrong hands.
        Security = "security",
        /// The tenant asked for it.
        Requested = "requested",
    }
}

/// Where a tenant is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantStatus {
    /// In use.
    Active,
    /// Barred from use for now.
    Suspended {
        /// Why.
        reason: SuspensionReason,
        /// When that was decided.
        since: DateTime<Utc>,
    },
    /// Closed for good.
    Closed {
        /// When that was decided.
        since: DateTime<Utc>,
    },
}

/// Why a tenant cannot change in this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefused {
    /// Closed is final.
    #[error("the tenant is closed")]
    Closed,
    /// It is suspended already, maybe for another reason.
    #[error("the tenant is already suspended")]
    AlreadySuspended,
    /// There is no suspension to lift.
    #[error("the tenant is not suspended")]
    NotSuspended,
}

/// An organisation whose data is kept apart from every other's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    parts: TenantParts,
}

/// A tenant's fields in the open, for repositories to save and load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantParts {
    /// The id.
    pub id: TenantId,
    /// The name in addresses.
    pub slug: Slug,
    /// The name to show.
    pub name: DisplayName,
    /// What it has signed up for.
    pub plan: Plan,
    /// Where it is in its life.
    pub status: TenantStatus,
    /// Grows by one with each change, from 1.
    pub version: u64,
    /// When it was founded.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Tenant {
    /// A new, active tenant.
    pub fn found(id: TenantId, slug: Slug, name: DisplayName, plan: Plan, now: DateTime<Utc>) -> Self {
        let status = TenantStatus::Active;
        Self {
            parts: TenantParts { id, slug, name, plan, status, version: 1, created_at: now, updated_at: now },
        }
    }

    /// The tenant that was saved as `parts`.
    pub const fn restore(parts: TenantParts) -> Self {
        Self { parts }
    }

    /// The fields, to save them.
    pub const fn parts(&self) -> &TenantParts {
        &self.parts
    }

    /// The id.
    pub const fn id(&self) -> TenantId {
        self.parts.id
    }

    /// The name in addresses.
    pub const fn slug(&self) -> &Slug {
        &self.parts.slug
    }

    /// The name to show.
    pub const fn name(&self) -> &DisplayName {
        &self.parts.name
    }

    /// What it has signed up for.
    pub const fn plan(&self) -> Plan {
        self.parts.plan
    }

    /// Where it is in its life.
    pub const fn status(&self) -> TenantStatus {
        self.parts.status
    }

    /// Whether its users may use it.
    pub const fn is_active(&self) -> bool {
        matches!(self.parts.status, TenantStatus::Active)
    }

    /// Grows by one with each change, from 1; for `ETag`s and optimistic concurrency.
    pub const fn version(&self) -> u64 {
        self.parts.version
    }

    /// When it was founded.
    pub const fn created_at(&self) -> DateTime<Utc> {
        self.parts.created_at
    }

    /// When it last changed.
    pub const fn updated_at(&self) -> DateTime<Utc> {
        self.parts.updated_at
    }

    /// Bars an active tenant from use for now.
    pub fn suspend(self, reason: SuspensionReason, now: DateTime<Utc>) -> Result<Self, TransitionRefused> {
        match self.parts.status {
            TenantStatus::Active => Ok(self.enter(TenantStatus::Suspended { reason, since: now }, now)),
            TenantStatus::Suspended { .. } => Err(TransitionRefused::AlreadySuspended),
            TenantStatus::Closed { .. } => Err(TransitionRefused::Closed),
        }
    }

    /// Lifts a suspension.
    pub fn reactivate(self, now: DateTime<Utc>) -> Result<Self, TransitionRefused> {
        match self.parts.status {
            TenantStatus::Suspended { .. } => Ok(self.enter(TenantStatus::Active, now)),
            TenantStatus::Active => Err(TransitionRefused::NotSuspended),
            TenantStatus::Closed { .. } => Err(TransitionRefused::Closed),
        }
    }

    /// Closes an active or suspended tenant for good.
    pub fn close(self, now: DateTime<Utc>) -> Result<Self, TransitionRefused> {
        Ok(self.open()?.enter(TenantStatus::Closed { since: now }, now))
    }

    /// Gives the tenant another name to show. The slug stays.
    pub fn rename(self, name: DisplayName, now: DateTime<Utc>) -> Result<Self, TransitionRefused> {
        let mut tenant = self.open()?;
        tenant.parts.name = name;
        Ok(tenant.changed(now))
    }

    /// Moves the tenant to another plan. What exceeds the new limits stays, but nothing may be added to it.
    pub fn change_plan(self, plan: Plan, now: DateTime<Utc>) -> Result<Self, TransitionRefused> {
        let mut tenant = self.open()?;
        tenant.parts.plan = plan;
        Ok(tenant.changed(now))
    }

    fn open(self) -> Result<Self, TransitionRefused> {
        match self.parts.status {
            TenantStatus::Closed { .. } => Err(TransitionRefused::Closed),
            TenantStatus::Active | TenantStatus::Suspended { .. } => Ok(self),
        }
    }

    fn enter(mut self, status: TenantStatus, now: DateTime<Utc>) -> Self {
        self.parts.status = status;
        self.changed(now)
    }

    fn changed(mut self, now: DateTime<Utc>) -> Self {
        self.parts.version += 1;
        // INVARIANT: the clocks of two servers may disagree, yet `updated_at` never goes back.
        self.parts.updated_at = self.parts.updated_at.max(now);
        self
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn acme() -> Tenant {
        let id = TenantId::from_uuid(Uuid::from_u128(1));
        Tenant::found(id, "acme".parse().unwrap(), "Acme".parse().unwrap(), Plan::Team, at(0))
    }

    #[test]
    fn bad_slugs_are_refused_for_what_is_wrong() {
        let long = "a".repeat(41);
        let cases = [
            ("", SlugError::TooShort),
            ("ab", SlugError::TooShort),
            (long.as_str(), SlugError::TooLong),
            ("Acme", SlugError::InvalidCharacter { found: 'A' }),
            ("ac_me", SlugError::InvalidCharacter { found: '_' }),
            ("acmé", SlugError::InvalidCharacter { found: 'é' }),
            ("1acme", SlugError::NoLetterFirst),
            ("-acme", SlugError::NoLetterFirst),
            ("acme-", SlugError::HyphenLast),
            ("ac--me", SlugError::DoubleHyphen),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Slug>(), Err(error), "{text:?}");
        }
        assert!("a".repeat(40).parse::<Slug>().is_ok());
        assert!("a-1".parse::<Slug>().is_ok());
    }

    #[test]
    fn each_plan_allows_more_than_the_one_before() {
        for pair in Plan::ALL.windows(2) {
            let (less, more) = (pair[0].limits(), pair[1].limits());
            assert!(less.requests_per_minute < more.requests_per_minute);
            assert!(less.request_burst < more.request_burst);
            assert!(less.concurrent_runs < more.concurrent_runs);
            assert!(less.weight < more.weight);
            assert!(less.agents < more.agents);
            assert!(less.users < more.users);
            assert!(less.max_run_steps < more.max_run_steps);
            assert!(less.max_run_tokens < more.max_run_tokens);
            assert!(less.max_run_seconds < more.max_run_seconds);
        }
    }

    #[test]
    fn names_round_trip() {
        for &plan in Plan::ALL {
            assert_eq!(plan.as_str().parse(), Ok(plan));
        }
        for &reason in SuspensionReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
    }

    #[test]
    fn a_suspension_says_why_and_since_when() {
        let tenant = acme().suspend(SuspensionReason::Payment, at(5)).unwrap();
        let expected = TenantStatus::Suspended { reason: SuspensionReason::Payment, since: at(5) };
        assert_eq!((tenant.status(), tenant.version(), tenant.updated_at()), (expected, 2, at(5)));
        let again = tenant.clone().suspend(SuspensionReason::Abuse, at(6));
        assert_eq!(again, Err(TransitionRefused::AlreadySuspended));
        assert!(tenant.reactivate(at(7)).unwrap().is_active());
        assert_eq!(acme().reactivate(at(7)), Err(TransitionRefused::NotSuspended));
    }

    #[derive(Clone, Copy, Debug)]
    enum Move {
        Suspend(SuspensionReason),
        Reactivate,
        Close,
        Rename,
        ChangePlan(Plan),
    }

    fn any_move() -> impl Strategy<Value = Move> {
        prop_oneof![
            4 => select(SuspensionReason::ALL).prop_map(Move::Suspend),
            4 => Just(Move::Reactivate),
            1 => Just(Move::Close),
            2 => Just(Move::Rename),
            2 => select(Plan::ALL).prop_map(Move::ChangePlan),
        ]
    }

    fn make(step: Move, tenant: Tenant, now: DateTime<Utc>) -> Result<Tenant, TransitionRefused> {
        match step {
            Move::Suspend(reason) => tenant.suspend(reason, now),
            Move::Reactivate => tenant.reactivate(now),
            Move::Close => tenant.close(now),
            Move::Rename => tenant.rename("Acme Ltd".parse().unwrap(), now),
            Move::ChangePlan(plan) => tenant.change_plan(plan, now),
        }
    }

    proptest! {
        #[test]
        fn any_life_of_a_tenant_keeps_the_invariants(moves in vec((any_move(), 0..1000_i64), 0..40)) {
            let mut tenant = acme();
            for (step, seconds) in moves {
                let (before, now) = (tenant.clone(), at(seconds));
                let closed = matches!(before.status(), TenantStatus::Closed { .. });
                let suspended = matches!(before.status(), TenantStatus::Suspended { .. });
                match make(step, tenant.clone(), now) {
                    Ok(next) => {
                        prop_assert!(!closed, "{step:?} left closed");
                        prop_assert_eq!(next.version(), before.version() + 1);
                        prop_assert!(next.updated_at() >= before.updated_at());
                        prop_assert_eq!(
                            next.status() == before.status(),
                            matches!(step, Move::Rename | Move::ChangePlan(_))
                        );
                        tenant = next;
                    }
                    Err(TransitionRefused::Closed) => prop_assert!(closed),
                    Err(TransitionRefused::AlreadySuspended) => prop_assert!(suspended),
                    Err(TransitionRefused::NotSuspended) => prop_assert!(before.is_active()),
                }
                prop_assert_eq!((tenant.id(), tenant.slug()), (before.id(), before.slug()));
                prop_assert_eq!(tenant.created_at(), before.created_at());
                prop_assert_eq!(&Tenant::restore(tenant.parts().clone()), &tenant);
            }
        }

        #[test]
        fn slugs_round_trip(text in "[a-z][a-z0-9]{2,9}(-[a-z0-9]{1,9}){0,3}") {
            let slug: Slug = text.parse().unwrap();
            prop_assert_eq!(slug.to_string(), text.clone());
            prop_assert_eq!(Slug::try_from(text), Ok(slug));
        }

        #[test]
        fn no_text_panics(text in "(.{0,50}|[a-z0-9-]{0,45})") {
            if let Ok(slug) = text.parse::<Slug>() {
                prop_assert_eq!(slug.as_str(), &text);
                prop_assert!((3..=40).contains(&text.len()) && !text.contains("--"));
            }
            let _ = text.parse::<Plan>();
        }
    }
}
