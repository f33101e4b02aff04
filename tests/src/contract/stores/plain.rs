//! Work in the plain case, and what is read of runs that were claimed, of many tenants at once.

use std::time::Duration;

use chrono::NaiveDate;
use powerhouse_domain::ids::BudgetId;
use powerhouse_domain::model::{Channel, Usage};
use powerhouse_domain::money::{
    Budget, BudgetScope, Caps, Grouping, Period, Price, PriceEntry, UsageGroup, UsageKey,
};
use powerhouse_domain::runs::{ApprovalRules, EventBody, Lease, Room, Run};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{NewEvent, Plain, Work};

use super::{Stores, webhooks};
use crate::contract::sample::{Office, agent, at, next_id, office, run};

const USED: Usage = Usage::of_tokens(7, 8).at_cost(9);

/// A run that was claimed in an office of its own, and what its worker did.
struct Desk {
    office: Office,
    accepted: Run,
    work: Work,
    used: [(UsageKey, u64, Usage); 1],
}

impl Desk {
    fn plain(&self) -> Plain<'_> {
        Plain { work: &self.work, seen: 1, is_free: true, used: &self.used }
    }
}

fn day() -> NaiveDate {
    at(10).date_naive()
}

async fn desk(stores: &Stores) -> Desk {
    let office = office(&*stores.platform, Plan::Team).await;
    let helper = agent("helper");
    let accepted = run(office.owner.id(), &helper, 5);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().add(&accepted).await.expect("add");
    tx.commit().await.expect("commit");
    let lease = stores
        .platform
        .claim(Room::for_anyone(1), at(6), Duration::from_hours(1))
        .await
        .expect("claim")
        .remove(0);
    let text = |text: &str| {
        let key = "0".parse().expect("a key");
        NewEvent {
            at: at(10),
            body: EventBody::TextDelta { key, channel: Channel::Answer, text: text.into() },
        }
    };
    let key = UsageKey { day: day(), agent: Some(helper.id()), user: office.owner.id(), model: "m".into() };
    let run = accepted.clone().start(at(7)).expect("start").charge(USED).expect("charge");
    let work = Work { lease, run, events: vec![text("a"), text("b")], rules: None };
    Desk { office, accepted, work, used: [(key, 2, USED)] }
}

async fn read(stores: &Stores, desk: &Desk) -> (Run, Vec<(u64, EventBody)>, Option<(u64, Usage)>) {
    let mut view = stores.tenants.read(&desk.office.principal.scope()).await.expect("read");
    let run = view.runs().find(desk.work.run.id()).await.expect("find").expect("the run");
    let events = view.runs().events(run.id(), 1, 100).await.expect("events");
    let sums = view.usage().sums(day(), day(), Grouping::default(), 9).await.expect("sums");
    let used = sums.first().map(|UsageGroup { calls, usage, .. }| (*calls, *usage));
    (run, events.into_iter().map(|event| (event.seq, event.body)).collect(), used)
}

/// Nothing of it is stored.
async fn is_untouched(stores: &Stores, desk: &Desk, what: &str) {
    let (run, _, used) = read(stores, desk).await;
    assert_ne!(run, desk.work.run, "{what}");
    assert_eq!(used, None, "{what}");
}

/// How many cases are not plain.
const CASES: usize = 7;

/// Makes a case that is not plain, and says which.
async fn spoil(stores: &Stores, desk: &mut Desk, case: usize) -> &'static str {
    let (office, accepted, work) = (&desk.office, &desk.accepted, &mut desk.work);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let what = match case {
        0 => {
            tx.runs().append(accepted, &work.events[..1]).await.expect("append");
            "somebody has written to the journal"
        }
        1 => {
            tx.runs().record(&work.lease, &work.run, &[]).await.expect("record");
            work.run = accepted.clone();
            "a newer version is stored"
        }
        2 => {
            let caps = Caps::new(Some(1), None).expect("caps");
            let id = BudgetId::from_uuid(next_id());
            let budget = Budget::new(id, BudgetScope::Tenant, Period::Day, caps, at(0));
            tx.budgets().add(&budget).await.expect("add");
            "a budget counts its calls"
        }
        3 => {
            let price = PriceEntry::new("m", at(0), Price::new(1, 1)).expect("a price");
            tx.prices().replace(&[price]).await.expect("replace");
            "the tenant has prices of its own"
        }
        4 => {
            tx.webhooks().add(&webhooks::endpoint(office, &[]), &webhooks::secrets()).await.expect("add");
            end(work);
            "somebody is told of it"
        }
        5 => {
            let rules = ApprovalRules::default().replaced(Vec::new()).expect("rules");
            tx.approval_rules().replace(&rules).await.expect("replace");
            work.rules = Some(0);
            "a call was let begin by older rules"
        }
        _ => "the run is the worker's no more",
    };
    tx.commit().await.expect("commit");
    if case == CASES - 1 {
        stores.platform.release(&work.lease).await.expect("release");
    }
    what
}

fn end(work: &mut Work) {
    work.run = work.run.clone().succeed("done", at(11)).expect("succeed");
    work.events.push(NewEvent { at: at(11), body: EventBody::Succeeded { answer: "done".into() } });
}

/// What is plain is stored as its tenant would, or, where there is no such way, not at all; what is not plain, not at all.
pub async fn plain_work_is_stored_as_by_its_tenants(stores: &Stores) {
    let mut usual = [desk(stores).await, desk(stores).await];
    let mut unusual = Vec::new();
    for case in 0..CASES {
        let mut desk = desk(stores).await;
        let what = spoil(stores, &mut desk, case).await;
        unusual.push((desk, what));
    }
    end(&mut usual[1].work);

    // Tenants in any order.
    let [first, last] = &usual;
    let between = unusual.iter().rev().map(|(desk, _)| desk);
    let plain: Vec<_> = std::iter::once(last).chain(between).chain([first]).map(Desk::plain).collect();
    let newest = stores.tenants.record_plain(&plain).await.expect("record");
    let has_way = newest[0].is_some();
    assert_eq!([newest[0], newest[CASES + 1]], if has_way { [Some(4), Some(3)] } else { [None, None] });
    assert_eq!(newest[1..=CASES], [None; CASES], "what is not plain");
    for (desk, what) in &unusual {
        is_untouched(stores, desk, what).await;
    }
    for (desk, newest) in [(first, 3), (last, 4)] {
        if !has_way {
            is_untouched(stores, desk, "there is no such way").await;
            continue;
        }
        let (run, events, used) = read(stores, desk).await;
        assert_eq!(run, desk.work.run);
        let written = desk.work.events.iter().map(|event| event.body.clone());
        assert_eq!(events, (2..=newest).zip(written).collect::<Vec<_>>());
        assert_eq!(used, Some((2, USED)));
        // The journal is further now.
        assert_eq!(stores.tenants.record_plain(&[desk.plain()]).await.expect("record"), [None]);
    }
}

/// Runs that were claimed are read as their tenants see them, or, where there is no such way, not at all; nobody else's are.
pub async fn claimed_runs_are_read_as_their_tenants_see_them(stores: &Stores) {
    let desks = [desk(stores).await, desk(stores).await];
    let [first, last] = desks.each_ref().map(|desk| desk.work.lease);
    let forged = Lease::granted(last.scope().tenant_id(), first.run(), first.token(), first.expires_at(), 0);
    let read = stores.tenants.read_claimed(&[last, forged, first]).await.expect("read");
    let [of_last, None, of_first] = &read[..] else { panic!("somebody else's run was read") };
    assert_eq!(of_first.is_some(), of_last.is_some());
    for (claimed, desk) in [(of_first, &desks[0]), (of_last, &desks[1])] {
        let Some(claimed) = claimed else { continue };
        let mut view = stores.tenants.read(&desk.office.principal.scope()).await.expect("read");
        assert_eq!(Some(&claimed.run), view.runs().find(desk.accepted.id()).await.expect("find").as_ref());
        assert_eq!(claimed.journal, view.runs().events(desk.accepted.id(), 0, 100).await.expect("events"));
        assert_eq!(claimed.journal.len(), 1);
    }
}

/// The store has a way of its own for plain work, and for reading what was claimed unless it is long.
pub async fn plain_work_goes_the_short_way(stores: &Stores) {
    let desk = desk(stores).await;
    assert_eq!(stores.tenants.record_plain(&[desk.plain()]).await.expect("record"), [Some(3)]);
    let claimed = async || {
        let read = stores.tenants.read_claimed(&[desk.work.lease]).await.expect("read").remove(0);
        read.map(|claimed| claimed.journal.len())
    };
    assert_eq!(claimed().await, Some(3));
    let mut tx = stores.tenants.begin(&desk.office.principal.scope()).await.expect("begin");
    let more = vec![desk.work.events[0].clone(); 100];
    tx.runs().record(&desk.work.lease, &desk.work.run, &more).await.expect("record");
    tx.commit().await.expect("commit");
    assert_eq!(claimed().await, None, "a long journal");
}
