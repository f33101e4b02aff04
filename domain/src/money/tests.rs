//! No call costs more than its worst case, what fits a budget fits it, and windows end where months do.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::effects::{EffectFailure, EffectOutcome, EffectRequest, FailureClass, JournalEntry, ToolRequest};
use crate::ids::{BudgetId, StepId};
use crate::model::{Message, ModelRequest, Usage};
use crate::runs::{EventBody, RunEvent, StepKind};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn request(text: &str) -> ModelRequest {
    ModelRequest::answer("answer", vec![Message::user(text)])
}

fn budget(period: Period, micros: Option<u64>, tokens: Option<u64>) -> Budget {
    let id = BudgetId::from_uuid(Uuid::from_u128(7));
    Budget::new(
        id,
        BudgetScope::Tenant,
        period,
        Caps::new(micros, tokens).unwrap(),
        at("2026-01-01T00:00:00Z"),
    )
}

#[test]
fn windows_begin_and_end_at_midnight_in_utc() {
    let cases = [
        (Period::Day, "2028-02-29T23:59:59.999Z", "2028-02-29T00:00:00Z", Some("2028-03-01T00:00:00Z")),
        (Period::Day, "2026-12-31T12:00:00Z", "2026-12-31T00:00:00Z", Some("2027-01-01T00:00:00Z")),
        (Period::Month, "2026-01-31T23:00:00Z", "2026-01-01T00:00:00Z", Some("2026-02-01T00:00:00Z")),
        (Period::Month, "2028-02-29T00:00:00Z", "2028-02-01T00:00:00Z", Some("2028-03-01T00:00:00Z")),
        (Period::Month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", Some("2027-01-01T00:00:00Z")),
        (Period::Total, "2026-12-31T23:59:59Z", "1970-01-01T00:00:00Z", None),
    ];
    for (period, now, start, end) in cases {
        assert_eq!((period.start(at(now)), period.end(at(now))), (at(start), end.map(at)), "{period} {now}");
    }
}

#[test]
fn a_price_is_the_newest_in_force_and_the_tenants_goes_first() {
    let entry =
        |model: &str, from: &str, input| PriceEntry::new(model, at(from), Price::new(input, 1)).unwrap();
    let list = PriceList::new(vec![
        entry("gpt-5", "2026-02-01T00:00:00Z", 7),
        entry("gpt-5", "2026-03-01T00:00:00Z", 9),
        entry("house-2-20250101", "2026-01-01T00:00:00Z", 5),
    ]);
    let input = |model: &str, time: &str| list.at(model, at(time)).map(|price| price.input_micros);
    assert_eq!(
        input("gpt-5", "2026-01-31T23:59:59Z"),
        Some(1_250_000),
        "the platform's, before the tenant's"
    );
    assert_eq!(input("gpt-5", "2026-02-01T00:00:00Z"), Some(7));
    assert_eq!(input("gpt-5", "2026-09-01T00:00:00Z"), Some(9));
    assert_eq!(input("gpt-5-2025-08-07", "2026-09-01T00:00:00Z"), Some(9), "a release of it");
    assert_eq!(input("gpt-5-mini-2025-08-07", "2026-09-01T00:00:00Z"), Some(250_000));
    assert_eq!(input("claude-sonnet-4-5-20250929", "2026-09-01T00:00:00Z"), Some(3_000_000));
    assert_eq!(input("house-2-20250101", "2026-09-01T00:00:00Z"), Some(5));
    assert_eq!(input("gpt-5-audio", "2026-09-01T00:00:00Z"), None, "another model");
    assert_eq!(input("powerhouse-offline", "2026-09-01T00:00:00Z"), Some(0));
    for nothing in ["", "-", "-2025-08-07", "é-2025-08-07"] {
        assert_eq!(list.at(nothing, at("2026-09-01T00:00:00Z")), None, "{nothing}");
    }
}

#[test]
fn what_a_cache_had_a_part_in_costs_its_own_price() {
    let price = Price::new(3_000_000, 15_000_000).with_cache(300_000, 3_750_000);
    let usage = Usage { cache_read_tokens: 700, cache_write_tokens: 200, ..Usage::of_tokens(1_000, 10) };
    // 100 at 3, 700 at 0.3, 200 at 3.75 and 10 at 15.
    assert_eq!(price.applied_to(usage).cost_micros, 300 + 210 + 750 + 150);
    // A provider that says nonsense is not paid for it.
    let nonsense = Usage { cache_read_tokens: 5_000, cache_write_tokens: 9, ..Usage::of_tokens(1_000, 0) };
    assert_eq!(price.applied_to(nonsense).cost_micros, 300);
}

#[test]
fn what_is_no_price_or_cap_is_refused() {
    let now = at("2026-01-01T00:00:00Z");
    for name in [" ", "", "a\nb", &"x".repeat(129)] {
        assert_eq!(PriceEntry::new(name, now, Price::FREE), Err(InvalidPrice::Model));
    }
    assert_eq!(PriceEntry::new("m", now, Price::new(u64::MAX, 0)), Err(InvalidPrice::Amount));
    let silent = Price { max_output_tokens: 0, ..Price::FREE };
    assert_eq!(PriceEntry::new("m", now, silent), Err(InvalidPrice::Output));
    assert_eq!(Caps::new(None, None), Err(InvalidCaps::None));
    for caps in
        [(Some(u64::MAX), None), (None, Some(u64::MAX)), (Some(1), Some(u64::MAX)), (Some(u64::MAX), Some(1))]
    {
        assert_eq!(Caps::new(caps.0, caps.1), Err(InvalidCaps::TooHigh), "{caps:?}");
    }
}

#[test]
fn a_refusal_names_the_budget_and_when_it_begins_anew() {
    let now = at("2026-01-31T10:00:00Z");
    let day = budget(Period::Day, None, Some(10));
    let refused = fitting_output(&request("hello"), &Price::FREE, 100, &[(day, Spending::default())], now);
    let text = refused.unwrap_err().to_string();
    assert!(text.starts_with("the day budget budget_"), "{text}");
    assert!(
        text.ends_with(
            "of the tenant has too little left for this call; it begins anew at 2026-02-01T00:00:00Z"
        ),
        "{text}"
    );
}

fn started(key: &str, micros: u64) -> EventBody {
    let amount = Usage::of_tokens(1, 1).at_cost(micros);
    EventBody::StepStarted {
        step: StepId::from_uuid(Uuid::from_u128(1)),
        key: key.parse().unwrap(),
        kind: StepKind::Model { purpose: "draft".into() },
        fingerprint: None,
        reservation: Some(Reservation { model: "m".into(), amount, windows: Vec::new() }),
    }
}

fn ended(key: &str) -> EventBody {
    let tool = ToolRequest::new("t", serde_json::Value::Null);
    let failure = EffectFailure::new(FailureClass::Rejected, "");
    JournalEntry {
        key: key.parse().unwrap(),
        fingerprint: EffectRequest::Tool(tool).fingerprint(),
        outcome: EffectOutcome::Failed(failure),
    }
    .into()
}

#[test]
fn what_is_in_flight_was_begun_since_the_last_start_and_has_no_end() {
    let open = |bodies: Vec<EventBody>| {
        let events: Vec<RunEvent> = (1..)
            .zip(bodies)
            .map(|(seq, body)| RunEvent { seq, at: at("2026-01-01T00:00:00Z"), body })
            .collect();
        in_flight(&events)
            .into_iter()
            .map(|(key, held)| (key.to_string(), held.amount.cost_micros))
            .collect::<Vec<_>>()
    };
    let start = |attempt| EventBody::Started { attempt };
    let first = vec![EventBody::Queued, start(1), started("0", 1), started("1", 2), ended("1")];
    assert_eq!(open(first.clone()), [("0".to_owned(), 1)]);
    let again = [first.clone(), vec![start(2), started("0", 3)]].concat();
    assert_eq!(open(again), [("0".to_owned(), 3)]);
    assert_eq!(open([first, vec![EventBody::Cancelled]].concat()), []);
}

/// Journals that were written before there were reservations.
#[test]
fn an_old_journal_reads() {
    let old = serde_json::json!({"type": "step_started", "step": StepId::from_uuid(Uuid::from_u128(1)), "key": "0",
        "kind": {"kind": "model", "purpose": "draft"}});
    let read: EventBody = serde_json::from_value(old.clone()).unwrap();
    assert!(matches!(&read, EventBody::StepStarted { reservation: None, .. }));
    assert_eq!(serde_json::to_value(&read).unwrap(), old);
    let new = started("0", 5);
    assert_eq!(serde_json::from_str::<EventBody>(&serde_json::to_string(&new).unwrap()).unwrap(), new);
}

proptest! {
    #[test]
    fn no_call_costs_more_than_its_worst_case(
        text in "\\PC{0,200}", prices in prop::array::uniform4(0..=1_000_000_000_000_u64), output: u32, less: (u64, u32), cache: (u64, u64),
    ) {
        let [input, generated, read, write] = prices;
        let (request, price) = (request(&text), Price::new(input, generated).with_cache(read, write));
        let worst = worst_case(&request, &price, output);
        // At most a token for each byte.
        prop_assert!(worst.input_tokens >= u64::try_from(text.len()).unwrap());
        let input = less.0 % (worst.input_tokens + 1);
        let (cache_read_tokens, cache_write_tokens) = cache;
        let used = Usage {
            cache_read_tokens,
            cache_write_tokens,
            ..Usage::of_tokens(input, output.min(less.1).into())
        };
        prop_assert!(price.applied_to(used).cost_micros <= worst.cost_micros);
    }

    #[test]
    fn cost_is_rounded_up_and_saturates(input: u64, output: u64, prices: (u64, u64)) {
        let price = Price::new(prices.0, prices.1);
        let cost = |input, output| price.applied_to(Usage::of_tokens(input, output)).cost_micros;
        let exact = u128::from(input) * u128::from(prices.0) / 1_000_000;
        prop_assert!(u128::from(cost(input, 0)) >= exact.min(u128::from(u64::MAX)));
        prop_assert!(cost(input, output) >= cost(input, 0).max(cost(0, output)));
    }

    #[test]
    fn what_fits_a_budget_fits_it(
        micros in proptest::option::of(0..100_000_u64), tokens in proptest::option::of(0..5_000_u64), spent in 0..50_000_u64,
        input_price in 0..90_000_000_u64, output_price in 0..90_000_000_u64, wanted in 1..10_000_u32,
    ) {
        prop_assume!(micros.is_some() || tokens.is_some());
        let (budget, price) = (budget(Period::Month, micros, tokens), Price::new(input_price, output_price));
        let so_far = Spending { spent: Amount { micros: spent, tokens: spent / 10 }, ..Spending::default() };
        let request = request("hello");
        let fitting = fitting_output(&request, &price, wanted, &[(budget, so_far)], at("2026-01-01T00:00:00Z"));
        if let Ok(output) = fitting {
            prop_assert!(output <= wanted);
            let worst = Amount::from(worst_case(&request, &price, output));
            prop_assert!(micros.is_none_or(|cap| spent + worst.micros <= cap));
            prop_assert!(tokens.is_none_or(|cap| spent / 10 + worst.tokens <= cap));
        } else {
            let least = Amount::from(worst_case(&request, &price, wanted.min(LEAST_OUTPUT)));
            let over = micros.is_some_and(|cap| spent + least.micros > cap);
            prop_assert!(over || tokens.is_some_and(|cap| spent / 10 + least.tokens > cap));
        }
    }

    #[test]
    fn of_what_was_set_aside_each_part_is_spent_or_left(
        aside in (0..1_000_000_u64, 0..1_000_000_u64, 0..1_000_000_u64), used: (u64, u64, u64),
    ) {
        let usage = |(input, output, micros)| Usage::of_tokens(input, output).at_cost(micros);
        let reservation = Reservation { amount: usage(aside), ..Reservation::nothing("m") };
        let used = usage(used);
        prop_assert_eq!(reservation.bounded(used).plus(reservation.unspent(used)), reservation.amount);
        prop_assert_eq!(reservation.unspent(reservation.amount), Usage::default());
        prop_assert_eq!(reservation.unspent(Usage::default()), reservation.amount);
    }

    #[test]
    fn an_amount_fits_where_it_passes_no_cap(
        caps in prop::collection::vec((prop::option::of(0..100_u64), prop::option::of(0..100_u64), 0..100_u64, 0..100_u64), 0..4),
        micros in 0..200_u64, tokens in 0..200_u64,
    ) {
        let caps = caps.into_iter().filter(|cap| cap.0.is_some() || cap.1.is_some());
        let budgets: Vec<_> = caps
            .map(|(micros, tokens, spent, reserved)| {
                let amount = |n| Amount { micros: n, tokens: n };
                (budget(Period::Day, micros, tokens), Spending { spent: amount(spent), reserved: amount(reserved) })
            })
            .collect();
        let amount = Usage::of_tokens(tokens, 0).at_cost(micros);
        let fits = check_fits(amount, &budgets, at("2026-01-01T00:00:00Z"));
        let within = budgets.iter().all(|(budget, so_far)| {
            let used = so_far.used();
            budget.caps.hold(Usage::of_tokens(used.tokens + tokens, 0).at_cost(used.micros + micros))
        });
        // What is over already has room for nothing that costs nothing.
        let is_over = |(budget, so_far): &(Budget, Spending)| {
            let used = so_far.used();
            !budget.caps.hold(Usage::of_tokens(used.tokens, 0).at_cost(used.micros))
        };
        prop_assert!(fits.is_ok() == within || budgets.iter().any(is_over));
    }

    #[test]
    fn texts_have_no_more_tokens_than_is_set_aside(texts in prop::collection::vec("\\PC{0,80}", 0..9)) {
        let bound = texts_bound(texts.iter().map(String::as_str));
        prop_assert!(bound >= texts.iter().map(|text| text.len() as u64 + 2).sum());
        let worst = Price::new(20_000, 0).worst_of(bound, 0);
        prop_assert!(u128::from(worst.cost_micros) * 1_000_000 >= u128::from(bound) * 20_000);
    }

    #[test]
    fn a_window_has_its_time_in_it(seconds in 0..4_000_000_000_i64) {
        let now = DateTime::from_timestamp(seconds, 0).unwrap();
        for &period in Period::ALL {
            prop_assert!(period.start(now) <= now);
            prop_assert!(period.end(now).is_none_or(|end| now < end && period.start(end) == end));
            prop_assert_eq!(period.start(period.start(now)), period.start(now));
        }
    }
}
