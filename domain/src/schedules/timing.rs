//! When a schedule fires: a cron expression of five fields, in a time zone of the IANA database.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// The most bytes of an expression.
const MAX_EXPRESSION: usize = 128;
/// The first window in which the latest firings are looked for; it grows fourfold.
const WINDOW: TimeDelta = TimeDelta::hours(2);

/// Times that a cron expression names in a time zone.
///
/// Five fields: minute, hour, day of the month, month, day of the week; with lists, ranges, steps, names, `L` for the
/// last day of the month, `#` for the nth day of the week, and `@daily` and the like. When both days are restricted,
/// either suffices. Where clocks go forward, a fixed time that is left out fires right after; where they go back, it
/// fires once, and what fires every few minutes goes on doing so.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    cron: Cron,
    expression: String,
    zone: Tz,
}

/// Why a text is no timing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTiming {
    /// No cron expression.
    #[error("no cron expression of five fields: {0}")]
    Expression(String),
    /// No time zone.
    #[error("no time zone of the IANA database, such as Europe/Berlin or UTC")]
    Zone,
}

impl Timing {
    /// Reads an expression and the name of a time zone.
    pub fn new(expression: &str, zone: &str) -> Result<Self, InvalidTiming> {
        let expression = expression.trim();
        if expression.len() > MAX_EXPRESSION {
            return Err(InvalidTiming::Expression(format!("it has more than {MAX_EXPRESSION} bytes")));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| InvalidTiming::Expression(error.to_string()))?;
        let zone = zone.parse().map_err(|_| InvalidTiming::Zone)?;
        Ok(Self { cron, expression: expression.to_owned(), zone })
    }

    /// The expression.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone's name.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// The first time after another; nothing when there is none within the calendar.
    pub fn next_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = at.with_timezone(&self.zone);
        let next = self.cron.find_next_occurrence(&local, false).ok()?.to_utc();
        (next > at).then_some(next)
    }

    /// The last times from `since`, which is one, to `until`, at most `most` of them, oldest first.
    ///
    /// However long ago the first was, only about as many are looked at as are wanted.
    pub fn latest(&self, since: DateTime<Utc>, until: DateTime<Utc>, most: usize) -> Vec<DateTime<Utc>> {
        let mut window = WINDOW;
        loop {
            let begin = (until - window).max(since);
            let first = if begin == since { Some(since) } else { self.next_after(begin) };
            let times = std::iter::successors(first, |at| self.next_after(*at));
            let times: Vec<_> = times.take_while(|at| *at <= until).collect();
            if times.len() >= most || begin == since {
                return times[times.len().saturating_sub(most)..].to_vec();
            }
            window = window * 4;
        }
    }
}
