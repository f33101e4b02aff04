//! A text as it is put together: paragraphs, lines, and headings with where they are.

use powerhouse_domain::knowledge::{Extracted, Heading};

/// The most white space at the beginning of a line.
const MAX_INDENT: usize = 32;

/// The most characters of a heading: one that is never closed has no end.
const MAX_HEADING: usize = 200;

/// What is between the last word and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
enum Gap {
    #[default]
    None,
    Space,
    Line,
    Paragraph,
}

/// A text that grows.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// So far.
    whole: String,
    title: Option<String>,
    headings: Vec<Heading>,
    gap: Gap,
    /// The level of the heading that is open, and where it begins, once it has.
    heading: Option<(u8, Option<usize>)>,
}

impl Text {
    /// Words; white space between them is a space.
    pub(crate) fn words(&mut self, text: &str) {
        let mut words = text.split_whitespace().peekable();
        if words.peek().is_none() || text.starts_with(char::is_whitespace) {
            self.widen(if text.is_empty() { Gap::None } else { Gap::Space });
        }
        for word in words {
            self.put(word);
            self.gap = Gap::Space;
        }
        if !text.is_empty() && !text.ends_with(char::is_whitespace) {
            self.gap = Gap::None;
        }
    }

    /// Lines as they are, but for white space at their ends and empty lines after each other.
    pub(crate) fn verbatim(&mut self, text: &str) {
        for (index, line) in text.lines().enumerate() {
            if index > 0 {
                self.widen(if self.gap == Gap::Line { Gap::Paragraph } else { Gap::Line });
            }
            let line = line.trim_matches('\u{feff}').trim_end();
            let begin = line.len() - line.trim_start().len();
            let indent: String = line[..begin].chars().filter(|c| *c != '\r').take(MAX_INDENT).collect();
            if begin < line.len() {
                self.put(&format!("{indent}{}", line[begin..].replace('\r', " ")));
            }
        }
        if text.ends_with('\n') {
            self.widen(Gap::Line);
        }
    }

    /// What follows is on another line.
    pub(crate) fn line(&mut self) {
        self.widen(Gap::Line);
    }

    /// What follows is another paragraph.
    pub(crate) fn paragraph(&mut self) {
        self.widen(Gap::Paragraph);
    }

    /// What follows is a heading; 1 is the highest.
    pub(crate) fn begin_heading(&mut self, level: u8) {
        self.end_heading();
        self.heading = Some((level, None));
    }

    /// The heading is over.
    pub(crate) fn end_heading(&mut self) {
        self.paragraph();
        if let Some((level, Some(at))) = self.heading.take() {
            let text = self.whole[at..].chars().take(MAX_HEADING).collect::<String>().trim_end().to_owned();
            self.headings.push(Heading { at, level, text });
        }
    }

    /// What the document calls itself; the first counts.
    pub(crate) fn title(&mut self, text: &str) {
        let title = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.title.is_none() && !title.is_empty() {
            self.title = Some(title);
        }
    }

    pub(crate) fn finish(mut self) -> Extracted {
        self.end_heading();
        let Self { whole, title, headings, .. } = self;
        Extracted { title, text: whole, headings }
    }

    fn widen(&mut self, gap: Gap) {
        if gap > self.gap {
            self.gap = gap;
        }
    }

    fn put(&mut self, word: &str) {
        if !self.whole.is_empty() {
            self.whole.push_str(match self.gap {
                Gap::None => "",
                Gap::Space => " ",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
        }
        self.gap = Gap::None;
        if let Some((_, at @ None)) = &mut self.heading {
            *at = Some(self.whole.len());
        }
        self.whole.push_str(word);
    }
}
