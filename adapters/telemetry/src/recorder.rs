//! Records what is measured, and renders it.

use metrics::{KeyName, Label, Recorder, Unit, counter, gauge, set_global_recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::{CATALOGUE, Kind};

/// The recorder cannot be installed.
#[derive(Debug, thiserror::Error)]
#[error("what is measured cannot be recorded")]
pub struct InstallError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// What this process has measured so far.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Records from now on, for the whole process; it can be done once.
    pub fn install() -> Result<Self, InstallError> {
        let recorder = recorder().map_err(|error| InstallError(error.into()))?;
        let metrics = Self(recorder.handle());
        set_global_recorder(recorder).map_err(|error| InstallError(error.to_string().into()))?;
        begin();
        Ok(metrics)
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Sorts what was timed into its buckets. Until then each duration takes memory, so somebody has to ask for it
    /// every few seconds, whether anybody reads or not.
    pub fn settle(&self) {
        self.0.run_upkeep();
    }
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in CATALOGUE {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    let recorder = builder.build_recorder();
    for metric in CATALOGUE {
        let (name, help) = (KeyName::from_const_str(metric.name), metric.help.into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, Some(Unit::Count), help),
            Kind::Gauge => recorder.describe_gauge(name, Some(Unit::Count), help),
            Kind::Histogram(_) => recorder.describe_histogram(name, Some(Unit::Seconds), help),
        }
    }
    Ok(recorder)
}

/// A counter that is not there yet hides its first step from whoever asks for a rate, so those without labels begin
/// at zero.
fn begin() {
    for metric in CATALOGUE.iter().filter(|metric| metric.labels.is_empty() && metric.kind == Kind::Counter) {
        counter!(metric.name).absolute(0);
    }
    let version = Label::from_static_parts("version", env!("CARGO_PKG_VERSION"));
    gauge!("powerhouse_build_info", vec![version]).set(1);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use metrics::{histogram, with_local_recorder};

    use super::*;

    fn rendered(measure: impl FnOnce()) -> String {
        let recorder = recorder().unwrap();
        with_local_recorder(&recorder, || {
            begin();
            measure();
        });
        Metrics(recorder.handle()).render()
    }

    #[test]
    fn what_was_measured_is_rendered_with_its_help_and_its_kind() {
        let text = rendered(|| {
            let labels = [("method", "GET"), ("route", "/v1/runs/{run_id}"), ("status", "200")];
            counter!("powerhouse_http_requests_total", &labels).increment(2);
            gauge!("powerhouse_redis_up").set(0);
        });
        for line in [
            "# TYPE powerhouse_http_requests_total counter",
            "# HELP powerhouse_http_requests_total requests to the API that were answered",
            r#"powerhouse_http_requests_total{method="GET",route="/v1/runs/{run_id}",status="200"} 2"#,
            "# TYPE powerhouse_redis_up gauge",
            "powerhouse_redis_up 0\n",
            concat!("powerhouse_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "powerhouse_runs_claimed_total 0\n",
        ] {
            assert!(text.contains(line), "{line} is missing in: {text}");
        }
    }

    #[test]
    fn durations_are_sorted_into_buckets_of_seconds() {
        let text = rendered(|| {
            for milliseconds in [3, 200, 90_000] {
                histogram!("powerhouse_http_request_duration_seconds", "method" => "GET", "route" => "/health")
                    .record(Duration::from_millis(milliseconds));
            }
        });
        let labels = r#"method="GET",route="/health""#;
        for (bound, count) in [("0.001", 0), ("0.005", 1), ("0.25", 2), ("60", 2), ("+Inf", 3)] {
            let line = format!(
                "powerhouse_http_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {count}\n"
            );
            assert!(text.contains(&line), "{line} is missing in: {text}");
        }
        assert!(!text.contains("quantile"), "{text}");
    }

    #[test]
    fn names_follow_the_conventions_and_labels_name_nobody() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in CATALOGUE {
            let name = metric.name;
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.starts_with("powerhouse_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(!name.ends_with("_seconds") || metric.kind != Kind::Counter, "{name}");
            for label in metric.labels {
                for whose in ["tenant", "user", "email", "run", "agent", "session", "path", "task"] {
                    assert_ne!(*label, whose, "{name} would have a series for each");
                }
            }
            if let Kind::Histogram(buckets) = metric.kind {
                assert!(buckets.is_sorted_by(|low, high| low < high), "{name}");
            }
        }
    }

    #[test]
    fn the_documentation_lists_every_metric_as_it_is() {
        let page = include_str!("../../../docs/metrics.md");
        for metric in CATALOGUE {
            let labels =
                metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let row =
                format!("| `{}` | {} | {labels} | {} |", metric.name, metric.kind.as_str(), metric.help);
            assert!(page.contains(&row), "not as documented: {row}");
        }
    }
}
