//! Which of some classes a text belongs to, learnt from examples: one plane for each class over hashed features that are weighted by
//! TF-IDF, and a threshold below which a text belongs to none.
//!
//! Most weights are nought or nearly so: they are left out, and the rest is kept in 16 bits each, row by row of the features.

use super::features::Features;
use super::svm::{Plane, Rows, separate};

/// The share of words in a text's length, pieces of words having the rest: found on validation data.
const SHARE_OF_WORDS: f32 = 0.65;
const SHARE_OF_PIECES: f32 = 0.76;
/// Added to each inverse document frequency, so that what is common still counts: found on validation data.
const IDF_FLOOR: f32 = 4.0;
/// How much of its weight a feature that no example has takes from the others, so that a text of which little is known is near
/// to nothing: found on validation data.
const UNKNOWN: f32 = 0.6;
/// From so many features on, those that one example alone has are left out.
const MANY_FEATURES: usize = 50_000;
/// Weights nearer to nought than this part of the class's largest are left out.
const NEGLIGIBLE: f32 = 0.01;
/// The part of held-out examples, one in so many, that may be taken for strangers; of fewer than 400 it is more.
const REJECTED: usize = 20;
/// The threshold is learnt by holding out each example once, or only the first of so many parts when there are many.
const FOLDS: usize = 5;
const MANY_EXAMPLES: usize = 2_000;

/// A text and its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example<'a> {
    /// The text.
    pub text: &'a str,
    /// Its class, counted from 0.
    pub class: u16,
}

/// What was learnt from examples.
#[derive(Debug)]
pub struct Classifier {
    vocabulary: Vocabulary,
    /// Where the cells of each feature begin; one more for the end.
    starts: Vec<u32>,
    cells: Vec<Cell>,
    /// What a cell's weight of 1 is, for each class.
    scales: Vec<f32>,
    biases: Vec<f32>,
    threshold: f32,
}

/// A weight of a feature for a class.
#[derive(Clone, Copy, Debug)]
struct Cell {
    class: u16,
    weight: i16,
}

/// What a text looks like to the classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// How far on each class's side the text is, in the order of the classes; 1 is as far as an example should be.
    pub margins: Vec<f32>,
    /// Whether the best is far enough for the text to belong to any.
    pub fits: bool,
}

impl Classifier {
    /// Learns from examples of `classes` classes; nothing from fewer than two, without an example that says something, or when it
    /// `is_stopped` meanwhile, which is asked between classes.
    pub fn train(examples: &[Example<'_>], classes: u16, is_stopped: &dyn Fn() -> bool) -> Option<Self> {
        if classes < 2 {
            return None;
        }
        let read: Vec<Features> = examples.iter().map(|example| Features::of(example.text)).collect();
        let labels: Vec<u16> = examples.iter().map(|example| example.class).collect();
        let threshold = learnt_threshold(&read, &labels, classes, is_stopped);
        let mut trained = Self::fit(&read.iter().collect::<Vec<_>>(), &labels, classes, is_stopped)?;
        trained.threshold = threshold;
        Some(trained)
    }

    fn fit(texts: &[&Features], labels: &[u16], classes: u16, is_stopped: &dyn Fn() -> bool) -> Option<Self> {
        let vocabulary = Vocabulary::of(texts);
        if vocabulary.idf.is_empty() {
            return None;
        }
        let rows = Rows::of(texts.iter().map(|text| vocabulary.vector(text)));
        let features = vocabulary.idf.len();
        let mut by_feature: Vec<Vec<Cell>> = vec![Vec::new(); features];
        let (mut scales, mut biases) = (Vec::new(), Vec::new());
        for class in 0..classes {
            if is_stopped() {
                return None;
            }
            let Plane { weights, bias } = separate(&rows, labels, class, features);
            let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
            let scale = largest / f32::from(i16::MAX);
            for (cells, weight) in by_feature.iter_mut().zip(weights) {
                if weight.abs() > NEGLIGIBLE * largest {
                    cells.push(Cell { class, weight: rounded(weight / scale) });
                }
            }
            scales.push(scale);
            biases.push(bias);
        }
        let mut starts = vec![0];
        let mut cells = Vec::with_capacity(by_feature.iter().map(Vec::len).sum());
        for own in by_feature {
            cells.extend(own);
            starts.push(u32::try_from(cells.len()).unwrap_or(u32::MAX));
        }
        Some(Self { vocabulary, starts, cells, scales, biases, threshold: f32::NEG_INFINITY })
    }

    /// Scores a text; nothing when it has no feature that any example had.
    pub fn scores(&self, text: &str) -> Option<Scores> {
        let margins = self.margins(&Features::of(text))?;
        let fits = best(&margins) >= self.threshold;
        Some(Scores { margins, fits })
    }

    fn margins(&self, text: &Features) -> Option<Vec<f32>> {
        let vector = self.vocabulary.vector(text);
        if vector.is_empty() {
            return None;
        }
        let mut margins = vec![0.0; self.biases.len()];
        for (feature, value) in vector {
            let feature = feature as usize;
            for cell in &self.cells[self.starts[feature] as usize..self.starts[feature + 1] as usize] {
                margins[usize::from(cell.class)] += f32::from(cell.weight) * value;
            }
        }
        for ((margin, scale), bias) in margins.iter_mut().zip(&self.scales).zip(&self.biases) {
            *margin = *margin * scale + bias;
        }
        Some(margins)
    }

    /// How far on a class's side a text has to be to belong to any.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// How many features it knows.
    pub fn features(&self) -> usize {
        self.vocabulary.idf.len()
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.vocabulary.slots)
            + size_of_val(&*self.vocabulary.idf)
            + size_of_val(&*self.starts)
            + size_of_val(&*self.cells)
            + size_of_val(&*self.scales)
            + size_of_val(&*self.biases)
    }
}

fn best(margins: &[f32]) -> f32 {
    margins.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The best margin that all but a few examples reach when they are held out.
fn learnt_threshold(texts: &[Features], labels: &[u16], classes: u16, is_stopped: &dyn Fn() -> bool) -> f32 {
    let mut seen = vec![0_usize; usize::from(classes)];
    let folds: Vec<usize> = labels
        .iter()
        .map(|label| {
            let count = &mut seen[usize::from(*label)];
            *count += 1;
            (*count - 1) % FOLDS
        })
        .collect();
    let held_out = if texts.len() > MANY_EXAMPLES { 1 } else { FOLDS };
    let mut margins: Vec<f32> = Vec::new();
    for fold in 0..held_out {
        let inside = |index: &usize| folds[*index] != fold;
        let (kept, held): (Vec<usize>, Vec<usize>) = (0..texts.len()).partition(inside);
        let kept_texts: Vec<&Features> = kept.iter().map(|index| &texts[*index]).collect();
        let kept_labels: Vec<u16> = kept.iter().map(|index| labels[*index]).collect();
        let Some(trained) = Classifier::fit(&kept_texts, &kept_labels, classes, is_stopped) else { continue };
        margins.extend(held.iter().filter_map(|index| trained.margins(&texts[*index])).map(|all| best(&all)));
    }
    margins.sort_unstable_by(f32::total_cmp);
    // The fewer there are, the less they say about what else belongs here, and the more is asked for.
    let rejected = (margins.len() / REJECTED).max(margins.len().isqrt());
    margins.get(rejected).copied().unwrap_or(f32::NEG_INFINITY)
}

/// The features that count, with how rare each is.
#[derive(Debug)]
struct Vocabulary {
    /// Open addressing in a power of two: a feature's hash, and its number + 1; 0 where nothing is.
    slots: Vec<(u32, u32)>,
    idf: Vec<f32>,
    /// The same of what no example has.
    rarest: f32,
}

impl Vocabulary {
    fn of(texts: &[&Features]) -> Self {
        let mut all: Vec<u32> = texts
            .iter()
            .flat_map(|text| text.words.iter().chain(&text.pieces))
            .map(|(hash, _)| *hash)
            .collect();
        all.sort_unstable();
        let mut frequencies: Vec<(u32, usize)> =
            all.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect();
        if frequencies.len() > MANY_FEATURES {
            frequencies.retain(|(_, texts)| *texts > 1);
        }
        let mut slots = vec![(0, 0); (frequencies.len() * 2).next_power_of_two()];
        for ((hash, _), number) in frequencies.iter().zip(1..) {
            let slot = probe(&slots, *hash);
            slots[slot] = (*hash, number);
        }
        let total = 1.0 + as_f32(texts.len());
        let idf = frequencies.iter().map(|(_, texts)| (total / (1.0 + as_f32(*texts))).ln() + IDF_FLOOR);
        Self { slots, idf: idf.collect(), rarest: total.ln() + IDF_FLOOR }
    }

    /// The known features of a text with their weights. Those of words and those of pieces have a length of their own, of which
    /// what is unknown takes its part.
    fn vector(&self, text: &Features) -> Vec<(u32, f32)> {
        let mut vector = Vec::with_capacity(text.words.len() + text.pieces.len());
        for (features, share) in [(&text.words, SHARE_OF_WORDS), (&text.pieces, SHARE_OF_PIECES)] {
            let from = vector.len();
            let mut unknown = 0.0;
            for (hash, count) in features {
                let frequency = 1.0 + as_f32(*count as usize).ln();
                match self.slots[probe(&self.slots, *hash)].1.checked_sub(1) {
                    Some(feature) => vector.push((feature, frequency * self.idf[feature as usize])),
                    None => unknown += (frequency * UNKNOWN * self.rarest).powi(2),
                }
            }
            let known = vector[from..].iter().map(|(_, value)| value * value).sum::<f32>();
            let length = (known + unknown).sqrt();
            for (_, value) in &mut vector[from..] {
                *value *= share / length;
            }
        }
        vector
    }
}

/// Where a hash is, or would be. At least half of the slots are free.
fn probe(slots: &[(u32, u32)], hash: u32) -> usize {
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    while slots[at].1 != 0 && slots[at].0 != hash {
        at = (at + 1) & mask;
    }
    at
}

/// Exact for what is counted here.
#[expect(clippy::cast_precision_loss, reason = "counts of examples are far below 2²⁴")]
fn as_f32(count: usize) -> f32 {
    count as f32
}

#[expect(clippy::cast_possible_truncation, reason = "it is between i16::MIN and i16::MAX by its scale")]
fn rounded(weight: f32) -> i16 {
    weight.round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIPS: [&str; 5] = [
        "book a flight to berlin",
        "find me a flight for friday",
        "i need a plane ticket to rome",
        "fly me to paris next week",
        "reserve two seats on the plane",
    ];
    const MONEY: [&str; 5] = [
        "what is my account balance",
        "send money to my landlord",
        "transfer 50 euros to savings",
        "how much money do i have in the bank",
        "pay the bill from my account",
    ];

    fn trained() -> Classifier {
        let of = |texts: [&'static str; 5], class| texts.into_iter().map(move |text| Example { text, class });
        let examples: Vec<_> = of(TRIPS, 0).chain(of(MONEY, 1)).collect();
        Classifier::train(&examples, 2, &|| false).unwrap()
    }

    #[test]
    fn it_tells_what_it_has_learnt_apart() {
        let trained = trained();
        for (text, class) in
            [("a flight on monday", 0), ("how much is in my account", 1), ("FLYING to Rome", 0)]
        {
            let margins = trained.scores(text).unwrap().margins;
            assert!(margins[class] > margins[1 - class], "{text}: {margins:?}");
        }
    }

    #[test]
    fn a_text_of_nothing_known_has_no_scores() {
        let trained = trained();
        assert_eq!(trained.scores("…"), None);
        assert_eq!(trained.scores("жжж"), None);
        let stranger = trained.scores("zzz yyyyyyyy").unwrap();
        assert!(!stranger.fits, "{stranger:?} against {}", trained.threshold());
    }

    #[test]
    fn it_is_the_same_each_time() {
        let (one, other) = (trained(), trained());
        assert_eq!(one.scores("money for a flight"), other.scores("money for a flight"));
        assert_eq!(one.threshold().to_bits(), other.threshold().to_bits());
    }

    #[test]
    fn nothing_is_learnt_from_nothing() {
        let train = |examples: &[(&'static str, u16)], classes| {
            let examples: Vec<_> =
                examples.iter().map(|(text, class)| Example { text, class: *class }).collect();
            Classifier::train(&examples, classes, &|| false)
        };
        assert!(train(&[], 2).is_none());
        assert!(train(&[("a", 0)], 1).is_none());
        assert!(train(&[("…", 0), ("!", 1)], 2).is_none());
        assert!(train(&[("a", 0), ("b", 1)], 2).is_some());
    }

    #[test]
    fn it_stops_when_told() {
        let examples = [Example { text: "a", class: 0 }, Example { text: "b", class: 1 }];
        assert!(Classifier::train(&examples, 2, &|| true).is_none());
    }
}
