//! Signing in, and what ends it.

use chrono::{DateTime, Utc};
use powerhouse_domain::access::{Principal, Role};
use powerhouse_domain::ids::SessionId;
use powerhouse_domain::tenants::{Plan, SuspensionReason};
use powerhouse_ports::platform::{RefreshDigest, Rotation, Standing};

use super::Stores;
use crate::contract::sample::{Office, at, next_id, office};

pub(super) fn digest() -> RefreshDigest {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(next_id().as_bytes());
    digest
}

async fn signed_in(stores: &Stores) -> (Office, RefreshDigest) {
    let office = office(&*stores.platform, Plan::Team).await;
    let digest = digest();
    stores.platform.open_session(&office.principal, &digest, at(1), at(1_000)).await.expect("session");
    (office, digest)
}

/// What the principal is, if its session, user and tenant all stand.
async fn current(stores: &Stores, principal: &Principal, now: DateTime<Utc>) -> Option<Standing> {
    let scope = principal.scope();
    let session = stores.platform.session(&scope, principal.session_id()).await.expect("session");
    let session = session.filter(|session| now < session.expires_at)?;
    assert_eq!(session.user_id, principal.user_id());
    stores.platform.standing(&scope, principal.user_id()).await.expect("standing")
}

async fn stands(stores: &Stores, office: &Office) -> bool {
    current(stores, &office.principal, at(10)).await.is_some()
}

/// Each token serves once; an old one that comes back ends the session for whoever holds the newest.
pub async fn refresh_tokens_rotate_and_reuse_ends_the_session(stores: &Stores) {
    let (office, first) = signed_in(stores).await;
    let (second, third) = (digest(), digest());
    let rotated = Rotation::Rotated(office.principal);
    assert_eq!(stores.platform.rotate(&first, &second, at(2)).await.expect("rotate"), rotated);
    assert_eq!(stores.platform.rotate(&second, &third, at(3)).await.expect("rotate"), rotated);
    assert_eq!(
        stores.platform.rotate(&first, &digest(), at(4)).await.expect("rotate"),
        Rotation::Reused(office.principal)
    );
    assert_eq!(stores.platform.rotate(&third, &digest(), at(5)).await.expect("rotate"), Rotation::Unknown);
    assert!(!stands(stores, &office).await);
    assert_eq!(stores.platform.rotate(&digest(), &digest(), at(5)).await.expect("rotate"), Rotation::Unknown);
}

/// A session that has ended or expired is unknown, whichever of its tokens is presented.
pub async fn an_ended_sessions_tokens_are_unknown(stores: &Stores) {
    let (office, first) = signed_in(stores).await;
    let (second, third) = (digest(), digest());
    stores.platform.rotate(&first, &second, at(2)).await.expect("rotate");
    stores.platform.rotate(&second, &third, at(3)).await.expect("rotate");
    for token in [&first, &second, &third] {
        let late = stores.platform.rotate(token, &digest(), at(1_000)).await.expect("rotate");
        assert_eq!(late, Rotation::Unknown, "it has expired");
    }
    assert!(stands(stores, &office).await, "an expired token ends nothing that is not over");
    stores.platform.end_session(office.principal.session_id(), at(4)).await.expect("end");
    for token in [&first, &second, &third] {
        let late = stores.platform.rotate(token, &digest(), at(5)).await.expect("rotate");
        assert_eq!(late, Rotation::Unknown, "it has ended");
    }
}

/// A token that comes back ends its own session; the same user's others go on.
pub async fn sessions_end_one_by_one(stores: &Stores) {
    let (office, first) = signed_in(stores).await;
    let elsewhere = Principal::verified(
        office.tenant.id(),
        office.owner.id(),
        SessionId::from_uuid(next_id()),
        Role::Owner,
    );
    let other = digest();
    stores.platform.open_session(&elsewhere, &other, at(1), at(1_000)).await.expect("session");
    let next = digest();
    stores.platform.rotate(&first, &next, at(2)).await.expect("rotate");
    stores.platform.rotate(&next, &digest(), at(3)).await.expect("rotate");
    assert_eq!(
        stores.platform.rotate(&first, &digest(), at(4)).await.expect("rotate"),
        Rotation::Reused(office.principal)
    );
    assert!(!stands(stores, &office).await);
    let rotated = stores.platform.rotate(&other, &digest(), at(5)).await.expect("rotate");
    assert_eq!(rotated, Rotation::Rotated(elsewhere));
}

/// A client whose answer was lost tries again with the token that it has.
pub async fn the_token_before_serves_after_a_lost_answer(stores: &Stores) {
    let (office, first) = signed_in(stores).await;
    let (lost, second) = (digest(), digest());
    let rotated = Rotation::Rotated(office.principal);
    assert_eq!(stores.platform.rotate(&first, &lost, at(2)).await.expect("rotate"), rotated);
    assert_eq!(stores.platform.rotate(&first, &second, at(3)).await.expect("rotate"), rotated);
    assert_eq!(stores.platform.rotate(&second, &digest(), at(4)).await.expect("rotate"), rotated);
    assert!(stands(stores, &office).await);
}

/// Signing out, time, and a suspended tenant each end it.
pub async fn an_ended_session_is_nobody(stores: &Stores) {
    let (office, token) = signed_in(stores).await;
    assert!(stands(stores, &office).await);
    stores.platform.end_session(office.principal.session_id(), at(2)).await.expect("end");
    stores
        .platform
        .end_session(office.principal.session_id(), at(3))
        .await
        .expect("ending twice is no error");
    assert!(!stands(stores, &office).await);
    assert_eq!(stores.platform.rotate(&token, &digest(), at(4)).await.expect("rotate"), Rotation::Unknown);

    let (expired, _) = signed_in(stores).await;
    assert!(current(stores, &expired.principal, at(1_000)).await.is_none());

    let (suspended, _) = signed_in(stores).await;
    let mut tx = stores.tenants.begin(&suspended.principal.scope()).await.expect("begin");
    let tenant = suspended.tenant.clone().suspend(SuspensionReason::Security, at(5)).expect("suspend");
    tx.update_tenant(&tenant).await.expect("update");
    tx.commit().await.expect("commit");
    assert!(!stands(stores, &suspended).await);
    let found =
        stores.platform.credentials(tenant.slug(), suspended.owner.email()).await.expect("credentials");
    assert!(!found.expect("they are there").is_active);
}

/// Who was removed or disabled is signed out everywhere.
pub async fn a_removed_or_disabled_user_is_nobody(stores: &Stores) {
    let (disabled, _) = signed_in(stores).await;
    let mut tx = stores.tenants.begin(&disabled.principal.scope()).await.expect("begin");
    let user = disabled.owner.clone().disable(at(5)).expect("disable");
    tx.users().update(&user, &disabled.membership, 1).await.expect("update");
    tx.commit().await.expect("commit");
    assert!(!stands(stores, &disabled).await);

    let (removed, token) = signed_in(stores).await;
    let mut tx = stores.tenants.begin(&removed.principal.scope()).await.expect("begin");
    assert!(tx.users().remove(removed.owner.id()).await.expect("remove"));
    tx.commit().await.expect("commit");
    assert!(!stands(stores, &removed).await);
    assert_eq!(stores.platform.rotate(&token, &digest(), at(6)).await.expect("rotate"), Rotation::Unknown);
}

/// A change of role shows in the next request, whatever the token says.
pub async fn a_role_is_that_of_now(stores: &Stores) {
    let (office, _) = signed_in(stores).await;
    let membership = office.membership.change_role(Role::Viewer, 2).expect("a second owner, so to say");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let user = office.owner.clone().membership_changed(at(5));
    tx.users().update(&user, &membership, 1).await.expect("update");
    tx.commit().await.expect("commit");
    let standing = current(stores, &office.principal, at(10)).await.expect("somebody");
    assert_eq!(standing.role, Role::Viewer);
    assert_eq!(standing.plan, Plan::Team);
}

/// The same address in two tenants is two people.
pub async fn credentials_are_those_of_the_named_tenant(stores: &Stores) {
    let one = office(&*stores.platform, Plan::Team).await;
    let other = office(&*stores.platform, Plan::Team).await;
    assert_eq!(one.owner.email(), other.owner.email());
    for office in [&one, &other] {
        let found = stores.platform.credentials(office.tenant.slug(), office.owner.email()).await;
        let found = found.expect("credentials").expect("they are there");
        assert_eq!((found.tenant_id, found.user_id), (office.tenant.id(), office.owner.id()));
        assert_eq!((found.role, found.is_active, found.password_hash.as_str()), (Role::Owner, true, "hash"));
    }
    let nobody = "nobody@example.org".parse().expect("an address");
    assert_eq!(stores.platform.credentials(one.tenant.slug(), &nobody).await.expect("credentials"), None);
    stores.platform.ping().await.expect("ping");
}

/// The oldest first, as many as asked for, with every token they had; what is still open, or ended early, stays.
pub async fn expired_sessions_are_purged_and_no_others(stores: &Stores) {
    let (office, _) = signed_in(stores).await;
    let open = async |expires_at: i64| {
        let digest = digest();
        let session = SessionId::from_uuid(next_id());
        let principal =
            Principal::verified(office.tenant.id(), office.owner.id(), session, office.principal.role());
        let expires_at = at(expires_at);
        stores.platform.open_session(&principal, &digest, at(1), expires_at).await.expect("session");
        (principal, digest)
    };
    let (first, token) = open(100).await;
    let next = digest();
    stores.platform.rotate(&token, &next, at(2)).await.expect("rotate");
    let (second, _) = open(200).await;
    let (third, _) = open(300).await;
    let is_there = async |principal: &Principal| {
        let found = stores.platform.session(&principal.scope(), principal.session_id()).await;
        found.expect("session").is_some()
    };
    let purge = async |before: i64, limit: u32| {
        stores.platform.purge_sessions(at(before), limit).await.expect("purge")
    };
    assert_eq!(purge(100, 10).await, 0);
    assert_eq!(purge(300, 1).await, 1);
    assert!(!is_there(&first).await && is_there(&second).await);
    for token in [&token, &next] {
        let late = stores.platform.rotate(token, &digest(), at(3)).await.expect("rotate");
        assert_eq!(late, Rotation::Unknown);
    }
    assert_eq!((purge(300, 10).await, purge(300, 10).await), (1, 0));
    assert!(!is_there(&second).await && is_there(&third).await && stands(stores, &office).await);
}
