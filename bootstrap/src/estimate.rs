//! `powerhouse selection estimate`: what other ways of choosing agents would have been worth, from choices that were logged.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use chrono::{TimeDelta, Utc};
use powerhouse_domain::access::{Principal, Role};
use powerhouse_domain::ids::{SessionId, UserId};
use powerhouse_domain::selection::{Decision, Evaluation, Interval, Policy, evaluate};
use powerhouse_usecases::selection::LoggedChoices;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::{EstimateArguments, say};
use crate::settings::Settings;
use crate::wiring;

/// Fewer choices as good as evenly weighted ones than these say nothing that could be relied on.
const FEW: f64 = 30.0;

/// Reads a tenant's choices, and prints what each policy would have been worth.
pub(crate) async fn estimate(arguments: &EstimateArguments, settings: &Settings) -> anyhow::Result<()> {
    let EstimateArguments { tenant, days, limit, widths, json } = arguments;
    ensure!(
        widths.iter().all(|width| (0.0..=1.0).contains(width)),
        "a width is a part of the probability, from 0 to 1"
    );
    let stores = wiring::open_stores(settings).await?;
    // Whoever has the database may look at it.
    let nobody = Uuid::nil();
    let operator =
        Principal::verified(*tenant, UserId::from_uuid(nobody), SessionId::from_uuid(nobody), Role::Viewer);
    let since = days.map(|days| Utc::now() - TimeDelta::days(days.into()));
    let choices = LoggedChoices { store: Arc::clone(stores.tenants()) };
    let decisions = choices.execute(&operator.scope(), since, *limit).await;
    let decisions = decisions.context("the choices cannot be read")?;
    ensure!(
        !decisions.is_empty(),
        "no run of {tenant} that has ended had its agent chosen for it: submit tasks without an agent first"
    );
    let found = policies(widths).map(|(name, policy)| (name, evaluate(&decisions, policy)));
    if *json {
        as_json(&decisions, found);
    } else {
        as_text(&decisions, found);
    }
    Ok(())
}

/// The policies with their names: those that there always are, and the widths that are asked for.
fn policies(widths: &[f64]) -> impl Iterator<Item = (String, Policy)> {
    let always = [("greedy".to_owned(), Policy::Greedy), ("even".to_owned(), Policy::Even)];
    let widths = widths.iter().map(|width| (format!("width {width}"), Policy::Width(*width)));
    always.into_iter().chain(widths.collect::<Vec<_>>())
}

#[expect(clippy::cast_precision_loss, reason = "there are no more than a million")]
fn mean_reward(decisions: &[Decision]) -> f64 {
    decisions.iter().map(|decision| decision.reward).sum::<f64>() / decisions.len() as f64
}

fn as_text(decisions: &[Decision], found: impl Iterator<Item = (String, Option<Evaluation>)>) {
    let mean = mean_reward(decisions);
    say(format!("{} choices; their mean reward, from 0 to 1, was {mean:.3}.", decisions.len()));
    say(format!("{:<12} {:>22} {:>22} {:>22} {:>9}", "policy", "IPS", "SNIPS", "doubly robust", "rests on"));
    for (name, found) in found {
        let Some(Evaluation { ips, snips, doubly_robust, effective }) = found else {
            say(format!("{name:<12} it would have made none of these choices"));
            continue;
        };
        let shown = |Interval { value, low, high }: Interval| format!("{value:.3} ({low:.3}–{high:.3})");
        let note = if effective < FEW { "  too few to rely on" } else { "" };
        say(format!(
            "{name:<12} {:>22} {:>22} {:>22} {effective:>9.1}{note}",
            shown(ips),
            shown(snips),
            shown(doubly_robust)
        ));
    }
}

fn as_json(decisions: &[Decision], found: impl Iterator<Item = (String, Option<Evaluation>)>) {
    let interval =
        |Interval { value, low, high }: Interval| json!({"value": value, "low": low, "high": high});
    let policies: Vec<Value> = found
        .map(|(name, found)| match found {
            None => json!({"policy": name, "effective": 0.0}),
            Some(Evaluation { ips, snips, doubly_robust, effective }) => json!({
                "policy": name, "ips": interval(ips), "snips": interval(snips),
                "doubly_robust": interval(doubly_robust), "effective": effective,
            }),
        })
        .collect();
    let mean = mean_reward(decisions);
    say(json!({"choices": decisions.len(), "mean_reward": mean, "confidence": 0.95, "policies": policies}));
}
