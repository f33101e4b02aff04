//! HTML: the words between its tags, as `html5gum` tells these apart. What is not shown to people is left out.

use html5gum::{DefaultEmitter, Token, Tokenizer};

use crate::text::Text;

/// Elements whose content is no text.
const SKIPPED: [&str; 11] = [
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "select", "button",
    "datalist",
];
/// Elements that are paragraphs of their own.
const BLOCKS: [&str; 29] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "details",
    "dialog",
    "div",
    "dl",
    "fieldset",
    "figure",
    "figcaption",
    "footer",
    "form",
    "header",
    "hr",
    "main",
    "nav",
    "ol",
    "p",
    "section",
    "summary",
    "table",
    "ul",
    "caption",
    "center",
    "html",
    "head",
    "hgroup",
];

pub(crate) fn read(content: &str, text: &mut Text) {
    let mut emitter = DefaultEmitter::<()>::default();
    emitter.naively_switch_states(true);
    // The element whose content is left out, and how often it is open.
    let mut skipped: Option<(Vec<u8>, u32)> = None;
    let (mut is_title, mut is_pre) = (false, false);
    let mut title = String::new();
    for token in Tokenizer::new_with_emitter(content, emitter) {
        let Ok(token) = token;
        match (token, &mut skipped) {
            (Token::StartTag(tag), Some((name, open)))
                if tag.name.as_slice() == name && !tag.self_closing =>
            {
                *open += 1;
            }
            (Token::EndTag(tag), Some((name, open))) if tag.name.as_slice() == name => {
                *open -= 1;
                if *open == 0 {
                    skipped = None;
                }
            }
            (Token::StartTag(tag), None) => {
                let name = str::from_utf8(&tag.name).unwrap_or_default();
                if SKIPPED.contains(&name) && !tag.self_closing {
                    skipped = Some((tag.name.to_vec(), 1));
                }
                match name {
                    "title" => is_title = true,
                    "pre" => {
                        text.paragraph();
                        is_pre = true;
                    }
                    _ => begin(name, text),
                }
            }
            (Token::EndTag(tag), None) => {
                let name = str::from_utf8(&tag.name).unwrap_or_default();
                match name {
                    "title" if is_title => {
                        is_title = false;
                        text.title(&std::mem::take(&mut title));
                    }
                    "pre" => {
                        is_pre = false;
                        text.paragraph();
                    }
                    _ if level(name).is_some() => text.end_heading(),
                    _ if BLOCKS.contains(&name) => text.paragraph(),
                    _ => {}
                }
            }
            (Token::String(said), None) => {
                let said = String::from_utf8_lossy(&said);
                match (is_title, is_pre) {
                    (true, _) => title.push_str(&said),
                    (_, true) => text.verbatim(&said),
                    _ => text.words(&said),
                }
            }
            _ => {}
        }
    }
}

fn begin(name: &str, text: &mut Text) {
    match name {
        "br" | "tr" | "dt" | "dd" | "option" => text.line(),
        "td" | "th" => text.words(" "),
        "li" => {
            text.line();
            text.words("- ");
        }
        _ => match level(name) {
            Some(level) => text.begin_heading(level),
            None if BLOCKS.contains(&name) => text.paragraph(),
            None => {}
        },
    }
}

/// The level of a heading.
fn level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', digit @ b'1'..=b'6'] => Some(digit - b'0'),
        _ => None,
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
    fn what_people_read_stays_and_the_rest_goes() {
        let found = extracted(
            "<!doctype html><html><head><title> The\nhandbook </title><style>p{}</style></head><body><nav>Home</nav>\
             <h1>Leave</h1><p>Twenty&nbsp;days &amp; more,<br>each <b>ye</b>ar.<script>if (a < b) {}</script></p>\
             <ul><li>one<li>two</ul><table><tr><td>a</td><td>b</td></tr></table><pre>x  y\n\n  z</pre>\
             <svg><text>no</text></svg><!-- nor this --></body></html>",
        );
        assert_eq!(found.title.as_deref(), Some("The handbook"));
        assert_eq!(
            found.text,
            "Home\n\nLeave\n\nTwenty days & more,\neach year.\n\n- one\n- two\n\na b\n\nx  y\n\n  z"
        );
        assert_eq!((found.headings.len(), found.headings[0].at, found.headings[0].level), (1, 6, 1));
    }

    #[test]
    fn broken_html_has_its_words_still_and_depth_costs_nothing() {
        assert_eq!(extracted("<p>a<p>b</div></p>c<h2>d").text, "a\n\nb\n\nc\n\nd");
        assert_eq!(extracted("a < b && c > d").text, "a < b && c > d");
        assert_eq!(extracted(&format!("{}deep", "<div>".repeat(100_000))).text, "deep");
        assert_eq!(extracted(&format!("{}deep", "<svg>".repeat(1_000))).text, "");
        assert_eq!(extracted("<scr").text, "");
    }
}
