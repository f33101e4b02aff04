//! What the classifier sees of a text: words and pieces of words, as hashes.
//!
//! Words: each word, each pair of neighbours with the text's two ends, and each pair with one word between. Pieces:
//! the 2–5 characters in a row of each word between blanks. A hash has 32 bits; what two features share by accident is
//! no worse than noise (Weinberger et al. 2009).

/// Characters of a text that count. What a task is about is said at its beginning, and a decision takes bounded time.
pub(super) const MAX_CHARS: usize = 2_000;
const LONGEST_PIECE: usize = 5;

/// A text's features, each with how often it occurs, in the order of their hashes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Features {
    pub(super) words: Vec<(u32, u32)>,
    pub(super) pieces: Vec<(u32, u32)>,
}

impl Features {
    /// Reads a text; upper and lower case are the same.
    pub(super) fn of(text: &str) -> Self {
        let mut reader = Reader::default();
        let mut word: Vec<u64> = Vec::new();
        for c in text.chars().take(MAX_CHARS).flat_map(char::to_lowercase) {
            if c.is_alphanumeric() {
                word.push(c.into());
            } else {
                reader.word(&word);
                word.clear();
            }
        }
        reader.word(&word);
        reader.end();
        Self { words: counted(reader.words), pieces: counted(reader.pieces) }
    }
}

/// Seeds, so that no two kinds of features are the same by construction.
const WORD: u64 = 0x517c_c1b7_2722_0a95;
const PAIR: u64 = 0x2545_f491_4f6c_dd1d;
const GAP: u64 = 0x9e37_79b9_7f4a_7c15;
const PIECE: u64 = 0xcbf2_9ce4_8422_2325;
/// What stands before the first and after the last word.
const END: u64 = 0;
const BLANK: u64 = ' ' as u64;

#[derive(Default)]
struct Reader {
    words: Vec<u32>,
    pieces: Vec<u32>,
    /// The hashes of the word before, and of the one before that.
    before: Option<u64>,
    before_that: Option<u64>,
}

impl Reader {
    fn word(&mut self, chars: &[u64]) {
        if chars.is_empty() {
            return;
        }
        let hash = chars.iter().fold(WORD, |hash, c| step(hash, *c));
        self.words.push(finish(hash));
        self.words.push(finish(step(step(PAIR, self.before.unwrap_or(END)), hash)));
        if let Some(other) = self.before_that {
            self.words.push(finish(step(step(GAP, other), hash)));
        }
        self.before_that = self.before.replace(hash);
        self.pieces_of(chars);
    }

    fn pieces_of(&mut self, chars: &[u64]) {
        let at = |index: usize| match index {
            0 => BLANK,
            index => chars.get(index - 1).copied().unwrap_or(BLANK),
        };
        let length = chars.len() + 2;
        for from in 0..length - 1 {
            let mut hash = step(PIECE, at(from));
            for to in from + 1..length.min(from + LONGEST_PIECE) {
                hash = step(hash, at(to));
                self.pieces.push(finish(hash));
            }
        }
    }

    fn end(&mut self) {
        if let Some(last) = self.before {
            self.words.push(finish(step(step(PAIR, last), END)));
        }
    }
}

/// FNV-1a, by whole values.
const fn step(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
}

/// Spreads a hash over 32 bits.
const fn finish(hash: u64) -> u32 {
    ((hash ^ (hash >> 32)).wrapping_mul(GAP) >> 32) as u32
}

fn counted(mut hashes: Vec<u32>) -> Vec<(u32, u32)> {
    hashes.sort_unstable();
    let mut counts: Vec<(u32, u32)> = Vec::with_capacity(hashes.len());
    for hash in hashes {
        match counts.last_mut() {
            Some((last, count)) if *last == hash => *count += 1,
            _ => counts.push((hash, 1)),
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_punctuation_do_not_count() {
        assert_eq!(Features::of("Book a Flight!"), Features::of("book a  flight"));
        assert_ne!(Features::of("book a flight"), Features::of("flight a book"));
        assert_eq!(Features::of("  …  "), Features::default());
    }

    #[test]
    fn words_and_pieces_are_counted() {
        let one = Features::of("cat");
        // The word, and its pairs with both ends.
        assert_eq!(one.words.len(), 3);
        // Of ` cat `: four of two characters, three of three, two of four, one of five.
        assert_eq!(one.pieces.len(), 10);
        let twice = Features::of("cat cat");
        assert!(twice.pieces.iter().all(|(_, count)| *count == 2));
        assert_eq!(Features::of("a b c").words.len(), 3 + 4 + 1);
    }

    #[test]
    fn a_long_text_is_read_to_a_bound() {
        let long = "é".repeat(MAX_CHARS) + " tail";
        assert_eq!(Features::of(&long), Features::of(&"é".repeat(MAX_CHARS)));
    }
}
