//! Takes the text, the title and the headings out of plain text, Markdown, HTML and PDF.
//!
//! Each reader of a text goes over the document once and puts what it finds into a [`text::Text`]; none builds a tree, and none
//! fetches anything. PDF is read in a process of its own ([`pdf`]).

mod html;
mod markdown;
mod pdf;
mod text;

use std::ffi::OsString;
use std::path::PathBuf;

use async_trait::async_trait;
use powerhouse_domain::knowledge::{Extracted, MediaType};
use powerhouse_ports::documents::{ExtractFailed, TextExtractor};

use pdf::Apart;
use text::Text;

pub use pdf::read_pdf;

/// Reads what documents are written in: PDF in a process of its own, all else on threads that may be busy.
#[derive(Debug)]
pub struct DocumentReader {
    pdf: Apart,
}

impl DocumentReader {
    /// PDF is read by this program with these arguments, which has to do what [`read_pdf`] does, and nothing before that.
    pub fn new(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self { pdf: Apart::new(program.into(), arguments.into_iter().map(Into::into).collect()) }
    }
}

#[async_trait]
impl TextExtractor for DocumentReader {
    async fn extract(&self, media_type: MediaType, content: Vec<u8>) -> Result<Extracted, ExtractFailed> {
        let read: fn(&str, &mut Text) = match media_type {
            MediaType::Pdf => return self.pdf.read(content).await,
            MediaType::Plain => |content, text| text.verbatim(content),
            MediaType::Markdown => markdown::read,
            MediaType::Html => html::read,
        };
        let content = String::from_utf8(content).map_err(|_| ExtractFailed::Unreadable)?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut text = Text::default();
            read(&content, &mut text);
            text.finish()
        });
        reading.await.map_err(|_| ExtractFailed::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extract(media_type: MediaType, content: impl Into<Vec<u8>>) -> Result<Extracted, ExtractFailed> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(DocumentReader::new("", [""; 0]).extract(media_type, content.into()))
    }

    #[test]
    fn plain_text_keeps_its_lines_without_the_white_space_around_them() {
        let content = "\u{feff}One  \r\n  two\r\n\r\n\r\n\r\nthree\n\n";
        let extracted = extract(MediaType::Plain, content).unwrap();
        assert_eq!(extracted.text, "One\n  two\n\nthree");
        assert_eq!((extracted.title, extracted.headings), (None, Vec::new()));
    }

    #[test]
    fn what_is_not_utf_8_is_no_text() {
        assert!(matches!(extract(MediaType::Html, [0xff, b'a']), Err(ExtractFailed::Unreadable)));
    }

    proptest! {
        /// Whatever comes, the bounds of what is said of it hold.
        #[test]
        fn what_comes_out_is_tidy_and_headings_are_where_they_are_said_to_be(
            content in "([<>/&;#a-c \n\r|`*_=-]|<h[1-6]>|</h[1-6]>|<p>|<td>|<li>|<pre>|</pre>|<script>|</script>|<svg>|# |\n\n|&amp;|é){0,60}",
        ) {
            for media_type in [MediaType::Plain, MediaType::Markdown, MediaType::Html] {
                let Extracted { text, headings, .. } = extract(media_type, content.as_str()).unwrap();
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
