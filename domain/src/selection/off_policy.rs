//! What another policy would have been worth, from what was logged (Horvitz & Thompson 1952; Swaminathan & Joachims 2015).

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
}
