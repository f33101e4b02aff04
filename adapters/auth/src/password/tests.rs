//! Hashing: parameters, the equal path for unknown users, bounds, and what a stored hash may be.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::*;

const RIGHT: &str = "correct horse battery staple";

fn hasher(at_once: usize, waiting: usize) -> Argon2Hasher {
    Argon2Hasher::new(HashingLimits { at_once: NonZeroUsize::new(at_once).unwrap(), waiting })
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

#[tokio::test]
async fn s14_a_hash_has_the_recommended_parameters_and_a_salt_of_its_own() {
    let hasher = hasher(2, 2);
    let one = hasher.hash(password(RIGHT)).await.unwrap();
    let other = hasher.hash(password(RIGHT)).await.unwrap();
    assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
    assert_ne!(one, other);

    let parsed = parse(&one).unwrap();
    assert_eq!(parsed.salt.unwrap().len(), 16);
    assert_eq!(parsed.hash.unwrap().len(), 32);

    assert_eq!(hasher.verify(password(RIGHT), Some(one.clone())).await, Ok(true));
    assert_eq!(hasher.verify(password("correct horse battery stapl"), Some(one.clone())).await, Ok(false));
    assert_eq!(hasher.verify(password(""), Some(one)).await, Ok(false));
}

#[tokio::test]
async fn s14_an_unknown_user_costs_one_hash_like_everyone_else() {
    let hasher = hasher(1, 0);
    let hash = hasher.hash(password(RIGHT)).await.unwrap();
    assert_eq!(hasher.computed(), 1);

    assert_eq!(hasher.verify(password(RIGHT), Some(hash.clone())).await, Ok(true));
    assert_eq!(hasher.computed(), 2);
    assert_eq!(hasher.verify(password("wrong"), Some(hash.clone())).await, Ok(false));
    assert_eq!(hasher.computed(), 3);
    assert_eq!(hasher.verify(password("anything"), None).await, Ok(false));
    assert_eq!(hasher.computed(), 4);

    let (stand_in, real) = (stand_in(), parse(&hash).unwrap());
    assert_eq!(stand_in.algorithm, real.algorithm);
    assert_eq!(stand_in.version, real.version);
    assert_eq!(stand_in.params, real.params);
    assert_eq!(stand_in.salt.unwrap().len(), real.salt.unwrap().len());
    assert_eq!(stand_in.hash.unwrap().len(), real.hash.unwrap().len());
}

#[tokio::test]
async fn the_stand_in_lets_nobody_in() {
    let mut hasher = hasher(1, 0);
    let hash = hasher.hash(password(RIGHT)).await.unwrap();
    hasher.stand_in = parse(&hash).unwrap();
    assert_eq!(hasher.verify(password(RIGHT), None).await, Ok(false));
    assert_eq!(hasher.verify(password(RIGHT), Some(hash)).await, Ok(true));
}

#[tokio::test]
async fn hashes_of_the_reference_implementation_are_understood() {
    let hasher = hasher(1, 0);
    // From the test suite of the winner of the Password Hashing Competition.
    let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    assert_eq!(hasher.verify(password("password"), Some(hash.to_owned())).await, Ok(true));
    assert_eq!(hasher.verify(password("differentpassword"), Some(hash.to_owned())).await, Ok(false));
}

#[tokio::test]
async fn what_is_no_usable_hash_is_malformed_and_costs_nothing() {
    let hasher = hasher(1, 0);
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    let malformed = [
        String::new(),
        "password".to_owned(),
        "$argon2id$".to_owned(),
        "$argon2id$v=19$m=19456,t=2,p=1".to_owned(),
        format!("$argon2id$v=19$m=19456,t=2,p=1${salt}"),
        format!("$argon2i$v=19$m=19456,t=2,p=1${salt}${hash}"),
        format!("$argon2d$v=19$m=19456,t=2,p=1${salt}${hash}"),
        format!("$argon2id$v=16$m=19456,t=2,p=1${salt}${hash}"),
        format!("$argon2id$m=19456,t=2,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=0,t=2,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=262145,t=2,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=4294967295,t=2,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=19456,t=17,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=19456,t=2,p=17${salt}${hash}"),
        format!("$argon2id$v=19$m=19456,t=2,p=1${salt}${hash}$more"),
        format!("$2b$12${salt}{hash}"),
    ];
    for text in malformed {
        assert_eq!(
            hasher.verify(password(RIGHT), Some(text.clone())).await,
            Err(HashError::Malformed),
            "{text}"
        );
    }
    assert_eq!(hasher.computed(), 0);
    assert!(parse(&format!("$argon2id$v=19$m=262144,t=16,p=16${salt}${hash}")).is_ok());
}

#[tokio::test]
async fn s14_beyond_the_queue_nobody_waits() {
    let hasher = Arc::new(hasher(1, 1));
    let (release, blocked) = mpsc::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();

    let first = tokio::spawn({
        let hasher = Arc::clone(&hasher);
        async move {
            let work = move || {
                started.send(()).unwrap();
                blocked.recv().unwrap();
                Ok("first")
            };
            hasher.compute(work).await
        }
    });
    has_started.await.unwrap();

    let mut second = pin!(hasher.hash(password(RIGHT)));
    assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "the second waits");
    assert_eq!(hasher.hash(password(RIGHT)).await, Err(HashError::Overloaded));
    assert_eq!(hasher.verify(password(RIGHT), None).await, Err(HashError::Overloaded));

    release.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Ok("first"));
    assert!(second.await.is_ok());
    assert!(hasher.hash(password(RIGHT)).await.is_ok(), "there is room again");
}

#[tokio::test]
async fn who_hangs_up_makes_no_room_before_the_work_is_done() {
    let hasher = hasher(1, 0);
    let (release, blocked) = mpsc::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let work = move || {
        started.send(()).unwrap();
        blocked.recv().unwrap();
        Ok(())
    };
    tokio::select! {
        biased;
        _ = hasher.compute(work) => panic!("it is blocked"),
        started = has_started => started.unwrap(),
    }
    // The future is gone, the work is not.
    assert_eq!(hasher.hash(password(RIGHT)).await, Err(HashError::Overloaded));
    release.send(()).unwrap();
    let is_free_again = async {
        while hasher.hash(password(RIGHT)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_free_again).await.unwrap();
}

#[tokio::test]
async fn who_hangs_up_while_waiting_leaves_the_queue() {
    let hasher = hasher(1, 1);
    let turn = Arc::clone(&hasher.turns).acquire_owned().await.unwrap();
    {
        let mut waiting = pin!(hasher.hash(password(RIGHT)));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(hasher.places.available_permits(), 1);
    }
    assert_eq!(hasher.places.available_permits(), 2);
    drop(turn);
}

#[tokio::test]
#[should_panic(expected = "on purpose")]
async fn a_panic_reaches_the_caller() {
    let _: Result<(), _> = hasher(1, 0).compute(|| panic!("on purpose")).await;
}

#[test]
fn limits_without_bounds_are_bounded() {
    let hasher = hasher(usize::MAX, usize::MAX);
    assert_eq!(hasher.turns.available_permits(), Semaphore::MAX_PERMITS);
    assert_eq!(hasher.places.available_permits(), Semaphore::MAX_PERMITS);
}
