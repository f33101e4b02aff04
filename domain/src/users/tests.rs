//! What people's types accept, refuse and keep.

use chrono::TimeDelta;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn ada() -> User {
    let id = UserId::from_uuid(Uuid::from_u128(1));
    User::register(id, "ada@example.org".parse().unwrap(), "Ada".parse().unwrap(), at(0))
}

fn choose(text: &str) -> Result<NewPassword, PasswordError> {
    NewPassword::choose(text.to_owned(), &"ada.l@example.org".parse().unwrap(), &"acme".parse().unwrap())
}

#[test]
fn good_addresses_are_lowered() {
    for text in ["Ada@Example.org", "a+b.c@x-y.example", "root@localhost", "o'neil@a.b.c.d"] {
        let email: Email = text.parse().unwrap();
        assert_eq!(email.as_str(), text.to_lowercase());
    }
    let local = "a".repeat(64);
    assert!(format!("{local}@example.org").parse::<Email>().is_ok());
}

#[test]
fn bad_addresses_are_refused_for_what_is_wrong() {
    let long_local = format!("{}@example.org", "a".repeat(65));
    let long_label = format!("a@{}.org", "b".repeat(64));
    let too_long = format!("a@{}org", "abcd.".repeat(50));
    let cases = [
        ("", EmailError::AtSign),
        ("ada", EmailError::AtSign),
        ("a@b@example.org", EmailError::AtSign),
        ("@example.org", EmailError::LocalLength),
        (&long_local, EmailError::LocalLength),
        ("a..b@example.org", EmailError::LocalSyntax),
        (".a@example.org", EmailError::LocalSyntax),
        ("a b@example.org", EmailError::LocalSyntax),
        ("a\u{7}@example.org", EmailError::LocalSyntax),
        ("\"a\"@example.org", EmailError::LocalSyntax),
        ("a@", EmailError::DomainLength),
        ("a@example", EmailError::DomainSyntax),
        ("a@example.", EmailError::DomainSyntax),
        ("a@-b.org", EmailError::DomainSyntax),
        ("a@[127.0.0.1]", EmailError::DomainSyntax),
        ("a@example.org\n", EmailError::DomainSyntax),
        (&long_label, EmailError::DomainSyntax),
        (&too_long, EmailError::TooLong),
        ("é@example.org", EmailError::NotAscii),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Email>(), Err(error), "{text:?}");
    }
}

#[test]
fn names_are_trimmed_and_bounded_in_characters() {
    assert_eq!("  Ada Lovelace ".parse::<DisplayName>().unwrap().as_str(), "Ada Lovelace");
    assert_eq!(" \t ".parse::<DisplayName>(), Err(DisplayNameError::Empty));
    assert_eq!("a\nb".parse::<DisplayName>(), Err(DisplayNameError::ControlCharacter));
    assert!("é".repeat(80).parse::<DisplayName>().is_ok());
    assert_eq!("é".repeat(81).parse::<DisplayName>(), Err(DisplayNameError::TooLong));
}

#[test]
fn the_last_owner_stays() {
    let (tenant, user) = (TenantId::from_uuid(Uuid::nil()), UserId::from_uuid(Uuid::nil()));
    let owner = Membership::new(tenant, user, Role::Owner, at(0));
    assert_eq!(owner.change_role(Role::Admin, 1), Err(LastOwner));
    assert_eq!(owner.remove(1), Err(LastOwner));
    assert_eq!(owner.change_role(Role::Owner, 1), Ok(owner));
    assert_eq!(owner.change_role(Role::Admin, 2).map(|member| member.role()), Ok(Role::Admin));
    assert_eq!(owner.remove(2), Ok(()));
}

#[test]
fn passwords_are_judged_by_length_in_characters() {
    assert!(choose("all lowercase").is_ok());
    assert_eq!(choose("elevenchars").unwrap_err(), PasswordError::TooShort);
    assert!(choose(&"é".repeat(12)).is_ok());
    assert!(choose(&"é".repeat(128)).is_ok());
    assert_eq!(choose(&"é".repeat(129)).unwrap_err(), PasswordError::TooLong);
}

#[test]
fn passwords_that_name_the_account_are_refused() {
    assert_eq!(choose("my ADA.L password").unwrap_err(), PasswordError::ContainsEmail);
    assert_eq!(choose("hello-from-Acme-99").unwrap_err(), PasswordError::ContainsTenant);
    let short = NewPassword::choose(
        "adamant horses".to_owned(),
        &"ada@example.org".parse().unwrap(),
        &"acme".parse().unwrap(),
    );
    assert!(short.is_ok());
}

#[test]
fn debug_does_not_show_the_password() {
    let password = choose("correct horse battery").unwrap();
    assert!(!format!("{password:?}").contains("horse"));
    assert_eq!(password.expose(), "correct horse battery");
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Disable,
    Enable,
    Rename,
}

proptest! {
    #[test]
    fn any_life_of_a_user_keeps_the_invariants(
        moves in vec((select(&[Move::Disable, Move::Enable, Move::Rename][..]), 0..1000_i64), 0..40),
    ) {
        let mut user = ada();
        for (step, seconds) in moves {
            let (before, now) = (user.clone(), at(seconds));
            let result = match step {
                Move::Disable => user.clone().disable(now),
                Move::Enable => user.clone().enable(now),
                Move::Rename => Ok(user.clone().rename("Countess".parse().unwrap(), now)),
            };
            match result {
                Ok(next) => {
                    prop_assert_eq!(next.version(), before.version() + 1);
                    prop_assert!(next.updated_at() >= before.updated_at());
                    prop_assert_eq!(next.is_active() == before.is_active(), matches!(step, Move::Rename));
                    user = next;
                }
                Err(UserTransitionRefused::AlreadyDisabled) => prop_assert!(!before.is_active()),
                Err(UserTransitionRefused::AlreadyActive) => prop_assert!(before.is_active()),
            }
            prop_assert_eq!(user.id(), before.id());
            prop_assert_eq!(user.created_at(), before.created_at());
            prop_assert_eq!(&User::restore(user.parts().clone()), &user);
        }
    }

    #[test]
    fn a_tenant_never_runs_out_of_owners(
        moves in vec((0..4_usize, proptest::option::of(select(Role::ALL))), 0..40),
    ) {
        let member = |n: u128| {
            let (tenant, user) = (TenantId::from_uuid(Uuid::nil()), UserId::from_uuid(Uuid::from_u128(n)));
            Membership::new(tenant, user, if n == 0 { Role::Owner } else { Role::Member }, at(0))
        };
        let mut members: Vec<_> = (0..4).map(|n| Some(member(n))).collect();
        let owners = |members: &[Option<Membership>]| {
            members.iter().flatten().filter(|member| member.role() == Role::Owner).count() as u64
        };
        for (index, role) in moves {
            let Some(member) = members[index] else { continue };
            let count = owners(&members);
            match role {
                Some(role) => members[index] = Some(member.change_role(role, count).unwrap_or(member)),
                None if member.remove(count).is_ok() => members[index] = None,
                None => {}
            }
            prop_assert!(owners(&members) >= 1);
        }
    }

    #[test]
    fn addresses_round_trip(text in "[A-Za-z0-9+_-]{1,20}(\\.[a-z0-9]{1,9}){0,2}@[A-Za-z0-9]{1,20}(\\.[a-z]{2,9}){1,3}") {
        let email: Email = text.parse().unwrap();
        prop_assert_eq!(email.to_string().parse::<Email>(), Ok(email));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,20}@?(.|\\PC){0,100}") {
        if let Ok(email) = text.parse::<Email>() {
            prop_assert_eq!(email.as_str().parse(), Ok(email.clone()));
        }
        if let Ok(name) = text.parse::<DisplayName>() {
            prop_assert_eq!(name.as_str().parse(), Ok(name.clone()));
        }
        if let Ok(password) = choose(&text) {
            prop_assert_eq!(password.expose(), &text);
        }
    }
}
