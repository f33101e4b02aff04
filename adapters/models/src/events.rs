//! The `data` of server-sent events, from bytes that come in odd pieces.
//!
//! No API that is spoken here says anything in other fields, or in more than a line an event. The crates for event streams keep whatever a server
//! sends; here a server cannot make us hold more than the bounds.

/// The longest line, in bytes.
const MAX_LINE: usize = 1024 * 1024;
/// The longest stream, in bytes.
const MAX_STREAM: usize = 16 * 1024 * 1024;

/// What the server sends is no stream of events.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is more than a reply can have.
    #[error("the stream is longer than a reply can be")]
    OutOfBounds,
    /// It is no text.
    #[error("the stream is not UTF-8")]
    NotText,
}

/// Bytes on their way to lines.
#[derive(Debug, Default)]
pub(crate) struct Events {
    buffer: Vec<u8>,
    /// Where the first line that was not taken starts.
    start: usize,
    received: usize,
}

impl Events {
    /// Takes bytes as they come; lines are to be taken with [`Events::next`] before the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        self.received += bytes.len();
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.received > MAX_STREAM || self.buffer.len() > MAX_LINE {
            return Err(Unreadable::OutOfBounds);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The data of the next event that has come whole.
    pub(crate) fn next(&mut self) -> Result<Option<String>, Unreadable> {
        loop {
            let end = self.buffer[self.start..].iter().position(|byte| *byte == b'\n');
            let Some(length) = end else { return Ok(None) };
            let line = &self.buffer[self.start..self.start + length];
            self.start += length + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(data) = line.strip_prefix(b"data:") {
                let data = data.strip_prefix(b" ").unwrap_or(data);
                let text = str::from_utf8(data).map_err(|_| Unreadable::NotText)?;
                return Ok(Some(text.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut found = Vec::new();
        for piece in pieces {
            events.feed(piece).unwrap();
            found.extend(std::iter::from_fn(|| events.next().unwrap()));
        }
        found
    }

    #[test]
    fn only_data_counts_and_an_unfinished_line_waits() {
        let stream = b": ping\r\nevent: x\nid: 1\ndata: a\r\n\ndata:b\n\ndata: c";
        assert_eq!(all(&[stream]), ["a", "b"]);
    }

    #[test]
    fn a_line_or_a_stream_without_end_is_refused() {
        let mut events = Events::default();
        let piece = vec![b'a'; 64 * 1024];
        let refused = (0..100).position(|_| events.feed(&piece).is_err());
        assert_eq!(refused, Some(17));
        let mut events = Events::default();
        let piece = "data: a\n".repeat(8 * 1024);
        let fed = (0..1_000).position(|_| {
            let refused = events.feed(piece.as_bytes()).is_err();
            while events.next().unwrap().is_some() {}
            refused
        });
        assert_eq!(fed, Some(256));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let mut events = Events::default();
        events.feed(b"data: a\ndata: \xc3\x28\n").unwrap();
        assert_eq!(events.next(), Ok(Some("a".to_owned())));
        assert_eq!(events.next(), Err(Unreadable::NotText));
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(lines in prop::collection::vec("[a-zé ]{0,12}", 0..8), cuts in prop::collection::vec(0usize..200, 0..8)) {
            let stream = lines.iter().fold(String::new(), |all, line| all + "data: " + line + "\n\n");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream.as_bytes()[cut[0]..cut[1]]).collect();
            prop_assert_eq!(all(&pieces), lines);
        }
    }
}
