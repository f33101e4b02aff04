//! How well agents are selected, on sentences that the classifier has never seen (CLINC150, `tests/data`). What is asserted is a
//! little less than what was measured; `powerhouse bench selection` measures all of it, and the time.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::collections::BTreeMap;

use powerhouse_domain::selection::{Classifier, Example};
use serde_json::Value;

type Sentences = Vec<(String, String)>;

fn sentences(part: &str) -> Sentences {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/data/clinc150.json");
    let data: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let pairs = data[part].as_array().unwrap().iter();
    pairs.map(|pair| [&pair[0], &pair[1]].map(|text| text.as_str().unwrap().to_owned()).into()).collect()
}

/// Every so manyth sentence of each agent.
fn every(nth: usize, all: &Sentences) -> Sentences {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut is_taken = |name| {
        let count = seen.entry(name).or_default();
        *count += 1;
        *count % nth == 1 % nth
    };
    all.iter().filter(|(_, name)| is_taken(name)).cloned().collect()
}

/// Of a hundred: what goes to whom it is for; the same when what is rejected is wrong; and what is for nobody and rejected.
fn measure(train: &Sentences, test: &Sentences, strangers: &Sentences) -> [f64; 3] {
    let mut names: Vec<&str> = train.iter().map(|(_, name)| &**name).collect();
    names.sort_unstable();
    names.dedup();
    let class = |name: &str| u16::try_from(names.binary_search(&name).unwrap()).unwrap();
    let examples: Vec<_> = train.iter().map(|(text, name)| Example { text, class: class(name) }).collect();
    let classifier = Classifier::train(&examples, u16::try_from(names.len()).unwrap(), &|| false).unwrap();
    let (mut right, mut accepted) = (0_u32, 0_u32);
    for (text, name) in test {
        let scores = classifier.scores(text).unwrap();
        let best = scores.margins.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if scores.margins[usize::from(class(name))] >= best {
            right += 1;
            accepted += u32::from(scores.fits);
        }
    }
    let rejected =
        strangers.iter().filter(|(text, _)| classifier.scores(text).is_none_or(|scores| !scores.fits));
    let percent =
        |part: u32, whole: usize| 100.0 * f64::from(part) / f64::from(u32::try_from(whole).unwrap());
    let rejected = u32::try_from(rejected.count()).unwrap();
    [percent(right, test.len()), percent(accepted, test.len()), percent(rejected, strangers.len())]
}

#[test]
fn ten_examples_of_each_of_150_agents_are_enough_for_four_of_five_tasks() {
    let few = every(10, &sentences("train"));
    assert_eq!(few.len(), 1_500);
    let [accuracy, accepted, recall] = measure(&few, &sentences("test"), &sentences("oos_test"));
    assert!(accuracy > 84.0 && accepted > 83.0 && recall > 50.0, "{accuracy} {accepted} {recall}");
}

/// A third of the agents, so that it does not take long without optimisation.
#[test]
fn with_a_hundred_examples_nearly_every_task_goes_where_it_belongs_and_strangers_do_not() {
    let names: Vec<String> = {
        let mut names: Vec<String> = sentences("train").into_iter().map(|(_, name)| name).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().step_by(3).collect()
    };
    let of = |part| -> Sentences {
        sentences(part).into_iter().filter(|(_, name)| names.contains(name)).collect()
    };
    let [accuracy, accepted, recall] = measure(&of("train"), &of("test"), &sentences("oos_test"));
    assert!(accuracy > 96.5 && accepted > 90.0 && recall > 93.0, "{accuracy} {accepted} {recall}");
}
