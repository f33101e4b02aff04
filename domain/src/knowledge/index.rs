//! What is stored of a document, so that its chunks can be found.

use std::collections::BTreeMap;
use std::ops::Range;

use super::chunking::shortened;
use super::words::words;
use super::{BadDocument, Chunk, Extracted, Heading, Occurrence, chunks};
use crate::masking::{Classes, Found, find, mask};

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
            for word in words(&found_by(&title, &chunk.headings, &chunk.text)) {
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
        self.chunks.iter().map(|chunk| found_by(&self.title, &chunk.headings, &chunk.text)).collect()
    }

    /// The same texts without what is of these classes, for the document that this was made of. It is looked for in the whole
    /// text: a chunk may have one half of it, which nobody would know by itself.
    pub fn texts_without(&self, classes: Classes, title: &str, extracted: &Extracted) -> Vec<String> {
        if classes.is_empty() {
            return self.texts();
        }
        let Extracted { title: own, text, headings } = extracted;
        let masked = |heading: &Heading| Heading {
            text: mask(&heading.text, classes).into_owned(),
            ..heading.clone()
        };
        let masked: Vec<Heading> = headings.iter().map(masked).collect();
        let own = own.as_deref().map(|own| mask(own, classes));
        let title = titled(&mask(title, classes), own.as_deref(), &masked);
        let told: BTreeMap<String, String> = headings
            .iter()
            .zip(&masked)
            .map(|(heading, masked)| (shortened(&heading.text), shortened(&masked.text)))
            .collect();
        let found = find(text, classes);
        let text_of = |chunk: &Chunk| {
            let headings = chunk.headings.iter().filter_map(|heading| told.get(heading).cloned());
            found_by(&title, &headings.collect::<Vec<_>>(), &without(&found, text, &chunk.range))
        };
        self.chunks.iter().map(text_of).collect()
    }
}

fn titled(title: &str, own: Option<&str>, headings: &[Heading]) -> String {
    let first = || headings.first().map(|heading| heading.text.as_str());
    let given = Some(title.trim()).filter(|title| !title.is_empty());
    let title = given.or(own.filter(|own| !own.trim().is_empty())).or_else(first).unwrap_or_default();
    title.trim().chars().take(super::MAX_TITLE).collect()
}

fn found_by(title: &str, headings: &[String], text: &str) -> String {
    let above = headings.iter().map(String::as_str).filter(|heading| *heading != title);
    let mut above: Vec<_> = Some(title).filter(|title| !title.is_empty()).into_iter().chain(above).collect();
    above.push(text);
    above.join("\n")
}

/// A part of a text, with a placeholder for all that it has of what was found in the whole.
fn without(found: &[Found], text: &str, part: &Range<usize>) -> String {
    let first = found.partition_point(|found| found.range.end <= part.start);
    let mut masked = String::with_capacity(part.len());
    let mut from = part.start;
    for Found { class, range } in found[first..].iter().take_while(|found| found.range.start < part.end) {
        masked.push_str(&text[from..range.start.max(from)]);
        masked.push_str(&class.placeholder());
        from = range.end.min(part.end);
    }
    masked.push_str(&text[from..part.end]);
    masked
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
    fn what_is_cut_in_two_is_taken_out_of_both_parts() {
        let secret = "-----BEGIN PRIVATE KEY-----\n".to_owned() + &"MIIEcanary0123456789\n".repeat(200);
        let words = "It goes on and on. ".repeat(60);
        let text = format!("{words}\nwrite to canary@example.org {secret}-----END PRIVATE KEY-----\n{words}");
        let heading = Heading { at: 0, level: 1, text: format!("{} canary@example.org", "x".repeat(110)) };
        let extracted = Extracted { title: Some("canary@example.org".into()), text, headings: vec![heading] };
        let indexed = Indexed::of("", &extracted).unwrap();
        assert!(indexed.chunks.len() > 4 && indexed.texts().iter().all(|text| text.contains("canary")));
        let masked = indexed.texts_without(Classes::ALL, "", &extracted);
        assert_eq!(masked.len(), indexed.chunks.len());
        for text in &masked {
            assert!(
                text.starts_with("<EMAIL>\nxxx") && !text.contains("anary") && !text.contains("MII"),
                "{text}"
            );
        }
        assert!(masked.iter().filter(|text| text.contains("<SECRET>")).count() > 3);
        assert_eq!(indexed.texts_without(Classes::NONE, "", &extracted), indexed.texts());
        let mail = Classes::from_iter([crate::masking::Class::Email]);
        assert!(indexed.texts_without(mail, "", &extracted).concat().contains("MIIEcanary"));
    }

    proptest::proptest! {
        /// What is not cut is masked as it is by itself.
        #[test]
        fn a_short_text_is_masked_as_any_other(words in proptest::collection::vec("[a-z]{1,9}|[a-z]{3,9}@[a-z]{3,9}\\.org|4000 0566 5566 5556", 1..20)) {
            let extracted = extracted(&words.join(" "));
            let indexed = Indexed::of("", &extracted).unwrap();
            let masked = indexed.texts_without(Classes::ALL, "", &extracted);
            proptest::prop_assert_eq!(masked, vec![mask(&extracted.text, Classes::ALL).into_owned()]);
        }
    }

    #[test]
    fn what_has_no_text_or_too_many_words_is_refused() {
        assert_eq!(Indexed::of("t", &extracted(" \n ")).unwrap_err().pointer, "/content");
        let many = (0..=MAX_DISTINCT_WORDS).map(|n| format!("w{n}x ")).collect::<Vec<_>>().concat();
        assert!(Indexed::of("t", &extracted(&many)).is_err());
    }
}
