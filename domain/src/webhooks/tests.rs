//! Signatures, retries and what is said of a run.

use std::time::Duration;

use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::ids::{AgentId, MessageId, RunId};
use crate::runs::{Run, RunLimits, Task};
use crate::selection;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn delivery() -> Delivery {
    Delivery::restore(DeliveryParts {
        webhook: WebhookId::from_uuid(uuid(1)),
        message: MessageId::from_uuid(uuid(2)),
        event: Announced::Failed,
        run: Some(RunId::from_uuid(uuid(3))),
        payload: "{}".into(),
        attempts: 0,
        before: 0,
        state: DeliveryState::Pending { next_at: now() },
        last: None,
        created_at: now(),
    })
}

fn answered(delivery: &Delivery, status: u16, retries: &Retries) -> Delivery {
    let mut parts = delivery.parts().clone();
    parts.attempts += 1;
    let attempt = Attempt { at: now(), status: Some(status), note: String::new() };
    Delivery::restore(parts).attempted(attempt, retries)
}

fn retries() -> Retries {
    Retries::new(vec![Duration::from_secs(10), Duration::from_secs(100)]).unwrap()
}

#[test]
fn a_delivery_is_tried_as_often_as_there_are_pauses_and_once_more() {
    let mut delivery = delivery();
    for pause in [10, 100] {
        delivery = answered(&delivery, 500, &retries());
        let DeliveryState::Pending { next_at } = delivery.parts().state else { panic!("{delivery:?}") };
        let waited = (next_at - now()).as_seconds_f64();
        assert!((0.9..=1.1).contains(&(waited / f64::from(pause))), "{waited}");
    }
    assert!(delivery.clone().replay(now()).is_err(), "it is under way");
    delivery = answered(&delivery, 302, &retries());
    assert_eq!(delivery.parts().state, DeliveryState::Dead { at: now() });
    let again = delivery.replay(now()).unwrap();
    assert_eq!((again.parts().attempts, again.parts().before), (3, 3));
    let again = answered(&again, 503, &retries());
    assert!(matches!(again.parts().state, DeliveryState::Pending { .. }), "all attempts before it once more");
    assert_eq!(answered(&again, 204, &retries()).parts().state, DeliveryState::Delivered { at: now() });
}

#[test]
fn who_is_gone_is_told_nothing_more() {
    let gone = answered(&delivery(), 410, &retries());
    assert!(gone.is_gone() && gone.parts().state == DeliveryState::Dead { at: now() });
    assert!(!answered(&delivery(), 404, &retries()).is_gone());
}

#[test]
fn pauses_have_bounds() {
    assert!(Retries::new(vec![Duration::ZERO; 20]).is_ok());
    assert!(Retries::new(vec![Duration::ZERO; 21]).is_err());
    assert!(Retries::new(vec![Duration::from_hours(24 * 8)]).is_err());
}

/// The example of the specification, with its key, and an id of ours.
#[test]
fn a_secret_signs_and_is_never_printed() {
    let secret = Secret::new(&[7; 24]).unwrap();
    assert_eq!(secret.reveal().as_str(), "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH");
    assert_eq!(format!("{secret:?}"), "Secret(…)");
    let message = MessageId::from_uuid(uuid(2));
    let one = signatures(std::slice::from_ref(&secret), message, 1, "{}");
    assert!(one.starts_with("v1,") && one.len() == 3 + 44, "{one}");
    assert_ne!(one, signatures(std::slice::from_ref(&secret), message, 2, "{}"));
    let both = signatures(&[secret.clone(), Secret::new(&[8; 32]).unwrap()], message, 1, "{}");
    assert!(both.starts_with(&format!("{one} v1,")));
    assert_eq!(Secret::new(&[7; 23]), Err(SecretLength));
    assert_eq!(Secret::new(&[7; 65]), Err(SecretLength));
}

#[test]
fn a_run_is_announced_without_its_words() {
    let selection = selection::named(AgentId::from_uuid(uuid(4)), 1);
    let limits = RunLimits { steps: 1, tokens: 1, cost_micros: 0, wall_clock: Duration::from_mins(1) };
    let task = Task::new("canary").unwrap();
    let run =
        Run::accept(RunId::from_uuid(uuid(3)), UserId::from_uuid(uuid(5)), task, selection, limits, now());
    let run = run.start(now()).and_then(|run| run.succeed("canary", now())).unwrap();
    let said = Announcement::of_run(Announced::Succeeded, &run, 7, now());
    assert!(
        said.payload
            .starts_with(r#"{"type":"run.succeeded","timestamp":"2024-10-04T00:00:00.000000Z","data":{"#)
    );
    assert!(
        said.payload.contains(r#""status":"succeeded""#) && !said.payload.contains("canary"),
        "{}",
        said.payload
    );
    assert_eq!(
        said,
        Announcement::of_run(Announced::Succeeded, &run, 7, now()),
        "the same to whoever writes it"
    );
    assert_ne!(said.message, Announcement::of_run(Announced::Succeeded, &run, 8, now()).message);
}

#[test]
fn addresses_and_filters_have_rules() {
    for good in ["https://example.org/hook?x=1", "http://127.0.0.1:8080/"] {
        assert!(good.parse::<EndpointUrl>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "https://",
        "https:///x",
        "ftp://example.org",
        "https://a b",
        "https://é.org",
        &"https://a/".repeat(300),
    ] {
        assert_eq!(bad.parse::<EndpointUrl>(), Err(InvalidUrl), "{bad}");
    }
    assert!(Filter::new(vec![Announced::Failed, Announced::Succeeded]).is_ok());
    assert_eq!(Filter::new(vec![Announced::Failed; 2]), Err(InvalidFilter));
    assert_eq!(Filter::new(vec![Announced::Test]), Err(InvalidFilter));
}
