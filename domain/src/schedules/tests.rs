//! Time zones, and what becomes of missed firings.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::ids::AgentId;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn timing(expression: &str, zone: &str) -> Timing {
    Timing::new(expression, zone).unwrap()
}

/// The times after `from`, so many.
fn times(expression: &str, zone: &str, from: &str, most: usize) -> Vec<String> {
    let timing = timing(expression, zone);
    let times = std::iter::successors(timing.next_after(at(from)), |at| timing.next_after(*at));
    times.take(most).map(|at| at.format("%m-%dT%H:%M").to_string()).collect()
}

#[test]
fn an_expression_means_local_time() {
    assert_eq!(
        times("0 9 * * MON-FRI", "Europe/Berlin", "2026-01-02T00:00:00Z", 2),
        ["01-02T08:00", "01-05T08:00"]
    );
    assert_eq!(times("0 9 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", 1), ["01-01T03:30"]);
    assert_eq!(
        times("*/20 * * * *", "UTC", "2026-01-01T00:00:00Z", 3),
        ["01-01T00:20", "01-01T00:40", "01-01T01:00"]
    );
}

/// Berlin, 2026-03-29: from 02:00 to 03:00 there is no local time.
#[test]
fn where_clocks_go_forward_nothing_is_left_out() {
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
        ["03-28T01:30", "03-29T01:00", "03-30T00:30"],
        "right after the gap"
    );
    assert_eq!(
        times("0 9 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
        ["03-28T08:00", "03-29T07:00", "03-30T07:00"]
    );
    assert_eq!(
        times("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 3),
        ["03-29T00:30", "03-29T01:00", "03-29T01:30"]
    );
}

/// Berlin, 2026-10-25: the hour from 02:00 to 03:00 comes twice.
#[test]
fn where_clocks_go_back_a_fixed_time_fires_once() {
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["10-25T00:30", "10-26T01:30"]
    );
    assert_eq!(
        times("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 5),
        ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"],
        "what fires every half hour goes on"
    );
}

#[test]
fn leap_days_and_last_days_are_those_of_the_calendar() {
    let leap = timing("0 0 29 2 *", "UTC");
    assert_eq!(leap.next_after(at("2026-01-01T00:00:00Z")), Some(at("2028-02-29T00:00:00Z")));
    assert_eq!(
        leap.next_after(at("2096-03-01T00:00:00Z")),
        Some(at("2104-02-29T00:00:00Z")),
        "1900, 2100: none"
    );
    assert_eq!(
        times("0 12 L * *", "UTC", "2028-01-31T12:00:00Z", 3),
        ["02-29T12:00", "03-31T12:00", "04-30T12:00"]
    );
}

#[test]
fn what_is_no_timing_is_refused() {
    for wrong in
        ["", "* * * *", "0 * * * * *", "60 * * * *", "0 0 0 * *", "0 25 * * *", "now", &"0 ".repeat(99)]
    {
        assert!(matches!(Timing::new(wrong, "UTC"), Err(InvalidTiming::Expression(_))), "{wrong:?}");
    }
    assert_eq!(Timing::new("* * * * *", "Mars/Olympus"), Err(InvalidTiming::Zone));
    let never = plan("0 0 30 2 *", Missed::Once);
    assert!(Schedule::new(schedule_id(), user(1), never, at("2026-01-01T00:00:00Z")).is_err());
}

fn user(n: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(n))
}

fn schedule_id() -> ScheduleId {
    ScheduleId::from_uuid(Uuid::from_u128(7))
}

fn plan(expression: &str, missed: Missed) -> Plan {
    let order = Order {
        task: Task::new("Report").unwrap(),
        target: Target::Agent(AgentId::from_uuid(Uuid::nil())),
        priority: Priority::default(),
        within: None,
    };
    Plan { name: "nightly".parse().unwrap(), timing: timing(expression, "UTC"), missed, order }
}

fn schedule(missed: Missed) -> Schedule {
    Schedule::new(schedule_id(), user(1), plan("0 * * * *", missed), at("2026-01-01T00:30:00Z")).unwrap()
}

fn due(schedule: &Schedule, now: &str) -> Vec<String> {
    schedule.due(at(now)).into_iter().map(|at| at.format("%H:%M").to_string()).collect()
}

#[test]
fn what_was_missed_is_skipped_made_up_for_once_or_caught_up_with() {
    let (skip, once) = (schedule(Missed::Skip), schedule(Missed::Once));
    let three = schedule(Missed::CatchUp(CatchUp::new(3).unwrap()));
    for schedule in [&skip, &once, &three] {
        assert!(due(schedule, "2026-01-01T00:59:59Z").is_empty(), "not yet");
        assert_eq!(due(schedule, "2026-01-01T01:00:30Z"), ["01:00"], "in time");
    }
    assert!(due(&skip, "2026-01-01T05:10:00Z").is_empty());
    assert_eq!(due(&skip, "2026-01-01T05:00:59Z"), ["05:00"], "the last is in time");
    assert_eq!(due(&once, "2026-01-01T05:10:00Z"), ["05:00"]);
    assert_eq!(due(&three, "2026-01-01T05:10:00Z"), ["03:00", "04:00", "05:00"]);
    assert_eq!(due(&three, "2026-01-01T02:10:00Z"), ["01:00", "02:00"]);
    let fired = once.fired(Some(at("2026-01-01T05:00:00Z")), at("2026-01-01T05:10:00Z"));
    assert_eq!(fired.next_at(), Some(at("2026-01-01T06:00:00Z")));
    assert!(due(&fired, "2026-01-01T05:59:00Z").is_empty());
}

#[test]
fn a_firing_whose_deadline_has_passed_makes_no_run() {
    let mut plan = plan("0 * * * *", Missed::CatchUp(CatchUp::new(9).unwrap()));
    plan.order.within = Some(Duration::from_hours(2));
    let schedule = Schedule::new(schedule_id(), user(1), plan, at("2026-01-01T00:30:00Z")).unwrap();
    assert_eq!(due(&schedule, "2026-01-01T05:10:00Z"), ["04:00", "05:00"]);
    let placement = schedule.placement(at("2026-01-01T05:00:00Z"));
    assert_eq!(placement.deadline, Some(at("2026-01-01T07:00:00Z")));
}

#[test]
fn whoever_fires_makes_the_same_run() {
    let (five, six) = (at("2026-01-01T05:00:00Z"), at("2026-01-01T06:00:00Z"));
    let (one, other) = (schedule(Missed::Skip), schedule(Missed::Once));
    assert_eq!(one.run_of(five), other.run_of(five));
    assert_ne!(one.run_of(five), one.run_of(six));
    let id = one.run_of(five).as_uuid();
    assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
    assert!(
        crate::ids::earliest_uuid(five) <= id
            && id < crate::ids::earliest_uuid(five + TimeDelta::milliseconds(1))
    );
}

#[test]
fn a_pause_keeps_its_reason_and_a_resumed_schedule_makes_up_for_nothing() {
    let now = at("2026-01-01T05:10:00Z");
    let paused = schedule(Missed::Once).pause(PauseReason::RequesterGone, now).pause(PauseReason::Asked, now);
    assert_eq!(paused.state(), &ScheduleState::Paused { reason: PauseReason::RequesterGone, since: now });
    assert!(paused.due(at("2026-01-02T00:00:00Z")).is_empty());
    let resumed = paused.resume(at("2026-01-01T07:30:00Z")).unwrap();
    assert_eq!(resumed.next_at(), Some(at("2026-01-01T08:00:00Z")));
    assert_eq!(resumed.preview(now, 2), [at("2026-01-01T06:00:00Z"), at("2026-01-01T07:00:00Z")]);
    let changed = resumed.change(user(2), plan("30 4 * * *", Missed::Skip), now).unwrap();
    assert_eq!((changed.requested_by(), changed.next_at()), (user(2), Some(at("2026-01-02T04:30:00Z"))));
}

#[test]
fn names_have_bounds() {
    assert!("".parse::<ScheduleName>().is_err() && " ".parse::<ScheduleName>().is_err());
    assert!("é".repeat(MAX_NAME_CHARS).parse::<ScheduleName>().is_ok());
    assert!("é".repeat(MAX_NAME_CHARS + 1).parse::<ScheduleName>().is_err());
    assert!(CatchUp::new(0).is_err() && CatchUp::new(101).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However far back the search begins, the latest firings are the last of all of them; across changes of the clocks.
    #[test]
    fn the_latest_are_the_last_of_all(
        expression in prop::sample::select(vec!["*/7 * * * *", "30 2 * * *", "0 */5 * * *", "15 1,2,3 * * *"]),
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
        start in 0i64..31_536_000,
        length in 0i64..1_000_000,
        most in 1usize..20,
    ) {
        let timing = timing(expression, zone);
        let since = timing.next_after(at("2026-01-01T00:00:00Z") + TimeDelta::seconds(start)).unwrap();
        let until = since + TimeDelta::seconds(length);
        let all: Vec<_> = std::iter::successors(Some(since), |at| timing.next_after(*at))
            .take_while(|at| *at <= until)
            .collect();
        let latest = timing.latest(since, until, most);
        prop_assert_eq!(&latest[..], &all[all.len().saturating_sub(most)..]);
        prop_assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
