//! What another policy would have been worth, from what was logged (Horvitz & Thompson 1952; Swaminathan & Joachims 2015; Dudík et
//! al. 2011).

use std::collections::BTreeMap;

use super::explore::EVEN;
use super::lexical::as_f64;
use crate::ids::AgentId;

/// A choice that was made and what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logged {
    /// How likely the choice was, above 0.
    pub propensity: f64,
    /// How likely the policy in question would have made the same choice.
    pub target: f64,
    /// What came of it, from 0 to 1.
    pub reward: f64,
}

/// The value of a policy: the mean reward that it would have had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Inverse propensity scoring: right on average, and as uncertain as its largest weight is large.
    pub ips: f64,
    /// The same divided by the sum of the weights: a little wrong on average, and much less uncertain.
    pub snips: f64,
    /// How many choices as good as evenly weighted ones it rests on: (Σw)² / Σw².
    pub effective: f64,
}

/// Estimates a policy; nothing where it would have made none of the choices that were made.
pub fn estimate(logged: &[Logged]) -> Option<Estimate> {
    let weighed = logged.iter().map(|choice| (choice.target / choice.propensity, choice.reward));
    let (mut count, mut weights, mut squares, mut rewards) = (0.0, 0.0, 0.0, 0.0);
    for (weight, reward) in weighed {
        count += 1.0;
        weights += weight;
        squares += weight * weight;
        rewards += weight * reward;
    }
    (weights > 0.0).then(|| Estimate {
        ips: rewards / count,
        snips: rewards / weights,
        effective: weights * weights / squares,
    })
}

/// A choice of an agent that was logged, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Who was chosen: one of those in question.
    pub agent: AgentId,
    /// Those in question, whom the task fitted best first, each with how likely it was to be chosen.
    pub propensities: Vec<(AgentId, f64)>,
    /// What came of it, from 0 to 1.
    pub reward: f64,
}

/// Another way of choosing among those in question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// The one whom the task fits best, always.
    Greedy,
    /// Each as likely as the others.
    Even,
    /// By how they have done, as it was done, with this part of the probability spread evenly instead of a twentieth.
    Width(f64),
}

impl Policy {
    /// How likely it makes each of those in question.
    fn shares(self, decision: &Decision) -> Vec<f64> {
        let logged = decision.propensities.iter().map(|(_, share)| *share);
        let count = as_f64(decision.propensities.len());
        match self {
            Self::Greedy => (0..decision.propensities.len()).map(|at| f64::from(u8::from(at == 0))).collect(),
            Self::Even => logged.map(|_| 1.0 / count).collect(),
            Self::Width(_) if decision.propensities.len() == 1 => logged.collect(),
            Self::Width(width) => logged
                .map(|share| {
                    let sampled = ((share - EVEN / count) / (1.0 - EVEN)).clamp(0.0, 1.0);
                    (1.0 - width) * sampled + width / count
                })
                .collect(),
        }
    }
}

/// A value, and between which it lies nineteen times out of twenty, were there many choices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The value.
    pub value: f64,
    /// The least that it may be.
    pub low: f64,
    /// The most.
    pub high: f64,
}

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_964;

impl Interval {
    fn around(value: f64, deviation: f64) -> Self {
        Self { value, low: value - Z * deviation, high: value + Z * deviation }
    }

    /// The mean of these.
    fn of_mean(terms: &[f64]) -> Self {
        let count = as_f64(terms.len());
        let mean = terms.iter().sum::<f64>() / count;
        let squares: f64 = terms.iter().map(|term| (term - mean).powi(2)).sum();
        Self::around(mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
    }
}

/// What a policy would have been worth, estimated in three ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Inverse propensity scoring.
    pub ips: Interval,
    /// The same, self-normalised.
    pub snips: Interval,
    /// Doubly robust: what agents are worth on average, put right by inverse propensity scoring of what that has missed.
    pub doubly_robust: Interval,
    /// How many choices as good as evenly weighted ones it rests on.
    pub effective: f64,
}

/// Estimates a policy; nothing where it would have made none of the choices that were made.
pub fn evaluate(decisions: &[Decision], policy: Policy) -> Option<Evaluation> {
    let shares: Vec<Vec<f64>> = decisions.iter().map(|decision| policy.shares(decision)).collect();
    let place = |decision: &Decision| {
        decision.propensities.iter().position(|(agent, share)| *agent == decision.agent && *share > 0.0)
    };
    let logged: Vec<Logged> = decisions
        .iter()
        .zip(&shares)
        .filter_map(|(decision, shares)| {
            let at = place(decision)?;
            let propensity = decision.propensities[at].1;
            Some(Logged { propensity, target: shares[at], reward: decision.reward })
        })
        .collect();
    let Estimate { snips, effective, .. } = estimate(&logged)?;
    let weights: Vec<f64> = logged.iter().map(|choice| choice.target / choice.propensity).collect();
    let scored: Vec<f64> =
        logged.iter().zip(&weights).map(|(choice, weight)| weight * choice.reward).collect();
    // The delta method, of a ratio of two means.
    let squares: f64 =
        logged.iter().zip(&weights).map(|(choice, weight)| (weight * (choice.reward - snips)).powi(2)).sum();
    let sum: f64 = weights.iter().sum();
    let model = Means::of(decisions);
    let robust: Vec<f64> = decisions
        .iter()
        .zip(&shares)
        .filter_map(|(decision, shares)| {
            let at = place(decision)?;
            let expected: f64 = decision
                .propensities
                .iter()
                .zip(shares)
                .map(|((agent, _), share)| share * model.without(decision, *agent))
                .sum();
            let weight = shares[at] / decision.propensities[at].1;
            Some(expected + weight * (decision.reward - model.without(decision, decision.agent)))
        })
        .collect();
    Some(Evaluation {
        ips: Interval::of_mean(&scored),
        snips: Interval::around(snips, squares.sqrt() / sum),
        doubly_robust: Interval::of_mean(&robust),
        effective,
    })
}

/// What each agent was worth on average.
struct Means {
    of: BTreeMap<AgentId, (f64, f64)>,
    all: (f64, f64),
}

impl Means {
    fn of(decisions: &[Decision]) -> Self {
        let mut means = Self { of: BTreeMap::new(), all: (0.0, 0.0) };
        for Decision { agent, reward, .. } in decisions {
            for sums in [means.of.entry(*agent).or_default(), &mut means.all] {
                *sums = (sums.0 + reward, sums.1 + 1.0);
            }
        }
        means
    }

    /// What an agent is worth by all choices but this one, so that no choice vouches for itself; what agents are worth on average,
    /// where nothing else is known of it.
    fn without(&self, decision: &Decision, agent: AgentId) -> f64 {
        let mean = |(sum, count): (f64, f64), is_in: bool| {
            let (own, one) = if is_in { (decision.reward, 1.0) } else { (0.0, 0.0) };
            (count - one > 0.5).then(|| (sum - own) / (count - one))
        };
        let own = self.of.get(&agent).and_then(|sums| mean(*sums, agent == decision.agent));
        own.or_else(|| mean(self.all, true)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two agents, the first worth 1 and the second worth 0, of which the first was chosen three times out of four.
    #[test]
    fn policies_are_told_apart_without_having_been_tried() {
        let log = |first: f64, second: f64| {
            let chosen = |propensity, target, reward| Logged { propensity, target, reward };
            let mut logged = vec![chosen(0.75, first, 1.0); 3];
            logged.push(chosen(0.25, second, 0.0));
            estimate(&logged)
        };
        let always_first = log(1.0, 0.0).unwrap();
        assert!((always_first.ips - 1.0).abs() < 1e-9 && (always_first.snips - 1.0).abs() < 1e-9);
        assert!((always_first.effective - 3.0).abs() < 1e-9);
        let always_second = log(0.0, 1.0).unwrap();
        assert!(always_second.ips.abs() < 1e-9 && always_second.snips.abs() < 1e-9);
        let by_coin = log(0.5, 0.5).unwrap();
        assert!((by_coin.ips - 0.5).abs() < 1e-9 && (by_coin.snips - 0.5).abs() < 1e-9);
        assert_eq!(log(0.0, 0.0), None);
        assert_eq!(estimate(&[]), None);
    }

    fn agent(number: u128) -> AgentId {
        AgentId::from_uuid(uuid::Uuid::from_u128(number))
    }

    /// So many choices between a good agent and a bad one, of which the good one fits best, drawn as `first` says.
    fn log(count: u32, first: f64) -> Vec<Decision> {
        let good_of_ten = (first * 10.0).round();
        (0..count)
            .map(|number| {
                let is_good = f64::from(number % 10) < good_of_ten;
                // Good in nine of ten cases, and in two of ten.
                let is_fine = if is_good { number / 10 % 10 != 0 } else { number / 10 % 5 == 0 };
                Decision {
                    agent: agent(if is_good { 1 } else { 2 }),
                    propensities: vec![(agent(1), first), (agent(2), 1.0 - first)],
                    reward: f64::from(u8::from(is_fine)),
                }
            })
            .collect()
    }

    #[test]
    fn three_estimates_come_near_what_is_true_and_their_intervals_hold_it() {
        for first in [0.3, 0.5, 0.8] {
            let log = log(2_000, first);
            for (policy, truth) in [(Policy::Greedy, 0.9), (Policy::Even, 0.55)] {
                let found = evaluate(&log, policy).unwrap();
                for interval in [found.ips, found.snips, found.doubly_robust] {
                    assert!((interval.value - truth).abs() < 0.02, "{first} {policy:?} {interval:?}");
                    assert!(interval.low < truth && truth < interval.high, "{first} {policy:?} {interval:?}");
                }
                let width = |interval: Interval| interval.high - interval.low;
                assert!(width(found.doubly_robust) < width(found.ips) * 1.05, "{found:?}");
            }
        }
    }

    #[test]
    fn more_choices_are_surer() {
        let width = |count| {
            let Interval { low, high, .. } = evaluate(&log(count, 0.5), Policy::Greedy).unwrap().snips;
            high - low
        };
        assert!(width(2_000) < width(200) / 2.5);
    }

    #[test]
    fn another_width_is_worked_out_from_what_was_logged() {
        let even = EVEN / 2.0;
        let decision = Decision {
            agent: agent(1),
            propensities: vec![(agent(1), 0.95 * 0.8 + even), (agent(2), 0.95 * 0.2 + even)],
            reward: 1.0,
        };
        let shares = |width| Policy::Width(width).shares(&decision);
        let near = |given: Vec<f64>, expected: [f64; 2]| {
            given.iter().zip(expected).all(|(given, expected)| (given - expected).abs() < 1e-9)
        };
        assert!(near(shares(0.0), [0.8, 0.2]) && near(shares(1.0), [0.5, 0.5]));
        assert!(near(shares(EVEN), [0.95 * 0.8 + even, 0.95 * 0.2 + even]), "as it was");
        let alone = Decision { propensities: vec![(agent(1), 1.0)], ..decision };
        assert_eq!(Policy::Width(0.3).shares(&alone), [1.0]);
    }

    #[test]
    fn choices_that_a_policy_would_never_make_say_nothing() {
        let second = Decision { agent: agent(2), ..log(1, 0.5)[0].clone() };
        assert_eq!(evaluate(&[second], Policy::Greedy), None);
        assert_eq!(evaluate(&[], Policy::Even), None);
        let named = Decision { propensities: Vec::new(), ..log(1, 0.5)[0].clone() };
        assert_eq!(
            evaluate(&[named], Policy::Even),
            None,
            "of those whom the caller named nothing was drawn"
        );
    }
}
