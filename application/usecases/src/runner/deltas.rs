//! Coalescing: a model's text comes token by token, and is journalled in pieces.

use chrono::{DateTime, Utc};
use powerhouse_domain::effects::EffectKey;
use powerhouse_domain::runs::EventBody;
use powerhouse_ports::store::NewEvent;

use super::perform::Delta;

/// A piece is written once it has so many bytes, or when the drive's timer says so.
const PIECE: usize = 2_048;

/// Text that is not journalled yet, a piece for each effect, in the order of their first text.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pieces: Vec<Delta>,
}

impl Pending {
    /// Adds text. Says whether there is enough for it to be written now.
    pub(super) fn push(&mut self, delta: Delta) -> bool {
        match self.pieces.iter_mut().find(|piece| piece.key == delta.key) {
            Some(piece) => piece.text.push_str(&delta.text),
            None => self.pieces.push(delta),
        }
        self.pieces.iter().any(|piece| piece.text.len() >= PIECE)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Takes everything, as events.
    pub(super) fn take(&mut self, at: DateTime<Utc>) -> Vec<NewEvent> {
        std::mem::take(&mut self.pieces).into_iter().map(|piece| event(piece, at)).collect()
    }

    /// Takes the text of one effect, which is about to end.
    pub(super) fn take_of(&mut self, key: &EffectKey, at: DateTime<Utc>) -> Option<NewEvent> {
        let index = self.pieces.iter().position(|piece| piece.key == *key)?;
        Some(event(self.pieces.remove(index), at))
    }
}

fn event(piece: Delta, at: DateTime<Utc>) -> NewEvent {
    let Delta { key, channel, text } = piece;
    NewEvent { at, body: EventBody::TextDelta { key, channel, text } }
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::model::Channel;

    use super::*;

    fn delta(key: &str, text: &str) -> Delta {
        Delta { key: key.parse().unwrap(), channel: Channel::Answer, text: text.into() }
    }

    fn texts(events: Vec<NewEvent>) -> Vec<(String, String)> {
        events
            .into_iter()
            .map(|event| match event.body {
                EventBody::TextDelta { key, text, .. } => (key.to_string(), text),
                other => panic!("not text: {other:?}"),
            })
            .collect()
    }

    #[test]
    fn text_is_joined_by_effect_and_taken_once() {
        let now = DateTime::UNIX_EPOCH;
        let mut pending = Pending::default();
        for part in [delta("0", "a"), delta("1", "x"), delta("0", "b"), delta("2", "!")] {
            assert!(!pending.push(part));
        }
        let last = pending.take_of(&"1".parse().unwrap(), now).unwrap();
        assert_eq!(texts(vec![last]), [("1".into(), "x".into())]);
        assert_eq!(texts(pending.take(now)), [("0".into(), "ab".into()), ("2".into(), "!".into())]);
        assert!(pending.is_empty());
    }

    #[test]
    fn a_long_text_wants_to_be_written() {
        let mut pending = Pending::default();
        assert!(!pending.push(delta("0", &"a".repeat(PIECE - 1))));
        assert!(pending.push(delta("0", "a")));
    }
}
