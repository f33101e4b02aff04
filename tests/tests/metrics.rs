//! What the code measures is what the catalogue lists: names and labels, in both directions (ADR 0019).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use powerhouse_telemetry::CATALOGUE;

const MACROS: [&str; 3] = ["counter!(", "gauge!(", "histogram!("];

/// Names of metrics, and the labels that each is measured with.
type Measured = BTreeMap<String, BTreeSet<String>>;

/// The metrics in a source, read as text: the macros take literal names here.
fn measured_in(source: &str, found: &mut Measured) {
    // Unit tests measure whatever they like.
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    for call in MACROS.iter().flat_map(|name| source.split(name).skip(1)) {
        let call = call.split_once(';').map_or(call, |(statement, _)| statement);
        let mut literals = call.split('"').skip(1).step_by(2);
        let Some(name) = literals.next().filter(|name| name.starts_with("powerhouse_")) else { continue };
        // A label is the literal before an arrow.
        let labels = call.split("=>").collect::<Vec<_>>();
        let labels = labels.iter().take(labels.len() - 1).filter_map(|before| before.rsplit('"').nth(1));
        found.entry(name.to_owned()).or_default().extend(labels.map(str::to_owned));
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn what_is_measured_is_what_the_catalogue_lists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace's root");
    let mut files = Vec::new();
    for folder in ["adapters", "application", "bootstrap"] {
        sources(&root.join(folder), &mut files);
    }
    let mut measured = Measured::new();
    for file in &files {
        measured_in(&fs::read_to_string(file).expect("a module is UTF-8"), &mut measured);
    }
    // Its label is a constant, and so no literal in a macro.
    measured.entry("powerhouse_build_info".to_owned()).or_default().insert("version".to_owned());
    let listed: Measured = CATALOGUE
        .iter()
        .map(|metric| {
            (metric.name.to_owned(), metric.labels.iter().map(|label| (*label).to_owned()).collect())
        })
        .collect();
    assert_eq!(measured, listed);
}

#[test]
fn names_and_labels_are_read_as_they_are_written() {
    let mut found = Measured::new();
    let source = r#"
        counter!("powerhouse_a_total", "by" => by, "decision" => said.clone(), "tier" => "near").increment(1);
        metrics::gauge!("powerhouse_b").set(1);
        other!("powerhouse_c");
        #[cfg(test)] counter!("powerhouse_d");
    "#;
    measured_in(source, &mut found);
    let labels = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let expected = Measured::from([
        ("powerhouse_a_total".to_owned(), labels(&["by", "decision", "tier"])),
        ("powerhouse_b".to_owned(), labels(&[])),
    ]);
    assert_eq!(found, expected);
}
