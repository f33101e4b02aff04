//! A rough count of tokens, for models that do not tell.

use powerhouse_domain::model::{Message, ModelRequest, Usage};

/// English text has about four characters to a token.
const CHARACTERS_PER_TOKEN: usize = 4;

/// What a call consumed, estimated from its text.
pub(crate) fn estimate(request: &ModelRequest, text: &str) -> Usage {
    let input = request.messages.iter().map(|message| count(content(message))).sum();
    Usage::of_tokens(input, count(text))
}

pub(crate) fn content(message: &Message) -> &str {
    match message {
        Message::System { content }
        | Message::User { content }
        | Message::Assistant { content, .. }
        | Message::Tool { content, .. } => content,
    }
}

pub(crate) fn count(text: &str) -> u64 {
    u64::try_from(text.chars().count().div_ceil(CHARACTERS_PER_TOKEN)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_characters_are_a_token_and_a_rest_is_one_more() {
        let request = ModelRequest::answer("answer", vec![Message::system("ééééé"), Message::user("abcd")]);
        assert_eq!(estimate(&request, ""), Usage::of_tokens(3, 0));
        assert_eq!(estimate(&request, "abc").output_tokens, 1);
    }
}
