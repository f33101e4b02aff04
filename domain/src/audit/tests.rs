//! Trails that are whole, and every way of their not being so.

use chrono::TimeDelta;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

/// What tells one entry from another: time, actor, action, and a text or two.
type Seed = (i64, u8, usize, String, Option<String>);

fn entry((second, who, action, text, request): Seed) -> Entry {
    let user = UserId::from_uuid(Uuid::from_u128(who.into()));
    let session = (who % 2 == 0).then(|| SessionId::from_uuid(Uuid::from_u128(9)));
    let actor = if who == 0 { Actor::Platform } else { Actor::User { user, session } };
    let action = AuditAction::ALL[action % AuditAction::ALL.len()];
    Entry::new(actor, action, tenant(7), at(second)).asked_by(request).with("note", text)
}

fn trail(of: TenantId, seeds: Vec<Seed>) -> Vec<AuditRecord> {
    let mut head = Head::genesis(of);
    seeds
        .into_iter()
        .map(|seed| {
            let record = head.next(of, entry(seed));
            head = Head::after(&record);
            record
        })
        .collect()
}

fn verify<'a>(records: impl IntoIterator<Item = &'a AuditRecord>) -> Result<Option<Verified>, Broken> {
    let mut verifier = Verifier::default();
    records.into_iter().try_for_each(|record| verifier.add(record))?;
    Ok(verifier.verified())
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let one = (0..1_000_i64, 0..4_u8, 0..99_usize, ".{0,8}", proptest::option::of("[a-z]{1,3}"));
    proptest::collection::vec(one, 2..12)
}

/// The record with one thing in it changed, whichever `which` says.
fn changed(record: &AuditRecord, which: u8) -> AuditRecord {
    let mut record = record.clone();
    let flipped = |hash: AuditHash| {
        let mut bytes = *hash.as_bytes();
        bytes[31] ^= 1;
        AuditHash::from_bytes(bytes)
    };
    let entry = &mut record.entry;
    match which % 11 {
        0 => record.tenant = tenant(8),
        1 => record.seq += 1,
        2 => entry.at += TimeDelta::microseconds(1),
        3 => {
            entry.actor = match entry.actor {
                Actor::Platform => Actor::User { user: UserId::from_uuid(Uuid::nil()), session: None },
                Actor::User { .. } => Actor::Platform,
            };
        }
        4 => {
            entry.action = match entry.action {
                AuditAction::UserAdded => AuditAction::UserRemoved,
                _ => AuditAction::UserAdded,
            };
        }
        5 => entry.resource.push('x'),
        6 => {
            entry.correlation_id = match entry.correlation_id {
                Some(_) => None,
                None => Some(String::new()),
            };
        }
        7 => entry.details.clear(),
        8 => entry.details.extend([("noted".to_owned(), String::new())]),
        9 => record.previous = flipped(record.previous),
        _ => record.hash = flipped(record.hash),
    }
    record
}

proptest! {
    #[test]
    fn a_trail_as_it_was_written_is_whole(seeds in seeds()) {
        let records = trail(tenant(1), seeds);
        let verified = verify(&records).unwrap().unwrap();
        prop_assert_eq!((verified.first, verified.anchor), (1, Head::genesis(tenant(1)).hash));
        prop_assert_eq!(verified.head, Head::after(records.last().unwrap()));
        prop_assert!(records.is_sorted_by_key(AuditRecord::place), "in the order of their places");
    }

    #[test]
    fn any_change_of_any_record_is_found(seeds in seeds(), index: prop::sample::Index, which: u8) {
        let mut records = trail(tenant(1), seeds);
        let index = index.index(records.len());
        records[index] = changed(&records[index], which);
        let seq = u64::try_from(index).unwrap() + 1;
        let broken = verify(&records).unwrap_err();
        // A first record of another number or tenant may begin another trail, to which the next does not belong.
        prop_assert!(broken.seq == seq || broken.seq == seq + 1, "{} for {}", broken, seq);
    }

    #[test]
    fn a_record_that_is_missing_or_there_twice_or_moved_is_found(seeds in seeds(), index: prop::sample::Index) {
        let records = trail(tenant(1), seeds);
        let index = index.index(records.len() - 1);
        let mut doubled = records.clone();
        doubled.insert(index, records[index].clone());
        prop_assert!(verify(&doubled).is_err());
        let mut swapped = records.clone();
        swapped.swap(index, index + 1);
        prop_assert!(verify(&swapped).is_err());
        // Without its first record a trail looks like one whose older records are not kept, and says so.
        let mut shorter = records.clone();
        shorter.remove(index);
        match verify(&shorter) {
            Ok(verified) => {
                let verified = verified.unwrap();
                prop_assert_eq!((index, verified.first, verified.anchor), (0, 2, records[0].hash));
            }
            Err(broken) => prop_assert_eq!(broken.fault, Fault::Number { expected: u64::try_from(index).unwrap() + 1 }),
        }
    }

    #[test]
    fn a_record_that_was_put_in_is_found(seeds in seeds(), index: prop::sample::Index, seed in (0..9_i64, 0..4_u8, 0..9_usize, "x", Just(None))) {
        let mut records = trail(tenant(1), seeds);
        let index = index.index(records.len());
        let before = if index == 0 { Head::genesis(tenant(1)) } else { Head::after(&records[index - 1]) };
        records.insert(index, before.next(tenant(1), entry(seed)));
        prop_assert!(verify(&records).is_err());
    }

    #[test]
    fn what_was_cut_off_at_the_end_is_found_by_a_head_that_is_known(seeds in seeds()) {
        let mut records = trail(tenant(1), seeds);
        let known = Head::after(records.last().unwrap());
        records.pop();
        let verified = verify(&records).unwrap().unwrap();
        prop_assert_ne!(verified.head, known);
        prop_assert!(records.iter().all(|record| record.hash != known.hash));
    }

    #[test]
    fn no_text_of_a_hash_or_a_place_panics(text in ".{0,70}") {
        let _ = (text.parse::<AuditHash>(), text.parse::<AuditPlace>());
    }
}

/// Other implementations may check a trail by this: it never changes.
#[test]
fn the_first_record_of_a_known_trail_has_a_known_hash() {
    let principal = Principal::verified(
        tenant(1),
        UserId::from_uuid(Uuid::from_u128(2)),
        SessionId::from_uuid(Uuid::from_u128(3)),
        crate::access::Role::Owner,
    );
    let entry = Entry::by(&principal, AuditAction::UserChanged, principal.user_id(), at(1_700_000_000))
        .changing(&["role", "display_name"])
        .with("role", "admin")
        .asked_by(Some("order-17".to_owned()));
    let record = Head::genesis(tenant(1)).next(tenant(1), entry);
    assert_eq!(
        (record.previous.to_string().as_str(), record.hash.to_string().as_str()),
        (
            "c497d44f52f614f9633557c0e16b4d7b1273371acb7fc9fcc20975801c63618d",
            "ce88336da0f47b4e8a1e73ed9e47e163d74b69ebfa93339d6949d2cb2cd57b71"
        )
    );
}

#[test]
fn time_does_not_go_back_in_a_trail() {
    let records = trail(tenant(1), vec![(9, 1, 0, String::new(), None), (3, 1, 0, String::new(), None)]);
    assert_eq!(records[1].entry.at, at(9));
    let mut older = records[1].clone();
    older.entry.at = at(3);
    older.hash = AuditHash::of(&older);
    let broken = verify([&records[0], &older]).unwrap_err();
    assert_eq!(broken, Broken { seq: 2, fault: Fault::Time });
}

#[test]
fn trails_of_two_tenants_differ_from_the_first_record_on() {
    let seed = || vec![(1, 1, 0, String::new(), None)];
    let (one, other) = (trail(tenant(1), seed()), trail(tenant(2), seed()));
    assert_ne!(one[0].previous, other[0].previous);
    assert_eq!(verify([&one[0], &other[0]]).unwrap_err().fault, Fault::Tenant);
    // A first record that follows something else than the beginning.
    let mut forged = one[0].clone();
    forged.previous = other[0].hash;
    forged.hash = AuditHash::of(&forged);
    assert_eq!(verify([&forged]).unwrap_err().fault, Fault::Link);
}

#[test]
fn a_hash_and_a_place_and_an_actor_are_what_their_texts_say() {
    let hash = Head::genesis(tenant(1)).hash;
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert_eq!(hash.to_string().to_uppercase().parse::<AuditHash>(), Err(NotAHash));
    let place = AuditPlace { at: at(5) + TimeDelta::microseconds(7), seq: 3 };
    assert_eq!(place.to_string().parse(), Ok(place));
    for actor in [Actor::Platform, Actor::User { user: UserId::from_uuid(Uuid::from_u128(5)), session: None }]
    {
        assert_eq!(Actor::named(&actor.to_string(), actor.session()), Ok(actor));
    }
    assert!(Actor::named("somebody", None).is_err());
}
