//! Lines, paragraphs and headings, from where on the page glyphs are.
//!
//! Text is taken in the order in which the page draws it, which is the order of reading for nearly all that write PDF, also in columns.
//! Its lines stay lines, so that the rows of a table are told apart.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hayro_font::kurbo::{Point, Vec2};
use powerhouse_domain::knowledge::MAX_CONTENT;

use super::{Answer, Part};

/// From here on, in parts of the size, a gap is a space between words.
const WORD_GAP: f64 = 0.17;
/// How far back a glyph may be, in parts of the size, to be on the line still: accents are, and scripts that go left.
const MAX_BACK: f64 = 3.0;
/// How far off the line a glyph may be, in parts of the size: footnotes' numbers are.
const MAX_OFF: f64 = 0.5;
/// Where lines are further from each other than usual by this factor, another paragraph begins.
const PARAGRAPH: f64 = 1.3;
/// The most that is usual between lines, in parts of the size.
const MAX_LEADING: f64 = 1.4;
/// What is larger than most of the text by this factor may be a heading, when it is short.
const HEADING: f64 = 1.15;
/// The most characters of a heading, and the least letters.
const HEADING_CHARACTERS: std::ops::RangeInclusive<usize> = 2..=150;

/// Where a glyph is, in the page's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Glyph {
    pub(super) start: Point,
    pub(super) end: Point,
    /// The way that text goes; of any length.
    pub(super) ahead: Vec2,
    /// The size of the font.
    pub(super) size: f64,
}

/// More text than a document may have.
#[derive(Debug)]
pub(super) struct TooLong;

/// The text of a document, page by page.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Those that are at their end.
    done: Vec<Vec<Line>>,
    lines: Vec<Line>,
    bytes: usize,
    /// How many glyphs were of a letter, and of which it is not said what they are.
    known: u64,
    unknown: u64,
}

#[derive(Debug)]
struct Line {
    text: String,
    start: Point,
    end: Point,
    ahead: Vec2,
    /// Of its first glyph.
    size: f64,
    /// Of its last glyph.
    last_size: f64,
}

impl Pages {
    /// Puts what a glyph says; U+FFFD where nobody knows.
    pub(super) fn put(&mut self, glyph: &Glyph, text: &str) {
        if text.chars().all(|char| char == char::REPLACEMENT_CHARACTER) {
            self.unknown += u64::from(!text.is_empty());
            return;
        }
        self.known += 1;
        let length = |lines: &[Line]| lines.last().map_or(0, |line| line.text.len());
        if let Some((gap, line)) = self.lines.last_mut().and_then(|line| Some((line.gap(glyph)?, line))) {
            line.put(glyph, text, gap > WORD_GAP);
        } else {
            // An empty line after it is counted with each.
            self.bytes += 2 + length(&self.lines);
            self.lines.push(Line::new(glyph, text));
        }
    }

    /// Whether there is more than a document may have. What is on the last line counts once the next begins, or when it is long.
    pub(super) fn is_full(&self) -> bool {
        self.bytes + self.lines.last().map_or(0, |line| line.text.len()) > MAX_CONTENT
    }

    pub(super) fn end_page(&mut self) -> Result<(), TooLong> {
        if self.is_full() {
            return Err(TooLong);
        }
        self.bytes += self.lines.last().map_or(0, |line| line.text.len());
        self.done.push(std::mem::take(&mut self.lines));
        Ok(())
    }

    pub(super) fn finish(self, title: Option<&str>) -> Answer {
        if self.known == 0 || self.unknown > self.known {
            return Answer::Wordless;
        }
        let levels = Levels::of(self.done.iter().flatten());
        let parts: Vec<Part> =
            self.done.iter().flat_map(|page| paragraphs(page)).map(|lines| levels.part(lines)).collect();
        let is_blank = parts.iter().all(|part| part.text.trim().is_empty());
        if is_blank { Answer::Wordless } else { Answer::Text { title: title.map(cleaned), parts } }
    }
}

impl Line {
    fn new(glyph: &Glyph, text: &str) -> Self {
        let mut line = Self {
            text: String::new(),
            start: glyph.start,
            end: glyph.start,
            ahead: glyph.ahead.normalize(),
            size: glyph.size,
            last_size: glyph.size,
        };
        line.put(glyph, text, false);
        line
    }

    /// How far a glyph is from the end of the line, in parts of its size; nothing, if it is not on the line.
    fn gap(&self, glyph: &Glyph) -> Option<f64> {
        let size = self.last_size.max(glyph.size);
        let by = glyph.start - self.end;
        let (along, off) = (by.dot(self.ahead) / size, by.cross(self.ahead).abs() / size);
        let is_same_way = glyph.ahead.normalize().dot(self.ahead) > 0.99;
        (is_same_way && along > -MAX_BACK && off < MAX_OFF).then_some(along)
    }

    fn put(&mut self, glyph: &Glyph, text: &str, is_apart: bool) {
        let text = cleaned(text);
        let is_open = !self.text.is_empty() && !self.text.ends_with(' ');
        if is_open && (is_apart || text.starts_with(' ')) {
            self.text.push(' ');
        }
        self.text.push_str(if text.starts_with(' ') { text.trim_start() } else { &text });
        self.end = glyph.end;
        // A space has any size.
        if !text.trim().is_empty() {
            self.last_size = glyph.size;
        }
    }

    /// How far the next line is below this one, in the page's units.
    fn below(&self, next: &Self) -> f64 {
        (next.start - self.start).dot(Vec2::new(self.ahead.y, -self.ahead.x))
    }
}

/// Ligatures in letters, white space and controls as spaces.
fn cleaned(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            'ﬀ' => cleaned.push_str("ff"),
            'ﬁ' => cleaned.push_str("fi"),
            'ﬂ' => cleaned.push_str("fl"),
            'ﬃ' => cleaned.push_str("ffi"),
            'ﬄ' => cleaned.push_str("ffl"),
            'ﬅ' | 'ﬆ' => cleaned.push_str("st"),
            _ if char.is_whitespace() || char.is_control() => cleaned.push(' '),
            _ => cleaned.push(char),
        }
    }
    cleaned
}

/// The paragraphs of a page, each of lines that are as far from each other as is usual.
fn paragraphs(lines: &[Line]) -> impl Iterator<Item = &[Line]> {
    let usual = usual_leading(lines);
    lines.chunk_by(move |line, next| {
        let size = line.size.max(next.size);
        let below = line.below(next) / size;
        let is_same_size = (line.size - next.size).abs() <= size / 10.0;
        let is_same_way = line.ahead.dot(next.ahead) > 0.99;
        is_same_size && is_same_way && (-MAX_OFF..usual * PARAGRAPH).contains(&below)
    })
}

/// How far lines are from each other, in parts of their size: the middle of all distances.
fn usual_leading(lines: &[Line]) -> f64 {
    let mut leadings: Vec<f64> = lines
        .windows(2)
        .map(|pair| pair[0].below(&pair[1]) / pair[0].size)
        .filter(|leading| (0.5..3.0).contains(leading))
        .collect();
    leadings.sort_by(f64::total_cmp);
    leadings.get(leadings.len() / 2).map_or(MAX_LEADING, |middle| middle.min(MAX_LEADING))
}

/// Which sizes are those of headings, the largest first.
struct Levels(Vec<i64>);

impl Levels {
    fn of<'l>(lines: impl Iterator<Item = &'l Line>) -> Self {
        let mut characters: BTreeMap<i64, usize> = BTreeMap::new();
        for line in lines {
            *characters.entry(rounded(line.size)).or_default() += line.text.len();
        }
        let most = characters.iter().max_by_key(|(_, count)| **count).map_or(i64::MAX, |(size, _)| *size);
        #[expect(clippy::cast_precision_loss, reason = "compared roughly")]
        let is_large = |size: &i64| *size as f64 >= most as f64 * HEADING;
        Self(characters.into_keys().rev().take_while(is_large).collect())
    }

    fn part(&self, lines: &[Line]) -> Part {
        let level = lines.first().and_then(|line| self.0.iter().position(|size| *size == rounded(line.size)));
        let letters =
            || lines.iter().flat_map(|line| line.text.chars()).filter(|char| char.is_alphabetic()).count();
        let length = || lines.iter().map(|line| line.text.chars().count()).sum::<usize>();
        let is_heading = HEADING_CHARACTERS.contains(&letters()) && HEADING_CHARACTERS.contains(&length());
        let level =
            level.filter(|_| is_heading).map(|level| u8::try_from(level + 1).unwrap_or(u8::MAX).min(6));
        Part { level, text: joined(lines) }
    }
}

/// A size in halves of a point.
#[expect(clippy::cast_possible_truncation, reason = "no size is as large")]
fn rounded(size: f64) -> i64 {
    (size * 2.0).round() as i64
}

/// The lines under each other. A word that is cut at the end of a line is put together.
fn joined(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let words = line.text.trim_end();
        let soft = text.strip_suffix('\u{ad}').map(str::len);
        let cut = text.strip_suffix(['-', '\u{2010}']).filter(|rest| rest.ends_with(char::is_lowercase));
        let cut = cut.filter(|_| words.starts_with(char::is_lowercase)).map(str::len);
        match soft.or(cut) {
            Some(end) => text.truncate(end),
            None if text.is_empty() => {}
            None => text.push('\n'),
        }
        let _ = write!(text, "{words}");
    }
    text.retain(|char| char != '\u{ad}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: Vec2 = Vec2::new(1.0, 0.0);

    /// Draws words with gaps for spaces, each letter half as wide as it is high.
    fn draw(pages: &mut Pages, (x, y): (f64, f64), size: f64, text: &str) {
        let mut start = Point::new(x, y);
        for char in text.chars() {
            let end = start + RIGHT * size / 2.0;
            if char != ' ' {
                pages.put(&Glyph { start, end, ahead: RIGHT, size }, char.encode_utf8(&mut [0; 4]));
            }
            start = end;
        }
    }

    fn parts(pages: Pages) -> Vec<(Option<u8>, String)> {
        match pages.finish(None) {
            Answer::Text { parts, .. } => parts.into_iter().map(|part| (part.level, part.text)).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn body(text: &str) -> (Option<u8>, String) {
        (None, text.to_owned())
    }

    #[test]
    fn gaps_are_spaces_lines_are_lines_and_what_is_far_below_is_a_paragraph() {
        let mut pages = Pages::default();
        draw(&mut pages, (50.0, 700.0), 10.0, "Twenty days of");
        draw(&mut pages, (50.0, 688.0), 10.0, "leave for all.");
        draw(&mut pages, (50.0, 668.0), 10.0, "More for some");
        draw(&mut pages, (50.0, 656.0), 10.0, "of the offi-");
        draw(&mut pages, (50.0, 644.0), 10.0, "cers, by 2027-");
        draw(&mut pages, (50.0, 632.0), 10.0, "28");
        // The next column.
        draw(&mut pages, (300.0, 700.0), 10.0, "Next column");
        pages.end_page().unwrap();
        draw(&mut pages, (50.0, 700.0), 10.0, "Next page");
        pages.end_page().unwrap();
        let expected = [
            "Twenty days of\nleave for all.",
            "More for some\nof the officers, by 2027-\n28",
            "Next column",
            "Next page",
        ];
        assert_eq!(parts(pages), expected.map(body));
    }

    #[test]
    fn what_is_large_and_short_is_a_heading_the_largest_the_highest() {
        let mut pages = Pages::default();
        draw(&mut pages, (50.0, 800.0), 24.0, "The handbook");
        draw(&mut pages, (50.0, 760.0), 14.0, "Leave and");
        draw(&mut pages, (50.0, 744.0), 14.0, "parents");
        draw(&mut pages, (50.0, 725.0), 10.0, "Parental leave takes 26 weeks, and more where somebody asks.");
        draw(&mut pages, (400.0, 600.0), 40.0, "7");
        pages.end_page().unwrap();
        let heading = |level, text: &str| (Some(level), text.to_owned());
        assert_eq!(
            parts(pages),
            [
                heading(2, "The handbook"),
                heading(3, "Leave and\nparents"),
                body("Parental leave takes 26 weeks, and more where somebody asks."),
                body("7"),
            ]
        );
    }

    #[test]
    fn letters_are_plain_and_small_steps_are_no_lines() {
        let mut pages = Pages::default();
        draw(&mut pages, (50.0, 700.0), 10.0, "eﬃcient\u{a0}oﬀer\u{7}");
        // A footnote's number, and what is set closer.
        draw(&mut pages, (110.0, 703.0), 6.0, "1");
        draw(&mut pages, (112.5, 700.0), 10.0, "A");
        pages.end_page().unwrap();
        assert_eq!(parts(pages), [body("efficient offer 1A")]);
    }

    #[test]
    fn text_that_turns_is_text_of_its_own() {
        let mut pages = Pages::default();
        draw(&mut pages, (50.0, 700.0), 10.0, "across");
        let up = |y: f64| Glyph {
            start: Point::new(80.0, y),
            end: Point::new(80.0, y + 5.0),
            ahead: Vec2::new(0.0, 1.0),
            size: 10.0,
        };
        pages.put(&up(700.0), "u");
        pages.put(&up(705.0), "p");
        pages.end_page().unwrap();
        assert_eq!(parts(pages), [body("across"), body("up")]);
    }

    #[test]
    fn letters_that_nobody_knows_are_no_text_and_too_many_are_too_many() {
        let glyph = Glyph { start: Point::ORIGIN, end: Point::ORIGIN, ahead: RIGHT, size: 10.0 };
        let mut pages = Pages::default();
        for text in ["\u{fffd}", "a", "\u{fffd}"] {
            pages.put(&glyph, text);
        }
        pages.end_page().unwrap();
        assert_eq!(pages.finish(None), Answer::Wordless);
        assert_eq!(Pages::default().finish(None), Answer::Wordless);

        let mut pages = Pages::default();
        pages.put(&glyph, &"x".repeat(MAX_CONTENT - 2));
        assert!(!pages.is_full());
        pages.end_page().unwrap();
        pages.put(&glyph, "y");
        assert!(pages.end_page().is_err());
    }

    #[test]
    fn numbers_that_are_none_do_no_harm() {
        let mut pages = Pages::default();
        for (x, size) in
            [(f64::NAN, 1.0), (f64::INFINITY, f64::INFINITY), (0.0, 0.0), (f64::MAX, f64::NAN), (1.0, -1.0)]
        {
            let point = Point::new(x, size);
            for ahead in [RIGHT, Vec2::ZERO, Vec2::new(x, x)] {
                pages.put(&Glyph { start: point, end: point, ahead, size }, "xy");
            }
        }
        pages.end_page().unwrap();
        assert!(!parts(pages).is_empty());
    }
}
