//! What is stored of a document, so that its chunks can be found.

use std::collections::BTreeMap;

use super::words::words;
use super::{BadDocument, Chunk, Extracted, Heading, Occurrence, chunks};

/// The most different words of a document.
pub const MAX_DISTINCT_WORDS: usize = 20_000;

/// A document's text, ready to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// What it is called.
    pub title: String,
    /// How many bytes its text has.
    pub bytes: usize,
    /// Its chunks, in their order.
    pub chunks: Vec<Chunk>,
    /// Where its words are.
    pub words: BTreeMap<String, Vec<Occurrence>>,
    /// How many words its chunks have.
    pub length: u64,
}

impl Indexed {
    /// Cuts a text into chunks, and counts their words. It is called by its title, by the one that it gives itself, or by
    /// its first heading. Takes a while for a long text.
    pub fn of(title: &str, extracted: &Extracted) -> Result<Self, BadDocument> {
        let Extracted { title: own, text, headings } = extracted;
        let chunks = chunks(text, headings);
        if chunks.is_empty() {
            return Err(BadDocument::new("/content", "has no text"));
        }
        let title = titled(title, own.as_deref(), headings);
        let mut index: BTreeMap<String, Vec<Occurrence>> = BTreeMap::new();
        let mut total = 0;
        for (ordinal, chunk) in (0_u32..).zip(&chunks) {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            let mut length = 0_u32;
            for word in words(&found_by(&title, chunk)) {
                *counts.entry(word).or_default() += 1;
                length += 1;
            }
            total += u64::from(length);
            for (word, count) in counts {
                index.entry(word).or_default().push(Occurrence { ordinal, count, length });
            }
        }
        if index.len() > MAX_DISTINCT_WORDS {
            let reason = format!("has more than {MAX_DISTINCT_WORDS} different words: put it in parts");
            return Err(BadDocument::new("/content", reason));
        }
        Ok(Self { title, bytes: text.len(), chunks, words: index, length: total })
    }

    /// The texts by which chunks are found: each under the title and the headings that it stands under, which it may not
    /// repeat.
    pub fn texts(&self) -> Vec<String> {
        self.chunks.iter().map(|chunk| found_by(&self.title, chunk)).collect()
    }
}

fn titled(title: &str, own: Option<&str>, headings: &[Heading]) -> String {
    let first = || headings.first().map(|heading| heading.text.as_str());
    let given = Some(title.trim()).filter(|title| !title.is_empty());
    let title = given.or(own.filter(|own| !own.trim().is_empty())).or_else(first).unwrap_or_default();
    title.trim().chars().take(super::MAX_TITLE).collect()
}

fn found_by(title: &str, chunk: &Chunk) -> String {
    let above = chunk.headings.iter().map(String::as_str).filter(|heading| *heading != title);
    let mut above: Vec<_> = Some(title).filter(|title| !title.is_empty()).into_iter().chain(above).collect();
    above.push(&chunk.text);
    above.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extracted(text: &str) -> Extracted {
        Extracted { title: None, text: text.into(), headings: Vec::new() }
    }

    #[test]
    fn words_are_counted_by_chunk_with_those_of_the_title() {
        let indexed = Indexed::of("Leave", &extracted("Parental leave takes weeks. Weeks!")).unwrap();
        assert_eq!(indexed.title, "Leave");
        let of = |word: &str| indexed.words.get(word).map(|found| (found[0].count, found[0].length));
        assert_eq!((of("leave"), of("week"), of("parental")), (Some((2, 6)), Some((2, 6)), Some((1, 6))));
        assert_eq!((indexed.length, indexed.chunks.len()), (6, 1));
        assert_eq!(indexed.texts(), ["Leave\nParental leave takes weeks. Weeks!"]);
    }

    #[test]
    fn a_title_is_given_or_its_own_or_the_first_heading() {
        let heading = Heading { at: 0, level: 1, text: "Heading".into() };
        let with = |title: &str, own: Option<&str>| {
            let own = own.map(str::to_owned);
            let extracted = Extracted { title: own, text: "Heading".into(), headings: vec![heading.clone()] };
            Indexed::of(title, &extracted).unwrap().title
        };
        assert_eq!(with(" Given ", Some("Own")), "Given");
        assert_eq!(with("", Some("Own")), "Own");
        assert_eq!(with("", Some(" ")), "Heading");
        assert_eq!(Indexed::of("", &extracted("text")).unwrap().title, "");
    }

    #[test]
    fn what_has_no_text_or_too_many_words_is_refused() {
        assert_eq!(Indexed::of("t", &extracted(" \n ")).unwrap_err().pointer, "/content");
        let many = (0..=MAX_DISTINCT_WORDS).map(|n| format!("w{n}x ")).collect::<Vec<_>>().concat();
        assert!(Indexed::of("t", &extracted(&many)).is_err());
    }
}
