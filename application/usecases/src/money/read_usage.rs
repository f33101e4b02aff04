//! What a tenant used.

use std::sync::Arc;

use chrono::{Days, NaiveDate};
use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::money::{Grouping, UsageGroup};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use crate::{Refused, permit};

/// The days that are summed up when nobody says which, today included.
const USUAL_DAYS: u64 = 30;
/// The most days that are summed up at once.
const MAX_DAYS: i64 = 366;
/// The most sums of one answer.
const MAX_SUMS: u32 = 50_000;

/// Which sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadUsageQuery {
    /// The first day, in UTC.
    pub from: Option<NaiveDate>,
    /// The last day, in UTC.
    pub to: Option<NaiveDate>,
    /// What is told apart.
    pub grouping: Grouping,
}

/// Reads usage.
#[derive(Clone)]
pub struct ReadUsage {
    /// Where usage is.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl ReadUsage {
    /// The sums of the caller's tenant, in order.
    pub async fn execute(
        &self,
        principal: &Principal,
        query: ReadUsageQuery,
    ) -> Result<Vec<UsageGroup>, Refused> {
        let permit = permit::<access::ReadUsage>(principal, principal.tenant_id(), "usage", true)?;
        let to = query.to.unwrap_or_else(|| self.clock.now().date_naive());
        let usual = || to.checked_sub_days(Days::new(USUAL_DAYS - 1)).unwrap_or(to);
        let from = query.from.unwrap_or_else(usual);
        let days = (to - from).num_days() + 1;
        if !(1..=MAX_DAYS).contains(&days) {
            let reason = format!("ask for 1 to {MAX_DAYS} days, the first not after the last");
            return Err(Refused::invalid("/from", reason));
        }
        let mut view = self.store.read(&permit.scope()).await?;
        permit.redeem();
        let sums = view.usage().sums(from, to, query.grouping, MAX_SUMS + 1).await?;
        // Half of what there is must not look like all of it.
        if sums.len() > usize::try_from(MAX_SUMS).unwrap_or(usize::MAX) {
            let reason = format!("that is more than {MAX_SUMS} sums: ask for fewer days, or tell less apart");
            return Err(Refused::invalid("/group_by", reason));
        }
        Ok(sums)
    }
}
