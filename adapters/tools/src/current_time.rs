//! The tool that tells the time, in UTC or in a time zone.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::SecondsFormat;
use chrono_tz::Tz;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::tools::{ToolOutput, ToolSpec};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::tools::Tool;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::arguments;

/// The current date and time as RFC 3339 text with seconds.
pub struct CurrentTime {
    clock: Arc<dyn Clock>,
}

impl CurrentTime {
    /// The time that `clock` tells.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    time_zone: Option<String>,
}

#[async_trait]
impl Tool for CurrentTime {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "current_time".to_owned(),
            description: "The current date and time as RFC 3339 text, in UTC unless a time zone is given."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "time_zone": {
                        "type": "string",
                        "description": "Name in the IANA time zone database, for example Europe/London."
                    }
                },
                "additionalProperties": false
            }),
        }
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    fn reaches_out(&self) -> bool {
        false
    }

    fn leaves_the_process(&self) -> bool {
        false
    }

    async fn call(&self, _: &CallKey, arguments: &Value) -> ToolOutput {
        let Arguments { time_zone } = match arguments::read(arguments) {
            Ok(arguments) => arguments,
            Err(refusal) => return refusal,
        };
        let zone = match time_zone.as_deref().map(str::parse) {
            None => Tz::UTC,
            Some(Ok(zone)) => zone,
            Some(Err(_)) => {
                return ToolOutput::error(
                    "The time zone is unknown; give a name of the IANA database such as Europe/London.",
                );
            }
        };
        ToolOutput::ok(self.clock.now().with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};
    use powerhouse_ports::clock::MockClock;

    use super::*;

    async fn at_noon_in_july(arguments: Value) -> ToolOutput {
        let mut clock = MockClock::new();
        let noon = Utc.with_ymd_and_hms(2025, 7, 1, 12, 0, 0).single().expect("a time");
        clock.expect_now().return_const(noon);
        CurrentTime::new(Arc::new(clock)).call(&crate::tests::key(), &arguments).await
    }

    #[tokio::test]
    async fn it_is_utc_unless_a_zone_is_given() {
        for (arguments, expected) in [
            (json!({}), "2025-07-01T12:00:00Z"),
            (json!({"time_zone": null}), "2025-07-01T12:00:00Z"),
            (json!({"time_zone": "UTC"}), "2025-07-01T12:00:00Z"),
            (json!({"time_zone": "Europe/London"}), "2025-07-01T13:00:00+01:00"),
            (json!({"time_zone": "Asia/Kathmandu"}), "2025-07-01T17:45:00+05:45"),
        ] {
            assert_eq!(at_noon_in_july(arguments).await, ToolOutput::ok(expected));
        }
    }

    #[tokio::test]
    async fn an_unknown_zone_is_an_error() {
        for zone in ["", "Mars/Olympus", "Europe/London\0"] {
            assert!(at_noon_in_july(json!({"time_zone": zone})).await.is_error);
        }
        assert!(at_noon_in_july(json!({"zone": "UTC"})).await.is_error);
    }
}
