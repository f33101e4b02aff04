//! Extractive summaries: the sentences of a text that say most about it, or about its question.

use std::collections::HashMap;

use unicode_segmentation::UnicodeSegmentation;

/// Sentences that an extract has at most.
const MAX_SENTENCES: usize = 3;
/// Characters that an extract has at most.
const MAX_CHARACTERS: usize = 1_200;
/// Words shorter than this say nothing about what a text is about.
const MIN_WORD: usize = 4;

/// An extract of a text; with too little text, a sentence that says so.
pub(super) fn from(text: &str) -> String {
    let sentences: Vec<&str> =
        text.split_sentence_bounds().map(str::trim).filter(|sentence| !sentence.is_empty()).collect();
    let question = sentences.iter().rposition(|sentence| sentence.ends_with('?'));
    let source: Vec<&str> = sentences
        .iter()
        .enumerate()
        .filter(|(at, _)| Some(*at) != question)
        .map(|(_, sentence)| *sentence)
        .collect();
    let chosen = if source.len() > MAX_SENTENCES {
        best(&source, question.map(|at| sentences[at]))
    } else {
        return cut(&format!("No language model is configured, so this task cannot be answered: {text}"));
    };
    cut(&chosen.join(" "))
}

/// The best sentences in their order: by the words of the question if there is one, else by the words that are
/// frequent in the text (Luhn 1958).
fn best<'a>(source: &[&'a str], question: Option<&str>) -> Vec<&'a str> {
    let mut weights: HashMap<String, f64> = HashMap::new();
    for word in question.map_or_else(|| words(&source.join(" ")), words) {
        *weights.entry(word).or_insert(0.0) += 1.0;
    }
    let score = |sentence: &str| {
        let words = words(sentence);
        let count = f64::from(u32::try_from(words.len().max(1)).unwrap_or(u32::MAX));
        words.iter().filter_map(|word| weights.get(word)).sum::<f64>() / count.sqrt()
    };
    let mut ranked: Vec<usize> = (0..source.len()).collect();
    ranked.sort_by(|a, b| score(source[*b]).total_cmp(&score(source[*a])));
    ranked.truncate(MAX_SENTENCES);
    ranked.sort_unstable();
    ranked.into_iter().map(|at| source[at]).collect()
}

fn words(text: &str) -> Vec<String> {
    text.unicode_words().filter(|word| word.chars().count() >= MIN_WORD).map(str::to_lowercase).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Rust has no garbage collector. The weather was fine. Ownership frees memory in Rust. \
        Somebody laughed. Ownership is checked when Rust compiles.";

    #[test]
    fn frequent_words_choose_the_sentences_in_their_order() {
        let extract = from(TEXT);
        assert!(extract.starts_with("Rust has no") && extract.ends_with("Rust compiles."), "{extract}");
        assert!(!extract.contains("laughed"));
    }

    #[test]
    fn a_question_chooses_by_its_own_words() {
        let extract = from(&format!("{TEXT} Who laughed about the weather?"));
        assert!(extract.contains("laughed.") && extract.contains("weather was"), "{extract}");
        assert!(!extract.contains('?'));
    }

    #[test]
    fn little_text_is_no_source_and_a_long_one_is_cut() {
        assert!(from("Write a poem.").contains("No language model"));
        assert!(from(&"a".repeat(9_000)).chars().count() <= MAX_CHARACTERS + 1);
    }
}
