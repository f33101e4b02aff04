//! Cuts a text into chunks: at its headings, else between paragraphs, else between sentences, else where it must be.

use std::ops::Range;

/// The most bytes of a chunk: some 300 tokens of English.
pub const MAX_CHUNK: usize = 1_200;
/// The most bytes that a chunk repeats of the one before.
pub const MAX_OVERLAP: usize = 180;
/// A heading begins a new chunk where the one before has at least so many bytes.
const LEAST_SECTION: usize = MAX_CHUNK / 4;
/// The longest heading that is repeated in what its chunks are found by, in characters.
const MAX_HEADING: usize = 120;

/// A heading of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// At which byte of the text it begins.
    pub at: usize,
    /// 1 for the highest.
    pub level: u8,
    /// What it says.
    pub text: String,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which bytes of the text it is. The bounds are between characters.
    pub range: Range<usize>,
    /// These bytes.
    pub text: String,
    /// The headings that it stands under, the highest first.
    pub headings: Vec<String>,
}

/// A sentence, or as much of one as fits.
struct Piece {
    range: Range<usize>,
    /// Whether a paragraph begins with it, and how long that is.
    paragraph: Option<usize>,
    /// Whether it is a heading.
    is_heading: bool,
}

/// The chunks of a text, in their order. They have at most [`MAX_CHUNK`] bytes each; a chunk repeats the last sentences of
/// the one before, at most [`MAX_OVERLAP`] bytes, unless it begins a section; and together they are all of the text, but for
/// chunks that would be blank.
pub fn chunks(text: &str, headings: &[Heading]) -> Vec<Chunk> {
    let pieces = pieces(text, headings);
    let mut chunks = Vec::new();
    let mut path = Path { headings, next: 0, open: Vec::new() };
    let mut first = 0;
    while first < pieces.len() {
        let last = end_of_chunk(&pieces, first);
        let range = pieces[first].range.start..pieces[last].range.end;
        let path = path.at(range.start);
        if !text[range.clone()].trim().is_empty() {
            chunks.push(Chunk { text: text[range.clone()].to_owned(), range, headings: path });
        }
        if last + 1 == pieces.len() {
            break;
        }
        first = begin_of_next(&pieces, first, last);
    }
    chunks
}

/// The last piece of the chunk that begins with this one.
fn end_of_chunk(pieces: &[Piece], first: usize) -> usize {
    let begin = pieces[first].range.start;
    let mut last = first;
    for (index, piece) in pieces.iter().enumerate().skip(first + 1) {
        let length = pieces[last].range.end - begin;
        let is_full = piece.range.end - begin > MAX_CHUNK;
        // A heading that nothing followed yet stays with what does.
        let is_section = piece.is_heading && !pieces[last].is_heading && length >= LEAST_SECTION;
        let is_paragraph = length >= MAX_CHUNK / 2
            && piece.paragraph.is_some_and(|paragraph| piece.range.start + paragraph - begin > MAX_CHUNK);
        if is_full || is_section || is_paragraph {
            break;
        }
        last = index;
    }
    last
}

/// With which piece the next chunk begins: one that this one has too, where they overlap.
fn begin_of_next(pieces: &[Piece], first: usize, last: usize) -> usize {
    let end = pieces[last].range.end;
    let next = &pieces[last + 1];
    if next.is_heading {
        return last + 1;
    }
    // What is repeated must leave room for what is new, or the chunk would never come to it.
    let room = MAX_CHUNK.saturating_sub(next.range.len()).min(MAX_OVERLAP);
    let mut begin = last + 1;
    while begin > first + 1 && end - pieces[begin - 1].range.start <= room && !pieces[begin - 1].is_heading {
        begin -= 1;
    }
    begin
}

/// The text in pieces, without a gap.
fn pieces(text: &str, headings: &[Heading]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut headings = headings.iter().map(|heading| heading.at).peekable();
    for paragraph in paragraphs(text) {
        while headings.next_if(|at| *at < paragraph.start).is_some() {}
        let is_heading = headings.peek().is_some_and(|at| paragraph.contains(at));
        let mut length = Some(paragraph.len());
        for range in sentences(text, paragraph).into_iter().flat_map(|sentence| fitting(text, sentence)) {
            pieces.push(Piece { range, paragraph: length.take(), is_heading });
        }
    }
    pieces
}

/// Each with the empty lines that follow it.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut paragraphs = Vec::new();
    let mut begin = 0;
    for (at, _) in text.match_indices("\n\n") {
        let after = at + 2;
        // Another empty line belongs to the same gap.
        if after > begin && !text[after..].starts_with('\n') {
            paragraphs.push(begin..after);
            begin = after;
        }
    }
    if begin < text.len() {
        paragraphs.push(begin..text.len());
    }
    paragraphs
}

/// Each with the white space that follows it.
fn sentences(text: &str, paragraph: Range<usize>) -> Vec<Range<usize>> {
    let mut sentences = Vec::new();
    let mut begin = paragraph.start;
    let mut has_ended = false;
    for (at, character) in text[paragraph.clone()].char_indices() {
        let at = paragraph.start + at;
        if has_ended && !character.is_whitespace() {
            if text[begin..at].ends_with(char::is_whitespace) || text[begin..at].ends_with(FULL_STOPS) {
                sentences.push(begin..at);
                begin = at;
            }
            has_ended = matches!(character, '.' | '!' | '?' | '…') || FULL_STOPS.contains(&character);
        } else if matches!(character, '.' | '!' | '?' | '…' | '\n') || FULL_STOPS.contains(&character) {
            has_ended = true;
        }
    }
    if begin < paragraph.end {
        sentences.push(begin..paragraph.end);
    }
    sentences
}

/// What ends a sentence without white space after it.
const FULL_STOPS: [char; 3] = ['。', '！', '？'];

/// The same in parts that fit into a chunk with room to spare, between words where there are some.
fn fitting(text: &str, sentence: Range<usize>) -> Vec<Range<usize>> {
    const PART: usize = MAX_CHUNK / 2;
    let mut parts = Vec::new();
    let mut begin = sentence.start;
    while sentence.end - begin > PART {
        let most = text.floor_char_boundary(begin + PART);
        let space = text[begin..most].rfind(char::is_whitespace);
        let end = space.map_or(most, |at| {
            let at = begin + at;
            at + text[at..].chars().next().map_or(1, char::len_utf8)
        });
        parts.push(begin..end);
        begin = end;
    }
    if begin < sentence.end {
        parts.push(begin..sentence.end);
    }
    parts
}

/// The headings that a place of the text stands under, for places that are asked for in their order.
struct Path<'a> {
    headings: &'a [Heading],
    next: usize,
    open: Vec<&'a Heading>,
}

impl Path<'_> {
    fn at(&mut self, place: usize) -> Vec<String> {
        while let Some(heading) = self.headings.get(self.next).filter(|heading| heading.at <= place) {
            self.open.retain(|open| open.level < heading.level);
            self.open.push(heading);
            self.next += 1;
        }
        self.open.iter().map(|heading| shortened(&heading.text)).collect()
    }
}

/// A heading as chunks are found by it.
pub(super) fn shortened(heading: &str) -> String {
    heading.chars().take(MAX_HEADING).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heading(text: &str, says: &str, level: u8) -> Heading {
        Heading { at: text.find(says).unwrap(), level, text: says.into() }
    }

    #[test]
    fn a_short_text_is_one_chunk() {
        let text = "One sentence. Another one.\n\nA paragraph.";
        let found = chunks(text, &[]);
        assert_eq!(found, [Chunk { range: 0..text.len(), text: text.into(), headings: Vec::new() }]);
        assert_eq!(chunks("", &[]), []);
        assert_eq!(chunks(" \n\n ", &[]), []);
    }

    #[test]
    fn sections_begin_chunks_and_name_them() {
        let body = "It says something of some length here. ".repeat(12);
        let text = format!("Guide\n\nFirst\n\n{body}\n\nSecond\n\n{body}\n\nPart\n\n{body}");
        let headings = [
            heading(&text, "Guide", 1),
            heading(&text, "First", 2),
            heading(&text, "Second", 2),
            heading(&text, "Part", 3),
        ];
        let found = chunks(&text, &headings);
        let paths: Vec<_> = found.iter().map(|chunk| chunk.headings.join(" > ")).collect();
        // A chunk that begins with the title has the headings at its beginning only.
        assert_eq!(paths, ["Guide", "Guide > Second", "Guide > Second > Part"]);
        assert!(found[1].text.starts_with("Second\n\n"), "{:?}", found[1].text);
        assert_eq!(found[0].range.end, found[1].range.start, "sections do not overlap");
    }

    #[test]
    fn a_long_paragraph_is_cut_between_sentences_that_are_repeated() {
        let text =
            (0..40).map(|n| format!("This is sentence number {n} of forty. ")).collect::<Vec<_>>().concat();
        let found = chunks(&text, &[]);
        assert!(found.len() >= 2);
        for pair in found.windows(2) {
            assert!(pair[1].text.starts_with("This is"), "{:?}", pair[1].text);
            assert!(pair[0].text.trim_end().ends_with("forty."));
            let overlap = pair[0].range.end - pair[1].range.start;
            assert!((1..=MAX_OVERLAP).contains(&overlap), "{overlap}");
        }
    }

    #[test]
    fn paragraphs_stay_whole_where_they_can() {
        let paragraph = |n: u32| format!("Paragraph {n}. {}", "It goes on for a while. ".repeat(28));
        let text = [paragraph(1), paragraph(2), paragraph(3)].join("\n\n");
        let found = chunks(&text, &[]);
        assert_eq!(found.len(), 3);
        assert!(found[0].text.starts_with("Paragraph 1") && found[0].text.ends_with("\n\n"));
    }

    #[test]
    fn what_has_no_sentences_is_cut_between_words_and_what_has_no_words_anywhere() {
        for text in ["word ".repeat(2_000), "x".repeat(10_000), "語".repeat(3_000), "長い文。".repeat(500)]
        {
            covers(&text, &chunks(&text, &[])).unwrap();
        }
    }

    #[test]
    fn many_tiny_sections_share_chunks() {
        let text = (0..1_000).map(|n| format!("H{n}\n\nb\n\n")).collect::<Vec<_>>().concat();
        let headings: Vec<_> = (0..1_000)
            .map(|n| Heading { at: text.find(&format!("H{n}\n")).unwrap(), level: 1, text: format!("H{n}") })
            .collect();
        let found = chunks(&text, &headings);
        assert!(found.len() <= text.len() / (LEAST_SECTION / 2), "{}", found.len());
        covers(&text, &found).unwrap();
    }

    fn covers(text: &str, found: &[Chunk]) -> Result<(), TestCaseError> {
        let mut end = 0;
        let mut begin = 0;
        for chunk in found {
            prop_assert_eq!(&text[chunk.range.clone()], &chunk.text);
            prop_assert!(chunk.text.len() <= MAX_CHUNK && !chunk.text.trim().is_empty());
            prop_assert!(chunk.range.end > end && chunk.range.start >= begin);
            // What is between two chunks is blank, and what they share is little.
            let gap = text.get(end..chunk.range.start).unwrap_or_default();
            prop_assert!(gap.trim().is_empty(), "{:?} is in no chunk", gap);
            prop_assert!(end.saturating_sub(chunk.range.start) <= MAX_OVERLAP);
            (begin, end) = (chunk.range.start, chunk.range.end);
        }
        prop_assert!(text[end..].trim().is_empty(), "{:?} is in no chunk", &text[end..]);
        Ok(())
    }

    proptest! {
        #[test]
        fn chunks_are_the_text(
            parts in prop::collection::vec("[a-zé語. !?。\n]{0,80}|[a-z]{700}|( [a-z.]{1,9}){60}|\n\n", 0..30),
            marks in prop::collection::btree_set(0_usize..2_000, 0..12),
        ) {
            let text = parts.concat();
            let headings: Vec<_> = marks
                .into_iter()
                .filter(|at| text.is_char_boundary(*at) && *at < text.len())
                .map(|at| Heading { at, level: u8::try_from(at % 6).unwrap() + 1, text: format!("h{at}") })
                .collect();
            covers(&text, &chunks(&text, &headings))?;
        }
    }
}
