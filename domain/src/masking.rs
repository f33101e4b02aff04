//! Finds personal data and secrets by their form, and puts placeholders in their place.
//!
//! [`mask`] does so for good, as for logs and for texts that are made into vectors. [`Veil`] numbers what it takes out of a request to a model, and puts it back into the
//! reply. Both take time that grows with the length of the text and no faster: one automaton looks for all forms at once.

mod find;
mod veil;

pub use find::{Found, find};
pub use veil::{Unveiling, Veil};

use std::borrow::Cow;

use crate::access::named_enum;

named_enum! {
    /// What is looked for.
    Class as "class of data" {
        /// Addresses of mail.
        Email = "email",
        /// Telephone numbers: with `+` and the country's code, or as they are written in North America.
        Phone = "phone",
        /// Numbers of payment cards (ISO/IEC 7812), by their check digit.
        Card = "card",
        /// Account numbers (ISO 13616), by their country's length and their check digits.
        Iban = "iban",
        /// Social security numbers of the United States.
        Ssn = "ssn",
        /// Public addresses of the Internet. Private and loopback ones name nobody.
        Ip = "ip",
        /// Tokens, passwords and keys, by what they begin with or what is said before them.
        Secret = "secret",
    }
}

impl Class {
    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// What stands in its place where it is not put back: the same for all of the class.
    pub fn placeholder(self) -> String {
        format!("<{}>", self.label())
    }

    /// What its placeholders are called.
    const fn label(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
            Self::Card => "CARD",
            Self::Iban => "IBAN",
            Self::Ssn => "SSN",
            Self::Ip => "IP",
            Self::Secret => "SECRET",
        }
    }
}

/// Some of the classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u8);

impl Classes {
    /// None.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self((1 << Class::ALL.len()) - 1);

    /// Whether this one is among them.
    pub const fn has(self, class: Class) -> bool {
        self.0 & class.bit() != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.iter().copied().filter(move |class| self.has(*class))
    }
}

impl FromIterator<Class> for Classes {
    fn from_iter<I: IntoIterator<Item = Class>>(classes: I) -> Self {
        Self(classes.into_iter().fold(0, |bits, class| bits | class.bit()))
    }
}

/// What a tenant has masked in what is sent to models: nothing, until it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskingRules {
    /// The classes.
    pub classes: Classes,
    /// Counts changes, from 0.
    pub version: u64,
}

impl MaskingRules {
    /// Puts other classes in their place.
    #[must_use]
    pub fn replaced(self, classes: Classes) -> Self {
        Self { classes, version: self.version + 1 }
    }
}

/// A pass may bring two neighbours together that are found only then. More than this are of texts made for it.
const MAX_PASSES: usize = 4;

/// The text with what is found replaced. What stands in its place is never found.
fn replaced(
    text: &str,
    classes: Classes,
    mut placeholder: impl FnMut(Class, &str) -> String,
) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_PASSES {
        let found = find(&text, classes);
        if found.is_empty() {
            break;
        }
        let mut masked = String::with_capacity(text.len());
        let mut from = 0;
        for Found { class, range } in found {
            masked.push_str(&text[from..range.start]);
            masked.push_str(&placeholder(class, &text[range.clone()]));
            from = range.end;
        }
        masked.push_str(&text[from..]);
        text = Cow::Owned(masked);
    }
    text
}

/// The text with `<EMAIL>`, `<SECRET>` and the like in the place of what is found.
pub fn mask(text: &str, classes: Classes) -> Cow<'_, str> {
    replaced(text, classes, |class, _| class.placeholder())
}

#[cfg(test)]
mod tests;
