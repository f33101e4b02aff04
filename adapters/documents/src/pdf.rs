//! PDF: read by another process, which may crash, and may take no more than its share.
//!
//! [`Apart`] starts the process, for the server; [`read_pdf`] is what that process does. What goes from one to the other is
//! an [`Answer`].

mod apart;
mod confined;
mod content;
mod document;
mod layout;

use serde::{Deserialize, Serialize};

pub(crate) use apart::Apart;
pub use confined::read_pdf;

/// What the process says of a document.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Text {
        title: Option<String>,
        parts: Vec<Part>,
    },
    /// It opens with a password only.
    Encrypted,
    /// No text, or letters of which it is not said which they are.
    Wordless,
    /// More text than a document may have.
    TooLong,
    Broken,
}

/// A paragraph of the text, or a heading.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    /// The level of a heading; 1 is the highest.
    level: Option<u8>,
    text: String,
}
