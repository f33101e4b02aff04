//! Markdown: `CommonMark` with tables, as `pulldown-cmark` reads it. HTML in it is read as HTML.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::html;
use crate::text::Text;

pub(crate) fn read(content: &str, text: &mut Text) {
    let mut is_code = false;
    let mut html = String::new();
    let mut is_first_cell = true;
    for event in Parser::new_ext(content, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Start(tag) => match tag {
                Tag::Heading { level, .. } => text.begin_heading(level as u8),
                Tag::CodeBlock(_) => {
                    text.paragraph();
                    is_code = true;
                }
                Tag::Item => {
                    text.line();
                    text.words("- ");
                }
                Tag::TableHead | Tag::TableRow => {
                    text.line();
                    is_first_cell = true;
                }
                Tag::TableCell => {
                    if !is_first_cell {
                        text.words(" | ");
                    }
                    is_first_cell = false;
                }
                Tag::Table(_) | Tag::BlockQuote(_) => text.paragraph(),
                _ => {}
            },
            Event::End(tag) => match tag {
                TagEnd::Heading(_) => text.end_heading(),
                TagEnd::CodeBlock => {
                    is_code = false;
                    text.paragraph();
                }
                TagEnd::Paragraph | TagEnd::List(_) | TagEnd::Table | TagEnd::BlockQuote(_) => {
                    text.paragraph();
                }
                TagEnd::HtmlBlock => html::read(&std::mem::take(&mut html), text),
                _ => {}
            },
            Event::Text(said) if is_code => text.verbatim(&said),
            Event::Text(said) | Event::Code(said) => text.words(&said),
            Event::Html(said) => html.push_str(&said),
            Event::SoftBreak => text.words(" "),
            Event::HardBreak => text.line(),
            Event::Rule => text.paragraph(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::knowledge::Extracted;

    use super::*;

    fn extracted(content: &str) -> Extracted {
        let mut text = Text::default();
        read(content, &mut text);
        text.finish()
    }

    #[test]
    fn structure_stays_and_marks_go() {
        let found = extracted(
            "# Leave *policy*\n\nEvery **employee**\nhas [20 days](https://x.org).\n\n## Parents\n\n- 26 weeks\n- ask\n  early\n\n\
             ```sh\nhr  apply\n\n\n  --now\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        );
        assert_eq!(
            found.text,
            "Leave policy\n\nEvery employee has 20 days.\n\nParents\n\n- 26 weeks\n- ask early\n\nhr  apply\n\n  --now\n\n\
             a | b\n1 | 2"
        );
        let headings: Vec<_> = found.headings.iter().map(|h| (h.at, h.level, h.text.as_str())).collect();
        assert_eq!(headings, [(0, 1, "Leave policy"), (43, 2, "Parents")]);
    }

    #[test]
    fn html_within_is_read_as_html() {
        let found = extracted(
            "Before\n\n<div>\n<script>alert(1)</script>\n<p>Inside</p>\n</div>\n\nAfter <b>bold</b>.",
        );
        assert_eq!(found.text, "Before\n\nInside\n\nAfter bold.");
    }

    #[test]
    fn depth_costs_nothing() {
        for deep in ["> ".repeat(100_000), "- ".repeat(50_000), "[".repeat(100_000), "*a ".repeat(100_000)] {
            extracted(&deep);
        }
    }
}
