//! What a call consumes at most, before it is made.

use super::Price;
use crate::model::{ModelRequest, Usage};

/// What a provider may put around a conversation, in tokens.
const AROUND: u64 = 256;
/// What an embedder may put around a text, in tokens.
const AROUND_A_TEXT: u64 = 8;

/// An upper bound of the tokens that a request makes a model read.
///
/// A byte-level tokeniser (byte-pair encoding over bytes, or with bytes to fall back on) gives at most one token for
/// each byte of a text, since every byte is a token of its own and merging only makes fewer. The JSON of a request has
/// more bytes than its texts: what surrounds each message there outweighs the special tokens that a chat template puts
/// around it. It does not hold for tokenisers that first expand characters (NFKC); for these set a higher price.
pub fn input_bound(request: &ModelRequest) -> u64 {
    // What a model reads. Serialising cannot fail: every key is a string.
    let read = (&request.messages, &request.tools, &request.response_schema);
    let bytes = serde_json::to_vec(&read).map_or(usize::MAX, |json| json.len());
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(AROUND)
}

/// An upper bound of the tokens that texts have an embedder read, for the same reason.
pub fn texts_bound<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bound = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX).saturating_add(AROUND_A_TEXT);
    texts.into_iter().map(bound).fold(0, u64::saturating_add)
}

/// What a request consumes at most when at most so many tokens are generated.
pub fn worst_case(request: &ModelRequest, price: &Price, max_output: u32) -> Usage {
    price.worst_of(input_bound(request), max_output.into())
}
