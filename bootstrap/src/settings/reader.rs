//! Reads settings one by one, and keeps what is wrong with each.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use config::{Config, Value, ValueKind};

pub(super) struct Reader<'a> {
    config: &'a Config,
    mistakes: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Self { config, mistakes: Vec::new() }
    }

    pub(super) fn into_mistakes(self) -> Vec<String> {
        self.mistakes
    }

    /// Names what nobody reads: mostly a slip of the pen.
    pub(super) fn refuse_unknown<'k>(&mut self, known: impl Iterator<Item = &'k str>) {
        let mut unknown = Vec::new();
        collect("", &self.config.cache, &known.collect(), &mut unknown);
        unknown.sort();
        self.mistakes.extend(unknown.into_iter().map(|key| format!("`{key}` is not a setting")));
    }

    /// A setting's text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let found = self.config.get_string(key);
        found.map_or_else(|_| self.mistake(key, "must be a text or a number"), Some)
    }

    /// Where a setting is from, unless it is a default.
    pub(super) fn origin(&self, key: &str) -> String {
        let value = key.split('.').try_fold(&self.config.cache, |value, name| match &value.kind {
            ValueKind::Table(table) => table.get(name),
            _ => None,
        });
        value.and_then(Value::origin).map(|origin| format!(" (from {origin})")).unwrap_or_default()
    }

    pub(super) fn checked<T>(
        &mut self,
        key: &str,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        match check(text.trim()) {
            Ok(value) => Some(value),
            Err(reason) => self.mistake(key, reason),
        }
    }

    pub(super) fn parsed<T: FromStr>(&mut self, key: &str, what: &str) -> Option<T> {
        self.checked(key, |text| text.parse().map_err(|_| format!("must be {what}")))
    }

    pub(super) fn number(&mut self, key: &str, min: u32, max: u32) -> Option<u32> {
        self.checked(key, |text| {
            let number = text.parse().ok().filter(|number| (min..=max).contains(number));
            number.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
        })
    }

    pub(super) fn seconds(&mut self, key: &str, min: u32, max: u32) -> Option<Duration> {
        self.number(key, min, max).map(|seconds| Duration::from_secs(seconds.into()))
    }

    pub(super) fn one_of<T: Copy, const N: usize>(
        &mut self,
        key: &str,
        choices: [(&str, T); N],
    ) -> Option<T> {
        self.checked(key, |text| {
            let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
            found.ok_or_else(|| format!("must be one of {}", choices.map(|(name, _)| name).join(", ")))
        })
    }

    /// Keeps a mistake; gives nothing, for the caller to pass on.
    pub(super) fn mistake<T>(&mut self, key: &str, reason: impl Display) -> Option<T> {
        self.mistakes.push(format!("`{key}` {reason}"));
        None
    }
}

fn collect(prefix: &str, value: &Value, known: &HashSet<&str>, unknown: &mut Vec<String>) {
    match &value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                collect(&key, value, known, unknown);
            }
        }
        _ if known.contains(prefix) => {}
        _ => unknown.push(prefix.to_owned()),
    }
}
