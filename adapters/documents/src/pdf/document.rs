//! A document: its pages in their order, and what it calls itself.

use hayro_font::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};

use super::Answer;
use super::content::Painter;
use super::layout::{Pages, TooLong};

/// The text of a document. May panic, overflow the stack, run out of memory or take for ever: for a process of its own.
pub(super) fn read(content: Vec<u8>) -> Answer {
    let pdf = match Pdf::new(content) {
        Ok(pdf) => pdf,
        Err(LoadPdfError::Decryption(
            DecryptionError::PasswordProtected | DecryptionError::UnsupportedAlgorithm,
        )) => return Answer::Encrypted,
        Err(LoadPdfError::Decryption(_) | LoadPdfError::Invalid) => return Answer::Broken,
    };
    let mut painter = Painter::new();
    let mut pages = Pages::default();
    for page in pdf.pages().iter() {
        painter.paint(page, &mut pages);
        match pages.end_page() {
            Ok(()) => {}
            Err(TooLong) => return Answer::TooLong,
        }
    }
    if painter.is_exhausted() {
        return Answer::Broken;
    }
    let title = pdf.metadata().title.as_deref().map(text_string);
    pages.finish(title.as_deref())
}

/// A text of the document's structure (ISO 32000-2, 7.9.2.2): UTF-16 or UTF-8 where a mark says so, else `PDFDocEncoding`.
pub(super) fn text_string(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => bytes.iter().map(|byte| doc_encoding(*byte)).collect(),
    }
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// `PDFDocEncoding` (ISO 32000-2, D.3), which is Latin-1 but for what that leaves to controls.
fn doc_encoding(byte: u8) -> char {
    const ACCENTS: [char; 8] = ['˘', 'ˇ', 'ˆ', '˙', '˝', '˛', '˚', '˜'];
    const OTHERS: [char; 33] = [
        '•',
        '†',
        '‡',
        '…',
        '—',
        '–',
        'ƒ',
        '⁄',
        '‹',
        '›',
        '−',
        '‰',
        '„',
        '“',
        '”',
        '‘',
        '’',
        '‚',
        '™',
        'ﬁ',
        'ﬂ',
        'Ł',
        'Œ',
        'Š',
        'Ÿ',
        'Ž',
        'ı',
        'ł',
        'œ',
        'š',
        'ž',
        char::REPLACEMENT_CHARACTER,
        '€',
    ];
    match byte {
        0x18..=0x1f => ACCENTS[usize::from(byte - 0x18)],
        0x80..=0xa0 => OTHERS[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_structure_are_in_any_of_their_encodings() {
        assert_eq!(text_string(b"\xfe\xff\0L\0e\x20\xac\xd8\x3d\xde\0"), "Le€😀");
        assert_eq!(text_string(b"\xff\xfeL\0e\0"), "Le");
        assert_eq!(text_string("\u{feff}Ärzte".as_bytes()), "Ärzte");
        assert_eq!(text_string(b"\xc4rzte \x85 \xa0 \x18"), "Ärzte – € ˘");
        assert_eq!(text_string(b"\xfe\xff\xd8\x3d\0"), "\u{fffd}");
    }
}
