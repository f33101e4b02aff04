//! Takes the text, the title and the headings out of plain text, Markdown and HTML.
//!
//! Each reader goes over the document once and puts what it finds into a [`text::Text`]; none builds a tree, and none
//! fetches anything.

mod html;
mod markdown;
mod text;

use async_trait::async_trait;
use powerhouse_domain::knowledge::{Extracted, MediaType};
use powerhouse_ports::documents::{ExtractFailed, TextExtractor};

use text::Text;

/// Reads what documents are written in, on threads that may be busy.
#[derive(Clone, Copy, Debug, Default)]
pub struct DocumentReader;

#[async_trait]
impl TextExtractor for DocumentReader {
    async fn extract(&self, media_type: MediaType, content: String) -> Result<Extracted, ExtractFailed> {
        tokio::task::spawn_blocking(move || read(media_type, &content)).await.map_err(|_| ExtractFailed)
    }
}

fn read(media_type: MediaType, content: &str) -> Extracted {
    let mut text = Text::default();
    match media_type {
        MediaType::Plain => text.verbatim(content),
        MediaType::Markdown => markdown::read(content, &mut text),
        MediaType::Html => html::read(content, &mut text),
    }
    text.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn plain_text_keeps_its_lines_without_the_white_space_around_them() {
        let content = "\u{feff}One  \r\n  two\r\n\r\n\r\n\r\nthree\n\n".to_owned();
        let extracted = DocumentReader.extract(MediaType::Plain, content).await.unwrap();
        assert_eq!(extracted.text, "One\n  two\n\nthree");
        assert_eq!((extracted.title, extracted.headings), (None, Vec::new()));
    }

    proptest! {
        /// Whatever comes, the bounds of what is said of it hold.
        #[test]
        fn what_comes_out_is_tidy_and_headings_are_where_they_are_said_to_be(
            content in "([<>/&;#a-c \n\r|`*_=-]|<h[1-6]>|</h[1-6]>|<p>|<td>|<li>|<pre>|</pre>|<script>|</script>|<svg>|# |\n\n|&amp;|é){0,60}",
        ) {
            for media_type in MediaType::ALL {
                let Extracted { text, headings, .. } = read(*media_type, &content);
                prop_assert!(!text.contains("\n\n\n") && !text.contains(" \n") && !text.contains('\r'), "{text:?}");
                prop_assert_eq!(text.trim_end(), &text);
                let mut last = 0;
                for heading in headings {
                    prop_assert!(heading.at >= last && (1..=6).contains(&heading.level));
                    prop_assert!(text[heading.at..].starts_with(&heading.text), "{heading:?} in {text:?}");
                    last = heading.at;
                }
            }
        }
    }
}
