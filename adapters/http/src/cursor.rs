//! Cursors: the key after which a page begins, opaque to callers.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest cursor that is looked at, in characters.
const MAX_CHARS: usize = 256;

pub(crate) fn encode<K: Display>(key: &K) -> String {
    URL_SAFE_NO_PAD.encode(key.to_string())
}

pub(crate) fn decode<K: FromStr>(text: &str) -> Option<K> {
    if text.len() > MAX_CHARS {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::ids::{RunId, UserId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let run = RunId::from_uuid(Uuid::from_u128(7));
        assert_eq!(decode(&encode(&run)), Some(run));
        assert_eq!(decode::<UserId>(&encode(&run)), None);
        assert_eq!(decode::<RunId>("%%%"), None);
        assert_eq!(decode::<RunId>(&"a".repeat(10_000)), None);
    }
}
