//! Thompson sampling (Thompson 1933; Chapelle & Li 2011) whose probabilities are known.
//!
//! Each agent in question has a weight, by how well the task fits it, and a belief about its reward, a Beta distribution.
//! Thompson sampling draws a reward for each and takes the agent whose weight times reward is largest. Here the probability that an
//! agent is the one is worked out on a grid, and then one agent is drawn by these probabilities: so what is logged as
//! the propensity is exactly what was done, and another policy can be estimated from it.

use super::lexical::as_f64;

/// Points at which a distribution is worked out.
const POINTS: usize = 512;
/// The part of the probability that is spread evenly, so that every agent in question stays likely enough to be learnt
/// about, and no estimate divides by next to nothing.
pub(super) const EVEN: f64 = 0.05;

/// An agent in question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Arm {
    /// How well the task fits it, above 0.
    pub(super) weight: f64,
    /// What is believed of its reward: α and β of a Beta distribution, each at least 1.
    pub(super) belief: (f64, f64),
}

/// How likely each arm is to be taken. They add up to 1.
pub(super) fn propensities(arms: &[Arm]) -> Vec<f64> {
    if arms.len() < 2 {
        return vec![1.0; arms.len()];
    }
    let reach = arms.iter().map(|arm| arm.weight).fold(0.0, f64::max);
    let below: Vec<Vec<f64>> = arms.iter().map(|arm| distribution(arm, reach)).collect();
    let mut largest: Vec<f64> = (0..arms.len())
        .map(|own| {
            (0..POINTS).fold(0.0, |sum, point| {
                // The middle of a step, for the others.
                let others = (0..arms.len())
                    .filter(|other| *other != own)
                    .map(|other| f64::midpoint(below[other][point], below[other][point + 1]))
                    .product::<f64>();
                sum + (below[own][point + 1] - below[own][point]) * others
            })
        })
        .collect();
    let total: f64 = largest.iter().sum();
    let even = EVEN / as_f64(arms.len());
    for share in &mut largest {
        *share = (1.0 - EVEN) * *share / total + even;
    }
    largest
}

/// The arm that a number from 0 up to 1 falls on.
pub(super) fn drawn(propensities: &[f64], draw: f64) -> usize {
    let mut left = draw;
    for (index, share) in propensities.iter().enumerate() {
        if left < *share {
            return index;
        }
        left -= share;
    }
    propensities.len().saturating_sub(1)
}

/// How likely weight times reward is to be at most each of the points from 0 to `reach`.
fn distribution(arm: &Arm, reach: f64) -> Vec<f64> {
    let (alpha, beta) = arm.belief;
    let log_density = |x: f64| (alpha - 1.0) * x.ln() + (beta - 1.0) * (1.0 - x).ln();
    let middle = |step: usize| (as_f64(step) + 0.5) / as_f64(POINTS);
    let logs: Vec<f64> = (0..POINTS).map(|step| log_density(middle(step))).collect();
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sums = vec![0.0];
    for log in logs {
        sums.push(sums[sums.len() - 1] + (log - highest).exp());
    }
    let total = sums[POINTS];
    (0..=POINTS)
        .map(|point| {
            let x = (as_f64(point) / as_f64(POINTS) * reach / arm.weight).min(1.0) * as_f64(POINTS);
            let step = (0..POINTS).nth(floor(x)).unwrap_or(POINTS - 1);
            let within = x - as_f64(step);
            (sums[step] + (sums[step + 1] - sums[step]) * within) / total
        })
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and the number of points"
)]
fn floor(x: f64) -> usize {
    x as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arm(weight: f64, belief: (f64, f64)) -> Arm {
        Arm { weight, belief }
    }

    fn near(given: &[f64], expected: &[f64]) -> bool {
        given.iter().zip(expected).all(|(given, expected)| (given - expected).abs() < 0.005)
    }

    #[test]
    fn those_of_whom_as_much_is_known_are_as_likely() {
        assert!(near(&propensities(&[arm(1.0, (1.0, 1.0)); 2]), &[0.5, 0.5]));
        assert!(near(&propensities(&[arm(0.4, (3.0, 9.0)); 4]), &[0.25; 4]));
        assert_eq!(propensities(&[arm(0.1, (1.0, 1.0))]), [1.0]);
    }

    /// Of X and Y uniform, P(X > w·Y) is 1 − w/2.
    #[test]
    fn weights_count_as_can_be_worked_out() {
        let shares = propensities(&[arm(1.0, (1.0, 1.0)), arm(0.5, (1.0, 1.0))]);
        assert!(near(&shares, &[0.95 * 0.75 + 0.025, 0.95 * 0.25 + 0.025]), "{shares:?}");
    }

    /// Of X with density 2x and Y uniform, P(X > Y) is 2/3.
    #[test]
    fn beliefs_count_as_can_be_worked_out() {
        let shares = propensities(&[arm(1.0, (2.0, 1.0)), arm(1.0, (1.0, 1.0))]);
        assert!(near(&shares, &[0.95 * 2.0 / 3.0 + 0.025, 0.95 / 3.0 + 0.025]), "{shares:?}");
    }

    #[test]
    fn what_is_well_known_to_be_better_is_taken_nearly_always() {
        let shares = propensities(&[arm(1.0, (1_600.0, 400.0)), arm(1.0, (400.0, 1_600.0))]);
        assert!(near(&shares, &[0.975, 0.025]), "{shares:?}");
    }

    #[test]
    fn a_draw_falls_on_the_share_that_it_is_in() {
        let shares = [0.2, 0.5, 0.3];
        let on: Vec<usize> = [0.0, 0.19, 0.21, 0.69, 0.71, 1.0].map(|draw| drawn(&shares, draw)).into();
        assert_eq!(on, [0, 0, 1, 1, 2, 2]);
    }

    proptest! {
        #[test]
        fn they_add_up_and_none_is_forgotten(
            arms in proptest::collection::vec((0.01_f64..1.0, 1.0_f64..3_000.0, 1.0_f64..3_000.0), 2..6),
        ) {
            let arms: Vec<Arm> = arms.into_iter().map(|(weight, a, b)| arm(weight, (a, b))).collect();
            let shares = propensities(&arms);
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", shares);
            prop_assert!(shares.iter().all(|share| *share >= EVEN / 5.0 - 1e-12));
        }
    }
}
