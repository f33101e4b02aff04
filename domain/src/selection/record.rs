//! How agents have done: what came of their last runs, and what that is worth.
//!
//! A run's reward is between 0 and 1. Its quality is 1 when people called it good, or it succeeded and nobody said anything;
//! else 0. A tenth is taken off for time and a tenth for cost, each in the measure `x / (x + median)`: half of it for a run that is
//! typical of the tenant. So a bad answer is worth nothing however cheap it was, and price decides between good ones only.
//! What people said weighs as much as [`WEIGHT_OF_WORD`] runs of which they said nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::lexical::as_f64;
use crate::ids::AgentId;

/// How many runs one that was judged counts for.
pub const WEIGHT_OF_WORD: f64 = 4.0;
const SHARE_OF_TIME: f64 = 0.1;
const SHARE_OF_COST: f64 = 0.1;
/// An agent whose last so many runs have failed is left out …
const FAILING: u32 = 5;
/// … until so long after the last, when it is tried again.
const LEFT_OUT_FOR: TimeDelta = TimeDelta::minutes(10);

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Who did it.
    pub agent: AgentId,
    /// Whether it has an answer.
    pub succeeded: bool,
    /// How long it took, from its first worker to its end.
    pub took: TimeDelta,
    /// What it cost, in millionths of a US dollar.
    pub cost_micros: u64,
    /// How many called it good.
    pub good: u32,
    /// How many called it bad.
    pub bad: u32,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

impl Outcome {
    fn is_judged(&self) -> bool {
        self.good != self.bad
    }

    fn is_good(&self) -> bool {
        if self.is_judged() { self.good > self.bad } else { self.succeeded }
    }
}

/// What is typical of a tenant's runs.
struct Typical {
    millis: u64,
    cost: u64,
}

impl Typical {
    fn of(outcomes: &[Outcome]) -> Self {
        Self {
            millis: median(outcomes.iter().map(|outcome| millis(outcome.took))),
            cost: median(outcomes.iter().map(|outcome| outcome.cost_micros)),
        }
    }

    fn reward(&self, outcome: &Outcome) -> f64 {
        let discount = SHARE_OF_TIME * against(millis(outcome.took), self.millis)
            + SHARE_OF_COST * against(outcome.cost_micros, self.cost);
        if outcome.is_good() { 1.0 - discount } else { 0.0 }
    }
}

/// The reward of each of these, in their order.
pub fn rewards(outcomes: &[Outcome]) -> Vec<f64> {
    let typical = Typical::of(outcomes);
    outcomes.iter().map(|outcome| typical.reward(outcome)).collect()
}

/// How one agent has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentRecord {
    /// Runs that have ended by themselves.
    pub runs: u32,
    /// Those with an answer.
    pub succeeded: u32,
    /// Those called good.
    pub good: u32,
    /// Those called bad.
    pub bad: u32,
    /// What runs took on average, in milliseconds.
    pub mean_millis: u64,
    /// What they cost on average, in millionths of a US dollar.
    pub mean_cost_micros: u64,
    /// The sum of the rewards, each times its weight.
    pub reward: f64,
    /// The sum of the weights.
    pub weight: f64,
    /// How many of the last runs failed, one after the other.
    pub failures_in_a_row: u32,
    /// When the last of these ended.
    pub last_failed_at: Option<DateTime<Utc>>,
    /// Tasks of good runs that it learns from.
    pub learnt_examples: u32,
}

impl AgentRecord {
    /// What is believed of its reward: the parameters of a Beta distribution, uniform where nothing is known. Rewards between 0
    /// and 1 count as that much of a success and the rest of a failure.
    pub fn belief(&self) -> (f64, f64) {
        (1.0 + self.reward, 1.0 + (self.weight - self.reward).max(0.0))
    }

    /// Whether it keeps failing, so that others should do its work for a while.
    pub fn is_failing(&self, now: DateTime<Utc>) -> bool {
        self.failures_in_a_row >= FAILING && self.last_failed_at.is_some_and(|at| now - at < LEFT_OUT_FOR)
    }
}

/// How each agent has done that did anything.
pub type Record = BTreeMap<AgentId, AgentRecord>;

/// The record that these outcomes make, the newest first.
pub fn record(outcomes: &[Outcome]) -> Record {
    let typical = Typical::of(outcomes);
    let mut record = Record::new();
    let mut sums: BTreeMap<AgentId, (u64, u64, bool)> = BTreeMap::new();
    for outcome in outcomes {
        let own = record.entry(outcome.agent).or_default();
        let (took, cost, has_succeeded) = sums.entry(outcome.agent).or_default();
        let (is_judged, is_good) = (outcome.is_judged(), outcome.is_good());
        let weight = if is_judged { WEIGHT_OF_WORD } else { 1.0 };
        own.runs += 1;
        own.succeeded += u32::from(outcome.succeeded);
        own.good += u32::from(is_judged && is_good);
        own.bad += u32::from(is_judged && !is_good);
        own.reward += weight * typical.reward(outcome);
        own.weight += weight;
        *took = took.saturating_add(millis(outcome.took));
        *cost = cost.saturating_add(outcome.cost_micros);
        *has_succeeded |= outcome.succeeded;
        if !*has_succeeded {
            own.failures_in_a_row += 1;
            own.last_failed_at = own.last_failed_at.max(Some(outcome.ended_at));
        }
    }
    for (agent, own) in &mut record {
        let (took, cost, _) = sums[agent];
        own.mean_millis = took / u64::from(own.runs);
        own.mean_cost_micros = cost / u64::from(own.runs);
    }
    record
}

fn millis(took: TimeDelta) -> u64 {
    u64::try_from(took.num_milliseconds()).unwrap_or_default()
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Between 0 and 1; half when it is as is typical.
fn against(value: u64, typical: u64) -> f64 {
    let as_f64 = |value: u64| as_f64(usize::try_from(value).unwrap_or(usize::MAX));
    if value == 0 { 0.0 } else { as_f64(value) / (as_f64(value) + as_f64(typical)) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn agent(number: u128) -> AgentId {
        AgentId::from_uuid(Uuid::from_u128(number))
    }

    fn outcome(by: u128, succeeded: bool) -> Outcome {
        Outcome {
            agent: agent(by),
            succeeded,
            took: TimeDelta::seconds(2),
            cost_micros: 100,
            good: 0,
            bad: 0,
            ended_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn typical_runs_lose_a_tenth_for_time_and_cost_together() {
        let record = record(&[outcome(1, true), outcome(1, false), outcome(1, true)]);
        let own = &record[&agent(1)];
        assert_eq!((own.runs, own.succeeded, own.mean_millis, own.mean_cost_micros), (3, 2, 2_000, 100));
        assert!((own.reward - 1.8).abs() < 1e-9 && (own.weight - 3.0).abs() < 1e-9, "{own:?}");
        let (alpha, beta) = own.belief();
        assert!((alpha - 2.8).abs() < 1e-9 && (beta - 2.2).abs() < 1e-9);
    }

    #[test]
    fn what_people_say_counts_more_than_how_it_ended() {
        let bad = Outcome { bad: 1, ..outcome(1, true) };
        let good = Outcome { good: 2, bad: 1, ..outcome(2, false) };
        let split = Outcome { good: 1, bad: 1, ..outcome(3, true) };
        let record = record(&[bad, good, split]);
        let of = |number| (record[&agent(number)].good, record[&agent(number)].bad);
        assert_eq!([of(1), of(2), of(3)], [(0, 1), (1, 0), (0, 0)]);
        assert!(record[&agent(1)].reward.abs() < 1e-9);
        assert!((record[&agent(2)].weight - WEIGHT_OF_WORD).abs() < 1e-9);
        assert!((record[&agent(3)].weight - 1.0).abs() < 1e-9);
    }

    #[test]
    fn of_two_that_succeed_the_cheaper_and_faster_is_worth_more() {
        let dear = Outcome { cost_micros: 10_000, took: TimeDelta::minutes(5), ..outcome(2, true) };
        let record = record(&[outcome(1, true), outcome(1, true), outcome(1, true), dear]);
        let (cheap, dear) = (&record[&agent(1)], &record[&agent(2)]);
        assert!(cheap.reward / cheap.weight > dear.reward / dear.weight);
        assert!(dear.reward > 0.8);
    }

    #[test]
    fn an_agent_that_keeps_failing_is_left_out_for_a_while() {
        let failing: Vec<Outcome> = (0..FAILING).map(|_| outcome(1, false)).collect();
        let since = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        assert!(record(&failing)[&agent(1)].is_failing(since(599)));
        assert!(!record(&failing)[&agent(1)].is_failing(since(600)));
        assert!(!record(&failing[1..])[&agent(1)].is_failing(since(1)));
        let recovered: Vec<Outcome> = [outcome(1, true)].into_iter().chain(failing).collect();
        assert!(!record(&recovered)[&agent(1)].is_failing(since(1)));
    }
}
