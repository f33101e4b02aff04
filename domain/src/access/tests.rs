//! The role × action matrix against its golden file, and what a permit proves.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use super::*;

fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(n))
}

fn user(n: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(n))
}

fn principal(role: Role) -> Principal {
    Principal::verified(tenant(1), user(2), SessionId::from_uuid(Uuid::from_u128(3)), role)
}

fn run_of(owner: UserId) -> OwnedRun {
    OwnedRun { run: RunId::from_uuid(Uuid::from_u128(4)), owner }
}

fn render_matrix() -> String {
    let mut table = String::new();
    let mut line = |first: &str, cells: Vec<&str>| {
        let row = cells.iter().fold(format!("{first:<16}"), |row, cell| format!("{row} {cell:<8}"));
        writeln!(table, "{}", row.trim_end()).unwrap();
    };
    line("action", Role::ALL.iter().map(|role| role.as_str()).collect());
    for &action in Action::ALL {
        let cells = Role::ALL.iter().map(|&role| if allows(role, action) { "yes" } else { "-" });
        line(action.as_str(), cells.collect());
    }
    table
}

#[test]
fn the_role_action_matrix_is_the_golden_one() {
    let actual = render_matrix();
    assert_eq!(actual, include_str!("../../golden/role_action_matrix.txt"), "the matrix is now:\n{actual}");
}

#[test]
fn each_role_may_do_all_that_the_next_one_may() {
    for pair in Role::ALL.windows(2) {
        for &action in Action::ALL {
            assert!(allows(pair[0], action) || !allows(pair[1], action), "{pair:?} {action}");
        }
        assert!(pair[0].may_assign(pair[1]));
        assert!(!pair[1].may_assign(pair[0]));
    }
}

#[test]
fn every_action_has_a_privilege() {
    for action in Action::ALL {
        assert!(PRIVILEGED.contains(action), "{action}");
    }
}

#[test]
fn names_round_trip() {
    for &role in Role::ALL {
        assert_eq!(role.as_str().parse(), Ok(role));
    }
    for &action in Action::ALL {
        assert_eq!(action.as_str().parse(), Ok(action));
    }
    assert_eq!("root".parse::<Role>(), Err(UnknownName { kind: "role" }));
}

#[test]
fn a_permit_carries_its_resource_and_its_tenant() {
    let owner = principal(Role::Owner);
    let permit = owner.permit::<CloseTenant>(tenant(1)).unwrap();
    assert_eq!((permit.scope(), permit.granted_to()), (owner.scope(), user(2)));
    assert_eq!(permit.redeem(), tenant(1));
}

#[test]
fn even_an_owner_has_no_permit_for_another_tenant() {
    let denied = principal(Role::Owner).permit::<CloseTenant>(tenant(9)).unwrap_err();
    assert_eq!(denied, Denied::OtherTenant { action: Action::TenantClose });
}

#[test]
fn another_users_run_takes_the_wider_action() {
    let member = principal(Role::Member);
    assert!(member.permit::<ReadRun>(run_of(user(2))).is_ok());
    let denied = member.permit::<ReadRun>(run_of(user(9))).unwrap_err();
    assert_eq!(denied, Denied::NotOwner { action: Action::RunsRead });
    assert!(principal(Role::Operator).permit::<ReadRun>(run_of(user(9))).is_ok());
    assert!(principal(Role::Owner).permit::<GiveFeedback>(run_of(user(9))).is_err());
}

proptest! {
    #[test]
    fn a_permit_follows_the_matrix(role in select(Role::ALL), own: bool) {
        let caller = principal(role);
        let run = run_of(user(if own { 2 } else { 9 }));
        let expected = allows(role, Action::RunsCancel) && (own || allows(role, Action::RunsCancelAny));
        prop_assert_eq!(caller.permit::<CancelRun>(run).is_ok(), expected);
        let closes = caller.permit::<CloseTenant>(tenant(1)).is_ok();
        prop_assert_eq!(closes, allows(role, Action::TenantClose));
    }

    #[test]
    fn no_text_panics(text in ".{0,40}") {
        if let Ok(role) = text.parse::<Role>() {
            prop_assert_eq!(role.as_str(), &text);
        }
        if let Ok(action) = text.parse::<Action>() {
            prop_assert_eq!(action.as_str(), &text);
        }
    }
}
