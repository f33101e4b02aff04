//! People: their e-mail addresses and names, their membership of tenants, and what a new password must be.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use crate::access::Role;
use crate::ids::{TenantId, UserId};
use crate::tenants::Slug;

/// Why a text is not an [`Email`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// More than 254 characters.
    #[error("an e-mail address has at most 254 characters")]
    TooLong,
    /// A character beyond ASCII.
    #[error("an e-mail address must be ascii")]
    NotAscii,
    /// No `@`, or more than one.
    #[error("an e-mail address has exactly one `@`")]
    AtSign,
    /// The part before the `@` is empty or longer than 64.
    #[error("the part before the `@` must have 1 to 64 characters")]
    LocalLength,
    /// The part before the `@` is not atoms with single dots between them.
    #[error("the part before the `@` has a character or a dot where none may be")]
    LocalSyntax,
    /// The part after the `@` is empty or longer than 253.
    #[error("the part after the `@` must have 1 to 253 characters")]
    DomainLength,
    /// The part after the `@` is no host name with a dot, nor `localhost`.
    #[error("the part after the `@` must be a host name with a dot, or `localhost`")]
    DomainSyntax,
}

/// An e-mail address: the dot-atom form of RFC 5321 with a host name, in lower case.
///
/// Quoted local parts and address literals are refused. RFC 5321 lets hosts tell `Bob` from `bob`; as hardly any
/// does, and two accounts that differ by case confuse people, the local part is lowered too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

impl Email {
    /// The longest address, in characters.
    pub const MAX_LEN: usize = 254;

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    pub fn local_part(&self) -> &str {
        self.0.split_once('@').map_or("", |(local, _)| local)
    }
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        if !text.is_ascii() {
            return Err(EmailError::NotAscii);
        }
        if text.len() > Self::MAX_LEN {
            return Err(EmailError::TooLong);
        }
        let (local, domain) = text.split_once('@').ok_or(EmailError::AtSign)?;
        if domain.contains('@') {
            return Err(EmailError::AtSign);
        }
        if !(1..=64).contains(&local.len()) {
            return Err(EmailError::LocalLength);
        }
        if !local.split('.').all(is_atom) {
            return Err(EmailError::LocalSyntax);
        }
        if !(1..=253).contains(&domain.len()) {
            return Err(EmailError::DomainLength);
        }
        if !is_host(domain) {
            return Err(EmailError::DomainSyntax);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for Email {
    type Error = EmailError;

    fn try_from(text: String) -> Result<Self, EmailError> {
        text.parse()
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
}

fn is_host(text: &str) -> bool {
    (text.contains('.') || text.eq_ignore_ascii_case("localhost")) && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
}

/// Why a text is not a [`DisplayName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisplayNameError {
    /// Nothing but white space.
    #[error("a name must not be empty")]
    Empty,
    /// More than 80 characters.
    #[error("a name has at most 80 characters")]
    TooLong,
    /// A line break or another control character.
    #[error("a name must not have control characters")]
    ControlCharacter,
}

/// A name to show, of a person or a tenant: 1 to 80 characters, no white space around, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DisplayName(String);

impl DisplayName {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 80;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = DisplayNameError;

    /// Trims the white space around, then checks.
    fn from_str(text: &str) -> Result<Self, DisplayNameError> {
        let name = text.trim();
        if name.is_empty() {
            Err(DisplayNameError::Empty)
        } else if name.chars().nth(Self::MAX_CHARS).is_some() {
            Err(DisplayNameError::TooLong)
        } else if name.chars().any(char::is_control) {
            Err(DisplayNameError::ControlCharacter)
        } else {
            Ok(Self(name.to_owned()))
        }
    }
}

impl TryFrom<String> for DisplayName {
    type Error = DisplayNameError;

    fn try_from(text: String) -> Result<Self, DisplayNameError> {
        text.parse()
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a user may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserStatus {
    /// May sign in.
    Active,
    /// May not sign in until enabled again.
    Disabled {
        /// When that was decided.
        since: DateTime<Utc>,
    },
}

/// Why a user's state cannot change in this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserTransitionRefused {
    /// The user is disabled already.
    #[error("the user is already disabled")]
    AlreadyDisabled,
    /// The user is active already.
    #[error("the user is already active")]
    AlreadyActive,
}

/// A person with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    parts: UserParts,
}

/// A user's fields in the open, for repositories to save and load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserParts {
    /// The id.
    pub id: UserId,
    /// The address that the user signs in with.
    pub email: Email,
    /// The name to show.
    pub display_name: DisplayName,
    /// Whether the user may sign in.
    pub status: UserStatus,
    /// Grows by one with each change, from 1.
    pub version: u64,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl User {
    /// A new, active user.
    pub fn register(id: UserId, email: Email, display_name: DisplayName, now: DateTime<Utc>) -> Self {
        let status = UserStatus::Active;
        Self {
            parts: UserParts {
                id,
                email,
                display_name,
                status,
                version: 1,
                created_at: now,
                updated_at: now,
            },
        }
    }

    /// The user that was saved as `parts`.
    pub const fn restore(parts: UserParts) -> Self {
        Self { parts }
    }

    /// The fields, to save them.
    pub const fn parts(&self) -> &UserParts {
        &self.parts
    }

    /// The id.
    pub const fn id(&self) -> UserId {
        self.parts.id
    }

    /// The address that the user signs in with.
    pub const fn email(&self) -> &Email {
        &self.parts.email
    }

    /// The name to show.
    pub const fn display_name(&self) -> &DisplayName {
        &self.parts.display_name
    }

    /// Whether the user may sign in, and since when not.
    pub const fn status(&self) -> UserStatus {
        self.parts.status
    }

    /// Whether the user may sign in.
    pub const fn is_active(&self) -> bool {
        matches!(self.parts.status, UserStatus::Active)
    }

    /// Grows by one with each change, from 1.
    pub const fn version(&self) -> u64 {
        self.parts.version
    }

    /// When the account was made.
    pub const fn created_at(&self) -> DateTime<Utc> {
        self.parts.created_at
    }

    /// When it last changed.
    pub const fn updated_at(&self) -> DateTime<Utc> {
        self.parts.updated_at
    }

    /// Counts a change of the membership as a change of the user, so that two of them cannot overwrite each other.
    #[must_use]
    pub fn membership_changed(mut self, now: DateTime<Utc>) -> Self {
        self.parts.version += 1;
        self.parts.updated_at = self.parts.updated_at.max(now);
        self
    }

    /// Bars the user from signing in.
    ///
    /// It does not look at memberships: where the user is a tenant's owner, ask [`keeps_an_owner`] first.
    pub fn disable(mut self, now: DateTime<Utc>) -> Result<Self, UserTransitionRefused> {
        match self.parts.status {
            UserStatus::Disabled { .. } => Err(UserTransitionRefused::AlreadyDisabled),
            UserStatus::Active => {
                self.parts.status = UserStatus::Disabled { since: now };
                Ok(self.changed(now))
            }
        }
    }

    /// Lets the user sign in again.
    pub fn enable(mut self, now: DateTime<Utc>) -> Result<Self, UserTransitionRefused> {
        match self.parts.status {
            UserStatus::Active => Err(UserTransitionRefused::AlreadyActive),
            UserStatus::Disabled { .. } => {
                self.parts.status = UserStatus::Active;
                Ok(self.changed(now))
            }
        }
    }

    /// Gives the user another name, whatever their status.
    #[must_use]
    pub fn rename(mut self, display_name: DisplayName, now: DateTime<Utc>) -> Self {
        self.parts.display_name = display_name;
        self.changed(now)
    }

    fn changed(mut self, now: DateTime<Utc>) -> Self {
        self.parts.version += 1;
        // INVARIANT: the clocks of two servers may disagree, yet `updated_at` never goes back.
        self.parts.updated_at = self.parts.updated_at.max(now);
        self
    }
}

/// The change would leave the tenant without an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant must keep at least one owner")]
pub struct LastOwner;

/// Refuses to take the role `current` away for `next`, or for nothing, if that leaves the tenant without an owner.
///
/// `owners` is how many owners who may sign in the tenant has now, this one included. It must be counted in the
/// transaction that makes the change, with those rows locked; otherwise two owners can demote each other.
pub fn keeps_an_owner(current: Role, next: Option<Role>, owners: u64) -> Result<(), LastOwner> {
    let loses_an_owner = current == Role::Owner && next != Some(Role::Owner);
    if loses_an_owner && owners <= 1 { Err(LastOwner) } else { Ok(()) }
}

/// That a user belongs to a tenant, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    tenant_id: TenantId,
    user_id: UserId,
    role: Role,
    since: DateTime<Utc>,
}

impl Membership {
    /// The membership of a user who joins at `since`, or who was loaded as having joined then.
    pub const fn new(tenant_id: TenantId, user_id: UserId, role: Role, since: DateTime<Utc>) -> Self {
        Self { tenant_id, user_id, role, since }
    }

    /// The tenant.
    pub const fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// The member.
    pub const fn user_id(&self) -> UserId {
        self.user_id
    }

    /// What the member is in the tenant.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// When the member joined.
    pub const fn since(&self) -> DateTime<Utc> {
        self.since
    }

    /// Gives the member another role; for `owners` see [`keeps_an_owner`].
    pub fn change_role(self, role: Role, owners: u64) -> Result<Self, LastOwner> {
        keeps_an_owner(self.role, Some(role), owners)?;
        Ok(Self { role, ..self })
    }

    /// Ends the membership; for `owners` see [`keeps_an_owner`].
    pub fn remove(self, owners: u64) -> Result<(), LastOwner> {
        keeps_an_owner(self.role, None, owners)
    }
}

/// Why a password will not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer than 12 characters.
    #[error("a password has at least 12 characters")]
    TooShort,
    /// More than 128 characters.
    #[error("a password has at most 128 characters")]
    TooLong,
    /// It holds the part of the user's address before the `@`.
    #[error("a password must not contain the name in the e-mail address")]
    ContainsEmail,
    /// It holds the tenant's slug.
    #[error("a password must not contain the tenant's name")]
    ContainsTenant,
}

/// A password that somebody chose and that is good enough to be hashed.
///
/// After NIST SP 800-63B: length is all that counts, and what an attacker would try first for this account is
/// refused. There are no rules on composition, and a space is a character like others. The upper bound keeps the
/// cost of hashing bounded. The text is kept as given, and neither `Debug` nor an error shows it.
pub struct NewPassword(Zeroizing<String>);

impl NewPassword {
    /// The shortest password, in characters.
    pub const MIN_CHARS: usize = 12;
    /// The longest password, in characters.
    pub const MAX_CHARS: usize = 128;
    /// Shorter local parts are in too many good passwords by chance.
    const MIN_TELLING_LOCAL_PART: usize = 4;

    /// Checks what the user of `email` in the tenant `tenant` chose, whatever the case of its letters.
    pub fn choose(text: String, email: &Email, tenant: &Slug) -> Result<Self, PasswordError> {
        let text = Zeroizing::new(text);
        if text.chars().nth(Self::MIN_CHARS - 1).is_none() {
            return Err(PasswordError::TooShort);
        }
        if text.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(PasswordError::TooLong);
        }
        let lowered = Zeroizing::new(text.to_ascii_lowercase());
        let local = email.local_part();
        if local.len() >= Self::MIN_TELLING_LOCAL_PART && lowered.contains(local) {
            return Err(PasswordError::ContainsEmail);
        }
        if lowered.contains(tenant.as_str()) {
            return Err(PasswordError::ContainsTenant);
        }
        Ok(Self(text))
    }

    /// The password itself, for the hasher.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(<redacted>)")
    }
}

#[cfg(test)]
mod tests;
