//! A secret that comes back in an answer is not passed on: some services repeat what they were sent.

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use powerhouse_domain::secrets::{SecretName, SecretValue};
use serde_json::Value;

/// Puts the secret's name in the place of each of its forms.
pub(super) fn masked(text: String, name: &SecretName, value: &SecretValue) -> String {
    let plain = value.expose();
    let json = Value::from(plain).to_string();
    let mut forms = [
        plain.to_owned(),
        json.trim_matches('"').to_owned(),
        utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string(),
        form_encoded(plain),
        Base64::encode_string(plain.as_bytes()),
        Base64Url::encode_string(plain.as_bytes()),
        Base64Unpadded::encode_string(plain.as_bytes()),
        Base64UrlUnpadded::encode_string(plain.as_bytes()),
    ];
    // The longer first: one may be the beginning of another.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    let shown = format!("[secret {name}]");
    forms.iter().fold(text, |text, form| text.replace(form.as_str(), &shown))
}

fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn every_usual_form_is_masked() {
        let (name, plain) = ("crm".parse().unwrap(), "s3cret/+ \"ü\"==");
        let value = SecretValue::new(Zeroizing::new(plain.to_owned())).unwrap();
        let forms = [
            plain.to_owned(),
            Value::from(plain).to_string(),
            utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string(),
            form_encoded(plain),
            Base64::encode_string(plain.as_bytes()),
            Base64UrlUnpadded::encode_string(plain.as_bytes()),
        ];
        for form in forms {
            let text = masked(format!("you sent <{form}>, thank you"), &name, &value);
            assert!(text.contains("[secret crm]") && !text.contains(&form), "{form}: {text}");
        }
        assert_eq!(masked("nothing".into(), &name, &value), "nothing");
    }
}
