//! A bound on the work of a `JSONPath` query, taken from the path's text before anything is parsed or run.
//!
//! A path of a few characters can ask for more than any machine has: `$[*,*][*,*]…` doubles its results with
//! every segment, and a filter that holds a descendant segment visits the document once per candidate. The
//! evaluator knows no limit, so each such part multiplies an estimate here, and too high an estimate is
//! refused.

use serde_json::Value;
use thiserror::Error;

/// Most steps that a query may take by the estimate.
const MAX_STEPS: u64 = 5_000_000;
/// Largest document: its values and names, and one for every 16 bytes of text in them.
const MAX_SIZE: u64 = 100_000;
/// Deepest document.
const MAX_DEPTH: u64 = 128;
/// Deepest nesting of brackets in a path. The parser tries some of them several times over.
const MAX_BRACKETS: usize = 6;

/// Why a query is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum WorkError {
    #[error("the document is too large or nests deeper than {MAX_DEPTH} levels")]
    Document,
    #[error("the path nests brackets deeper than {MAX_BRACKETS} levels")]
    Brackets,
    #[error(
        "the path could take too many steps on a document of this size; use fewer `..`, wildcards, \
             unions or queries inside filters"
    )]
    Steps,
}

/// Refuses a query that might be too much work.
pub(super) fn check(path: &str, document: &Value) -> Result<(), WorkError> {
    let extent = Extent::of(document)?;
    let steps = steps(path, &extent)?;
    if steps > MAX_STEPS { Err(WorkError::Steps) } else { Ok(()) }
}

/// How much there is to visit in a document.
#[derive(Debug, PartialEq, Eq)]
struct Extent {
    size: u64,
    depth: u64,
}

impl Extent {
    fn of(document: &Value) -> Result<Self, WorkError> {
        let mut extent = Self { size: 0, depth: 0 };
        let mut open = vec![(document, 1)];
        while let Some((value, depth)) = open.pop() {
            extent.depth = extent.depth.max(depth);
            extent.size += match value {
                Value::Array(items) => {
                    open.extend(items.iter().map(|item| (item, depth + 1)));
                    1
                }
                Value::Object(members) => {
                    open.extend(members.values().map(|member| (member, depth + 1)));
                    1 + members.keys().map(|name| text_size(name)).sum::<u64>()
                }
                Value::String(text) => text_size(text),
                Value::Null | Value::Bool(_) | Value::Number(_) => 1,
            };
            if extent.size > MAX_SIZE || extent.depth > MAX_DEPTH {
                return Err(WorkError::Document);
            }
        }
        Ok(extent)
    }
}

fn text_size(text: &str) -> u64 {
    1 + u64::try_from(text.len()).unwrap_or(u64::MAX) / 16
}

/// An open bracket of the path.
struct Bracket {
    is_selection: bool,
    selectors: u64,
    holds_filter: bool,
}

/// An upper bound of the steps that the path takes.
///
/// A child segment finds every node at most once per selector, a descendant segment at most once per selector
/// and ancestor; a filter asks its own queries of each candidate.
fn steps(path: &str, extent: &Extent) -> Result<u64, WorkError> {
    let mut steps = extent.size;
    let mut queries_in_filters = 0;
    let mut brackets: Vec<Bracket> = Vec::new();
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        let in_filter = brackets.iter().any(|bracket| bracket.holds_filter);
        let per_candidate = if in_filter { extent.size } else { 1 };
        let factor = match character {
            '\'' | '"' => {
                skip_literal(character, &mut characters);
                1
            }
            '[' | '(' if brackets.len() == MAX_BRACKETS => return Err(WorkError::Brackets),
            '[' | '(' => {
                let is_selection = character == '[';
                brackets.push(Bracket { is_selection, selectors: 1, holds_filter: false });
                1
            }
            ']' | ')' => brackets.pop().map_or(1, |bracket| bracket.selectors),
            ',' => {
                if let Some(bracket) = brackets.last_mut().filter(|bracket| bracket.is_selection) {
                    bracket.selectors += 1;
                }
                1
            }
            '.' if characters.next_if_eq(&'.').is_some() => extent.depth * per_candidate,
            '*' | ':' => per_candidate,
            '?' => {
                if let Some(bracket) = brackets.last_mut() {
                    bracket.holds_filter = true;
                }
                per_candidate
            }
            '@' | '$' if in_filter => {
                queries_in_filters += 1;
                if character == '$' { extent.size } else { 1 }
            }
            _ => 1,
        };
        steps = steps.saturating_mul(factor);
    }
    Ok(steps.saturating_mul(queries_in_filters.max(1)))
}

/// Passes over a quoted name or string, the opening quote of which has been read.
fn skip_literal(quote: char, characters: &mut impl Iterator<Item = char>) {
    while let Some(character) = characters.next() {
        if character == quote {
            return;
        }
        if character == '\\' {
            characters.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXTENT: Extent = Extent { size: 100, depth: 5 };

    #[test]
    fn each_costly_part_multiplies() {
        for (path, expected) in [
            ("$.a[0]['b']", 100),
            ("$[*]", 100),
            ("$..a", 500),
            ("$..a..b", 2500),
            ("$[*,*][*,*,*]", 600),
            ("$[?@.a == 'x']", 100),
            ("$[?@.a == 'x' && @.b == 1]", 200),
            ("$[?@.a < $.b]", 20_000),
            ("$[?count(@..a) > 1]", 50_000),
            ("$[?@[?@.a]]", 20_000),
            ("$['..,*?(((((((((']", 100),
            (r"$['\'..', 'a']", 200),
        ] {
            assert_eq!(steps(path, &EXTENT), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_would_explode_is_refused() {
        let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(check(&format!("${}", "[*,*]".repeat(50)), &nested), Err(WorkError::Steps));
        assert_eq!(check(&format!("${}", "..*".repeat(10)), &nested), Err(WorkError::Steps));
        assert_eq!(check("$..*", &nested), Ok(()));
        assert_eq!(check("$[?((((((1==1))))))]", &nested), Err(WorkError::Brackets));
        let wide = json!(vec![0; 10_000]);
        assert_eq!(check("$[?@ < 5]", &wide), Ok(()));
        assert_eq!(check("$[?count($.*) > 1]", &wide), Err(WorkError::Steps));
    }

    #[test]
    fn a_document_beyond_the_bounds_is_refused() {
        assert_eq!(check("$", &json!(vec![0; 100_000])), Err(WorkError::Document));
        assert_eq!(check("$", &json!("x".repeat(2_000_000))), Err(WorkError::Document));
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(check("$", &deep), Err(WorkError::Document));
    }
}
