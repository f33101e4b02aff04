//! `powerhouse bench selection`: how well and how fast agents are selected, beside what others have measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use powerhouse_domain::selection::{Classifier, Example};
use serde::Deserialize;

use crate::cli::say;

/// Examples of each agent in the second part, and how many such samples there are.
const FEW: usize = 10;
const SAMPLES: usize = 10;

/// A sentence, and who it is for.
type Sentence = (String, String);

/// The form of CLINC150's `data_full.json`.
#[derive(Deserialize)]
struct Data {
    train: Vec<Sentence>,
    test: Vec<Sentence>,
    oos_test: Vec<Sentence>,
}

/// What was measured of one classifier.
struct Measured {
    classifier: Classifier,
    trained_in: Duration,
    /// In scope, whatever the threshold says: how many of a hundred went to whom they were for.
    accuracy: f64,
    /// The same, those that were rejected being wrong.
    accepted: f64,
    /// Of sentences for nobody, how many of a hundred were rejected.
    recall: f64,
    /// How long each decision took, the shortest first.
    decisions: Vec<Duration>,
}

/// Learns from the sentences to train on, decides those to test with, and prints how that went.
pub(crate) fn selection(file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read(file).with_context(|| {
        format!("{} cannot be read: name the data with --data, see docs/selection.md", file.display())
    })?;
    let data: Data = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not of the form of CLINC150's data_full.json", file.display()))?;
    let names: Vec<&str> = numbered(&data.train);
    ensure!(
        names.len() > 1 && !data.test.is_empty() && !data.oos_test.is_empty(),
        "there is nothing to measure"
    );

    let everything: Vec<&Sentence> = data.train.iter().collect();
    let all = measure(&data, &names, &everything)?;
    let few = (0..SAMPLES).map(|sample| measure(&data, &names, &sampled(&data.train, sample)));
    let few = few.collect::<anyhow::Result<Vec<_>>>()?;
    print(&data, names.len(), &all, &few);
    Ok(())
}

/// The agents, each once, in the order of their names.
fn numbered(sentences: &[Sentence]) -> Vec<&str> {
    let mut names: Vec<&str> = sentences.iter().map(|(_, name)| &**name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A few sentences of each agent: every so manyth, from another beginning for each sample. Neighbours are alike.
fn sampled(sentences: &[Sentence], sample: usize) -> Vec<&Sentence> {
    let mut by_name: BTreeMap<&str, Vec<&Sentence>> = BTreeMap::new();
    for sentence in sentences {
        by_name.entry(&sentence.1).or_default().push(sentence);
    }
    let every = |own: Vec<&'_ Sentence>| own.len().div_ceil(FEW);
    by_name
        .into_values()
        .flat_map(|own| {
            let every = every(own.clone());
            own.into_iter().skip(sample % every).step_by(every)
        })
        .collect()
}

fn measure(data: &Data, names: &[&str], train: &[&Sentence]) -> anyhow::Result<Measured> {
    let class = |name: &str| names.binary_search(&name).ok().and_then(|class| u16::try_from(class).ok());
    let examples = train.iter().filter_map(|(text, name)| Some(Example { text, class: class(name)? }));
    let examples: Vec<_> = examples.collect();
    let classes = u16::try_from(names.len()).context("there are too many agents")?;
    let begun = Instant::now();
    let classifier = Classifier::train(&examples, classes, &|| false).context("nothing can be learnt")?;
    let trained_in = begun.elapsed();

    let (mut right, mut accepted) = (0, 0);
    let mut decisions = Vec::with_capacity(data.test.len());
    for (text, name) in &data.test {
        let begun = Instant::now();
        let scores = classifier.scores(text);
        decisions.push(begun.elapsed());
        let Some(scores) = scores else { continue };
        let best = scores.margins.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(best, _)| best);
        if best.and_then(|best| names.get(best)) == Some(&&**name) {
            right += 1;
            accepted += u32::from(scores.fits);
        }
    }
    let is_rejected = |text: &str| classifier.scores(text).is_none_or(|scores| !scores.fits);
    let rejected = data.oos_test.iter().filter(|(text, _)| is_rejected(text)).count();
    decisions.sort_unstable();
    Ok(Measured {
        accuracy: percent(right, data.test.len()),
        accepted: percent(accepted, data.test.len()),
        recall: percent(u32::try_from(rejected)?, data.oos_test.len()),
        classifier,
        trained_in,
        decisions,
    })
}

fn percent(part: u32, whole: usize) -> f64 {
    100.0 * f64::from(part) / u32::try_from(whole).map_or(f64::INFINITY, f64::from)
}

fn print(data: &Data, agents: usize, all: &Measured, few: &[Measured]) {
    let of = |value: fn(&Measured) -> f64| {
        let sorted = |mut values: Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        let values = sorted(few.iter().map(value).collect());
        let mean = values.iter().sum::<f64>() / u32::try_from(values.len()).map_or(1.0, f64::from);
        (mean, values[0], values[values.len() - 1])
    };
    let (accuracy, lowest, highest) = of(|one| one.accuracy);
    let at = |measured: &Measured, hundredths: usize| {
        measured.decisions[(measured.decisions.len() - 1) * hundredths / 100].as_secs_f64() * 1e6
    };
    say(format!(
        "{agents} agents, {} sentences to learn from, {} in scope and {} out of scope to test with\n",
        data.train.len(),
        data.test.len(),
        data.oos_test.len()
    ));
    say("| | in scope | 10 examples an agent | with a threshold: in scope | out of scope recalled |");
    say("|---|---|---|---|---|");
    say(format!(
        "| here | {:.1} % | {accuracy:.1} % | {:.1} % | {:.1} % |",
        all.accuracy, all.accepted, all.recall
    ));
    for line in BASELINES {
        say(line);
    }
    say("\nThe others' figures are theirs, not measured here.");
    say(format!(
        "Of {SAMPLES} samples of {FEW} examples: {lowest:.1} % to {highest:.1} %; with the threshold {:.1} % in scope, {:.1} % of what is out of scope recalled.",
        of(|one| one.accepted).0,
        of(|one| one.recall).0
    ));
    say("\n| | all examples | 10 examples an agent |");
    say("|---|---|---|");
    let first = &few[0];
    let row = |what: &str, show: &dyn Fn(&Measured) -> String| {
        say(format!("| {what} | {} | {} |", show(all), show(first)));
    };
    row("a decision, median", &|one| format!("{:.1} µs", at(one, 50)));
    row("a decision, 99 of 100", &|one| format!("{:.1} µs", at(one, 99)));
    row("memory", &|one| format!("{:.1} MB", as_megabytes(one.classifier.bytes())));
    row("features", &|one| one.classifier.features().to_string());
    row("threshold", &|one| format!("{:.3}", one.classifier.threshold()));
    row("training, with the threshold", &|one| format!("{:.1} s", one.trained_in.as_secs_f64()));
}

fn as_megabytes(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::INFINITY, f64::from) / 1e6
}

/// What others have measured on CLINC150.
const BASELINES: [&str; 4] = [
    "| linear SVM (Larson et al. 2019) | 91.0 % | | | |",
    "| linear SVM, these features | 92.8 % | 82.3 % | 90.2 % | 78.5 % |",
    "| centroids, cosine | 85.6 % | | | |",
    "| fine-tuned BERT | 96.9 % | | | |",
];
