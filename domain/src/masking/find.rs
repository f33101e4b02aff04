//! One automaton finds what may be meant; a check says whether it is.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::sync::LazyLock;

use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input, PatternID};

use super::{Class, Classes};

/// Something found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub class: Class,
    /// Where it is, in bytes.
    pub range: Range<usize>,
}

/// Says which part of a candidate is meant, if any.
type Check = fn(&str, Range<usize>) -> Option<Range<usize>>;

struct Form {
    class: Class,
    pattern: &'static str,
    check: Check,
}

/// In this order where several begin at the same place.
///
/// Each is bounded until it is sure to match, so that a search never looks far beyond what it finds. None needs tables of
/// Unicode.
const FORMS: &[Form] = &[
    Form {
        class: Class::Email,
        // A URL has `%40` for the sign.
        pattern: "[^\\x00-\\x20<>()\\[\\]{},;:\"'`@\\\\/|=&?!*#^~]{1,64}(?:@|%40)\
                  (?-u:[A-Za-z0-9-]+(?:\\.[A-Za-z0-9-]+)*\\.[A-Za-z]{2,24})",
        check: whole,
    },
    Form {
        class: Class::Secret,
        pattern: "-----BEGIN (?-u:[A-Z0-9 ]{0,40})PRIVATE KEY-----(?s:.*?)\
                  (?:-----END (?-u:[A-Z0-9 ]{0,40})PRIVATE KEY-----|\\z)",
        check: whole,
    },
    Form {
        class: Class::Secret,
        pattern: "(?-u:\\beyJ[A-Za-z0-9_-]{7,256}\\.[A-Za-z0-9_-]{4,}(?:\\.[A-Za-z0-9_-]*)*)",
        check: whole,
    },
    Form {
        class: Class::Secret,
        pattern: "(?-u:\\b(?:(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\\b|gh[pousr]_[A-Za-z0-9]{20,}|\
                  github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|\
                  sk-[A-Za-z0-9_-]{12,}|[srp]k_(?:live|test)_[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{35,}|hf_[A-Za-z0-9]{30,}|\
                  npm_[A-Za-z0-9]{30,}|whsec_[A-Za-z0-9+/=]{16,}))",
        check: whole,
    },
    Form {
        class: Class::Secret,
        pattern: "(?i-u:authorization)\\\\?[\"']?\\x20{0,3}[:=]\\x20{0,3}\\\\?[\"']?\
                  (?:(?i-u:bearer|basic|digest|token)\\x20{1,3})?[^\\x00-\\x20\"'\\\\,;<>]{12,}",
        check: assigned,
    },
    Form {
        class: Class::Secret,
        pattern: "(?i-u:\\bbearer)\\x20{1,3}(?-u:[A-Za-z0-9._~+/=-]{16,})",
        check: after_blank,
    },
    Form {
        class: Class::Secret,
        pattern: "(?i-u:password|passwd|passphrase|api[_-]?key|client[_-]?secret|secret[_-]?(?:access[_-]?)?key|\
                  (?:access|refresh|auth)[_-]?token|private[_-]?key)\
                  \\\\?[\"']?\\x20{0,3}(?:[:=]|%3[Dd])\\x20{0,3}\\\\?[\"']?[^\\x00-\\x20\"'\\\\&,;{}<>]{6,}",
        check: assigned,
    },
    Form { class: Class::Ip, pattern: "(?-u:(?:[0-9]{1,3}\\.){3}[0-9]{1,3})", check: ip_v4 },
    Form { class: Class::Ssn, pattern: "(?-u:[0-9]{3}-[0-9]{2}-[0-9]{4})", check: ssn },
    Form { class: Class::Card, pattern: "(?-u:[2-6](?:(?:[ +-]|%20)?[0-9]){12,18})", check: card },
    Form { class: Class::Iban, pattern: "(?-u:\\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30})", check: iban },
    Form { class: Class::Phone, pattern: "(?-u:\\+[1-9](?:[ ./()-]{0,2}[0-9]){7,14})", check: number },
    Form {
        class: Class::Phone,
        pattern: "(?-u:(?:\\([2-9][0-9]{2}\\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4})",
        check: number,
    },
    Form { class: Class::Ip, pattern: "(?-u:(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})", check: ip_v6 },
];

/// The first of the forms that are mostly digits: where one of these is not meant, another may be.
const FIRST_OF_DIGITS: usize = 7;

#[expect(clippy::expect_used, reason = "the patterns are constants, and a test compiles them")]
static AUTOMATON: LazyLock<Regex> = LazyLock::new(|| {
    let patterns: Vec<_> = FORMS.iter().map(|form| form.pattern).collect();
    Regex::new_many(&patterns).expect("the patterns are good")
});

/// What is found in a text, from left to right, without overlaps.
pub fn find(text: &str, classes: Classes) -> Vec<Found> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(candidate) = AUTOMATON.search(&Input::new(text).range(at..)) {
        let pattern = candidate.pattern().as_usize();
        let found = checked(text, classes, pattern, candidate.range())
            .or_else(|| another(text, classes, pattern, candidate.start()));
        at = match found {
            Some(found) => {
                let end = found.range.end;
                all.push(found);
                end
            }
            None => text.ceil_char_boundary(candidate.start() + 1),
        };
    }
    all
}

fn checked(text: &str, classes: Classes, pattern: usize, range: Range<usize>) -> Option<Found> {
    let Form { class, check, .. } = FORMS.get(pattern)?;
    let range = if classes.has(*class) { check(text, range)? } else { return None };
    Some(Found { class: *class, range })
}

/// What another form finds at the same place.
fn another(text: &str, classes: Classes, refused: usize, start: usize) -> Option<Found> {
    let others = (FIRST_OF_DIGITS..FORMS.len()).filter(|pattern| *pattern != refused);
    others.filter(|_| refused >= FIRST_OF_DIGITS).find_map(|pattern| {
        let anchored = Anchored::Pattern(PatternID::new(pattern).ok()?);
        let candidate = AUTOMATON.search(&Input::new(text).range(start..).anchored(anchored))?;
        checked(text, classes, pattern, candidate.range())
    })
}

#[expect(clippy::unnecessary_wraps, reason = "it is a check like the others")]
fn whole(_: &str, range: Range<usize>) -> Option<Range<usize>> {
    Some(range)
}

/// The value after a sign that assigns it, without its quotes and the name of its scheme.
fn assigned(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let candidate = &text[range.clone()];
    let sign = candidate.find([':', '=', '%'])?;
    let skipped = if candidate[sign..].starts_with('%') { 3 } else { 1 };
    let value = candidate[sign + skipped..].trim_start_matches([' ', '"', '\'', '\\']);
    // No value has a blank in it: what is before one is the scheme.
    let value = value.rsplit(' ').next()?;
    Some(range.end - value.len()..range.end)
}

/// What is after a blank.
fn after_blank(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let value = text[range.clone()].rsplit(' ').next()?;
    Some(range.end - value.len()..range.end)
}

/// Whether something begins here: nothing goes before it that it could be a part of. Terminals' colours are nothing.
fn begins(text: &str, at: usize, parts: &[char]) -> bool {
    let before = &text[..at];
    let is_colour = || {
        before.rfind('\x1b').is_some_and(|escape| {
            before[escape..].strip_prefix("\x1b[").and_then(|rest| rest.strip_suffix('m')).is_some_and(
                |inner| inner.len() <= 8 && inner.bytes().all(|b| b.is_ascii_digit() || b == b';'),
            )
        })
    };
    match before.chars().next_back() {
        Some('m') => is_colour(),
        Some(last) => !last.is_alphanumeric() && last != '_' && !parts.contains(&last),
        None => true,
    }
}

fn ends(text: &str, at: usize) -> bool {
    !text[at..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
}

/// Whether a number goes on here after a sign.
fn goes_on(text: &str, at: usize, sign: char) -> bool {
    text[at..].strip_prefix(sign).is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()))
}

fn number(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    (begins(text, range.start, &['+', '.', '-']) && ends(text, range.end)).then_some(range)
}

fn ip_v4(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let is_whole =
        begins(text, range.start, &['.', '-']) && ends(text, range.end) && !goes_on(text, range.end, '.');
    let address: IpAddr = text[range.clone()].parse().ok()?;
    (is_whole && names_somebody(address)).then_some(range)
}

fn ip_v6(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let is_whole = begins(text, range.start, &[':', '.'])
        && ends(text, range.end)
        && !text[range.end..].starts_with(':');
    let address: Ipv6Addr = text[range.clone()].parse().ok()?;
    // Two words around `::` are a path in a program's text.
    let groups = text[range.clone()].split(':').filter(|group| !group.is_empty()).count();
    (is_whole && groups > 2 && names_somebody(address.into())).then_some(range)
}

/// Whether it is an address outside, and not one of a machine's own network.
fn names_somebody(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => {
            !(v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified())
        }
    }
}

fn ssn(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let number = &text[range.clone()];
    let is_given = !matches!(&number[..3], "000" | "666")
        && !number.starts_with('9')
        && &number[4..6] != "00"
        && &number[7..] != "0000";
    let is_whole =
        begins(text, range.start, &['-', '.']) && ends(text, range.end) && !goes_on(text, range.end, '-');
    (is_given && is_whole).then_some(range)
}

/// The longest part of 13 digits or more whose last is the check digit of the others (Luhn).
fn card(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    if !begins(text, range.start, &['.']) {
        return None;
    }
    // Three bytes that stand for a blank have digits too.
    let plain = text[range.clone()].replace("%20", "\0\0\0");
    let digits: Vec<(usize, u32)> =
        plain.char_indices().filter_map(|(at, c)| Some((at, c.to_digit(10)?))).collect();
    // Groups are parted in one way.
    let parted = |at: usize| &text[range.start + digits[at].0 + 1..range.start + digits[at + 1].0];
    let ways: Vec<&str> = (0..digits.len() - 1).map(parted).collect();
    (13..=digits.len()).rev().find_map(|count| {
        let end = range.start + digits[count - 1].0 + 1;
        let mut signs = ways[..count - 1].iter().filter(|sign| !sign.is_empty());
        let is_one_way = signs.next().is_none_or(|first| signs.all(|sign| sign == first));
        let is_whole = is_one_way && !text[end..].starts_with(|next: char| next.is_ascii_digit());
        let sum: u32 = digits[..count]
            .iter()
            .rev()
            .enumerate()
            .map(|(index, (_, digit))| match index % 2 {
                0 => *digit,
                _ => digit * 2 / 10 + digit * 2 % 10,
            })
            .sum();
        (is_whole && sum.is_multiple_of(10)).then_some(range.start..end)
    })
}

/// How many characters the numbers of each country have (the SWIFT registry of IBANs).
const LENGTHS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FO18\
    FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27\
    MT31MU30NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20";

fn iban(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let country = &text[range.start..range.start + 2];
    let known = LENGTHS.as_bytes().chunks(4).find(|entry| entry.starts_with(country.as_bytes()))?;
    let length: usize = std::str::from_utf8(&known[2..]).ok()?.parse().ok()?;
    let characters: Vec<(usize, char)> =
        text[range.clone()].char_indices().filter(|(_, c)| *c != ' ').take(length).collect();
    let end = range.start + characters.last()?.0 + 1;
    if characters.len() < length || !ends(text, end) {
        return None;
    }
    // Country and check digits go last, letters count from 10, and the rest by 97 is 1 (ISO/IEC 7064).
    let moved = characters[4..].iter().chain(&characters[..4]);
    let rest = moved.fold(0_u32, |rest, (_, c)| match c.to_digit(36) {
        Some(value @ 0..=9) => (rest * 10 + value) % 97,
        Some(value) => (rest * 100 + value) % 97,
        None => rest,
    });
    (rest == 1).then_some(range.start..end)
}
