//! A writer of small PDF files, good ones and bad ones.

use std::fmt::Write as _;

/// A file of these objects, numbered from 1; the first is its catalog.
pub fn pdf<T: AsRef<[u8]>>(objects: &[T]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (number, object) in (1..).zip(objects) {
        let _ = writeln!(table, "{:010} 00000 n ", file.len());
        file.extend(format!("{number} 0 obj\n").into_bytes());
        file.extend(object.as_ref());
        file.extend(b"\nendobj\n");
    }
    let start = file.len();
    let size = objects.len() + 1;
    file.extend(
        format!("{table}trailer\n<</Size {size} /Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n").into_bytes(),
    );
    file
}

/// A stream with these entries beside its length.
pub fn stream(entries: &str, data: &[u8]) -> Vec<u8> {
    let head = format!("<<{entries} /Length {}>>\nstream\n", data.len());
    [head.as_bytes(), data, b"\nendstream"].concat()
}

/// A file with one page, whose content this stream is. The page has the font `/F`, and these objects, from number 5 on, as forms
/// `/X5`, `/X6` and so on.
pub fn page(content: Vec<u8>, forms: Vec<Vec<u8>>) -> Vec<u8> {
    let name = |number| format!("/X{number} {number} 0 R");
    let names = (5..5 + forms.len()).map(name).collect::<Vec<_>>().join(" ");
    let resources = format!("<</Font <</F 4 0 R>> /XObject <<{names}>>>>");
    let mut objects = vec![
        b"<</Type /Catalog /Pages 2 0 R>>".to_vec(),
        format!(
            "<</Type /Pages /Count 1 /Kids [<</Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources {resources}\
             /Contents 3 0 R>>]>>"
        )
        .into_bytes(),
        content,
        b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>".to_vec(),
    ];
    objects.extend(forms);
    pdf(&objects)
}

/// A file with one page, which shows these lines.
pub fn lines(lines: &[&str]) -> Vec<u8> {
    let mut content = "BT /F 11 Tf 14 TL 50 780 Td ".to_owned();
    for line in lines {
        let _ = write!(content, "({line}) ' ");
    }
    content.push_str("ET");
    page(stream("", content.as_bytes()), Vec::new())
}

/// A stream of few bytes that is some thousand times as long for who undoes its filters: Flate, to a run of two bytes, each
/// of which a run of 128 is made of.
pub fn bomb(bytes: usize) -> Vec<u8> {
    // One block of DEFLATE (RFC 1951) with fixed codes: 0x81 and 0x00, which is 128 zeros to `RunLengthDecode`, and again and again the
    // last 258 bytes, from two bytes back.
    let mut bits = Bits::default();
    bits.put(0b1, 1);
    bits.put(0b10, 2);
    bits.put(0x30 + 0x81, 8);
    bits.put(0x30, 8);
    for _ in 0..bytes / (129 * 128) {
        bits.put(0b1100_0101, 8);
        bits.put(0b00001, 5);
    }
    bits.put(0, 7);
    let zlib = [&[0x78, 0x9c][..], &bits.done(), &[0; 4]].concat();
    stream("/Filter [/FlateDecode /RunLengthDecode]", &zlib)
}

/// Bits, the first in the lowest place of a byte.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    last: u8,
    count: u8,
}

impl Bits {
    /// The lowest bits of a code, of which the highest comes first.
    fn put(&mut self, code: u32, length: u32) {
        for place in (0..length).rev() {
            self.last |= u8::from(code >> place & 1 == 1) << self.count;
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(std::mem::take(&mut self.last));
                self.count = 0;
            }
        }
    }

    fn done(mut self) -> Vec<u8> {
        self.bytes.push(self.last);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_small() {
        assert!(bomb(2 * 1024 * 1024 * 1024).len() < 256 * 1024);
    }
}
