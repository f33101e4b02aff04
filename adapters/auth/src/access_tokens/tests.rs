//! What is issued verifies; everything else, forged in every way that is known, does not.

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use powerhouse_domain::access::{Principal, Role};
use powerhouse_ports::tokens::{TokenError, TokenIssuer, TokenVerifier};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::keys::SigningKeys;
use crate::testing::{ids, principal, private_pem, public_pem, signing_key};

const ISSUER: &str = "https://powerhouse.example";
const AUDIENCE: &str = "powerhouse-api";
const LIFETIME: Duration = Duration::from_mins(10);

fn profile() -> TokenProfile {
    TokenProfile::new(ISSUER, AUDIENCE, LIFETIME).unwrap()
}

fn keys() -> Arc<SigningKeys> {
    Arc::new(SigningKeys::from_pem(&private_pem()).unwrap())
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn after(seconds: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(seconds)
}

fn verifier() -> JwtVerifier {
    JwtVerifier::new(keys(), &profile())
}

fn issue(keys: &Arc<SigningKeys>) -> String {
    let issuer = JwtIssuer::new(Arc::clone(keys), profile(), ids());
    issuer.issue(&principal(Role::Admin), now()).unwrap().text.to_string()
}

/// The header that the issuer writes.
fn header() -> Value {
    json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": keys().signing().1 })
}

/// The claims that the issuer writes.
fn claims() -> Value {
    let principal = principal(Role::Admin);
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": principal.user_id(),
        "tenant": principal.tenant_id(),
        "sid": principal.session_id(),
        "role": "admin",
        "iat": now().timestamp(),
        "nbf": now().timestamp(),
        "exp": after(600).timestamp(),
        "jti": "01890a5d-ac96-774b-bcce-b302099a8057",
    })
}

/// `value` with one member set.
fn with(mut value: Value, member: &str, to: impl Into<Value>) -> Value {
    value[member] = to.into();
    value
}

fn without(mut value: Value, member: &str) -> Value {
    assert!(value.as_object_mut().unwrap().remove(member).is_some(), "{member}");
    value
}

fn encode(part: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(part.as_ref())
}

/// Signs any two texts as header and payload with any key.
fn sign_texts(key: &SigningKey, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", encode(header), encode(payload));
    let signature = key.sign(input.as_bytes());
    format!("{input}.{}", encode(signature.to_bytes()))
}

fn sign(header: &Value, claims: &Value) -> String {
    sign_texts(&signing_key(), &header.to_string(), &claims.to_string())
}

fn verify(token: &str) -> Result<Principal, TokenError> {
    verifier().verify(token, now())
}

#[track_caller]
fn assert_invalid(forged: impl IntoIterator<Item = (impl Into<String>, String)>) {
    for (what, token) in forged {
        assert_eq!(verify(&token), Err(TokenError::Invalid), "{}: {token:.200}", what.into());
    }
}

#[test]
fn what_is_issued_verifies_for_every_role() {
    for &role in Role::ALL {
        let issuer = JwtIssuer::new(keys(), profile(), ids());
        let token = issuer.issue(&principal(role), now()).unwrap();
        assert_eq!(token.expires_at, after(600));
        assert_eq!(verify(&token.text), Ok(principal(role)));
    }
    // What the tests below forge from is good itself.
    assert_eq!(verify(&sign(&header(), &claims())), Ok(principal(Role::Admin)));
}

#[test]
fn a_token_says_what_rfc_9068_asks_for() {
    let token = issue(&keys());
    let part = |position: usize| -> Value {
        let part = token.split('.').nth(position).unwrap();
        serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).unwrap()).unwrap()
    };
    assert_eq!(part(0), header());
    let mut issued = part(1);
    assert_eq!(issued["jti"], "00000000-0000-0000-0000-000000000000", "from the source of ids");
    issued["jti"] = claims()["jti"].clone();
    assert_eq!(issued, claims());
    assert_eq!(issued["sub"], "user_00000000000000000000000002");
    assert_eq!(issued["tenant"], "tenant_00000000000000000000000001");
    assert_eq!(issued["sid"], "session_00000000000000000000000003");
}

#[test]
fn the_longest_names_still_make_a_token_that_verifies() {
    let name = "\\".repeat(TokenProfile::MAX_NAME_BYTES);
    let profile = TokenProfile::new(name.clone(), name, LIFETIME).unwrap();
    let token = JwtIssuer::new(keys(), profile.clone(), ids()).issue(&principal(Role::Owner), now()).unwrap();
    assert!(token.text.len() <= MAX_TOKEN_BYTES, "{}", token.text.len());
    assert!(JwtVerifier::new(keys(), &profile).verify(&token.text, now()).is_ok());
}

#[test]
fn s10_tokens_of_other_algorithms_are_refused() {
    let payload = encode(claims().to_string());
    let unsigned = |alg: &str| format!("{}.{payload}.", encode(with(header(), "alg", alg).to_string()));
    let mut forged: Vec<(String, String)> = ["none", "None", "NONE", "", "EdDSA"]
        .iter()
        .map(|alg| (format!("unsigned {alg}"), unsigned(alg)))
        .collect();

    // Whatever form of the public key somebody takes for the secret of an HMAC.
    let x = keys().jwks().keys[0].x.clone();
    let jwk = serde_json::to_string(&keys().jwks().keys[0]).unwrap();
    let raw = signing_key().verifying_key().to_bytes();
    let input = format!("{}.{payload}", encode(with(header(), "alg", "HS256").to_string()));
    for secret in [
        &raw[..],
        x.as_bytes(),
        public_pem().as_bytes(),
        public_pem().trim_end().as_bytes(),
        jwk.as_bytes(),
        b"",
    ] {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(input.as_bytes());
        forged.push(("HMAC".to_owned(), format!("{input}.{}", encode(mac.finalize().into_bytes()))));
    }

    // A good Ed25519 signature under another algorithm's name.
    for alg in
        ["none", "HS256", "HS512", "RS256", "PS256", "ES256", "ES384", "Ed25519", "Ed448", "eddsa", "EDDSA"]
    {
        forged.push((format!("alg {alg}"), sign(&with(header(), "alg", alg), &claims())));
    }
    for alg in [json!(null), json!(["EdDSA"]), json!(0)] {
        forged.push((format!("alg {alg}"), sign(&with(header(), "alg", alg), &claims())));
    }
    assert_invalid(forged);
}

#[test]
fn s10_only_our_keys_sign() {
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let their_x = encode(stranger.verifying_key().to_bytes());
    let their_jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": their_x });
    let by_stranger = |header: Value| sign_texts(&stranger, &header.to_string(), &claims().to_string());
    assert_invalid([
        ("another key, same kid", by_stranger(header())),
        ("another key, its own kid", by_stranger(with(header(), "kid", encode([1; 32])))),
        ("embedded jwk", by_stranger(with(header(), "jwk", their_jwk.clone()))),
        ("embedded jwk, no kid", by_stranger(without(with(header(), "jwk", their_jwk), "kid"))),
        ("jku", by_stranger(with(header(), "jku", "https://evil.example/jwks.json"))),
        ("x5u", by_stranger(with(header(), "x5u", "https://evil.example/cert.pem"))),
        ("kid with a path", by_stranger(with(header(), "kid", "../../dev/null"))),
    ]);
}

#[test]
fn s10_headers_that_ask_for_something_else_are_refused_even_when_signed() {
    let jwk = serde_json::to_value(&keys().jwks().keys[0]).unwrap();
    let additions = [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("jwk", jwk),
        ("jku", json!(ISSUER)),
        ("x5u", json!(ISSUER)),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A128GCM")),
        ("url", json!(ISSUER)),
        ("nonce", json!("1")),
        ("anything", json!(null)),
    ];
    assert_invalid(
        additions
            .into_iter()
            .map(|(member, value)| (member, sign(&with(header(), member, value), &claims()))),
    );
    let types = ["JWT", "jwt", "", "application/at+jwt", "AT+JWT", "at+jwt ", "logout+jwt", "dpop+jwt"];
    assert_invalid(types.map(|typ| (format!("typ {typ}"), sign(&with(header(), "typ", typ), &claims()))));
    let kids = [json!(""), json!(null), json!(0), json!(["x"]), json!({ "kid": "x" })];
    assert_invalid(kids.map(|kid| (format!("kid {kid}"), sign(&with(header(), "kid", kid), &claims()))));
    assert_invalid(["typ", "alg", "kid"].map(|member| (member, sign(&without(header(), member), &claims()))));

    // JSON that two parsers could read in two ways.
    let (good, payload) = (header().to_string(), claims().to_string());
    let doubled = good.replacen('{', r#"{"alg":"none","#, 1);
    assert_invalid(
        [
            ("doubled alg", doubled.as_str()),
            ("list", "[]"),
            ("null", "null"),
            ("empty", ""),
            ("more", &format!("{good}1")),
        ]
        .map(|(what, header)| (what, sign_texts(&signing_key(), header, &payload))),
    );
}

#[test]
fn s10_every_claim_is_required_and_must_be_right() {
    let members: Vec<String> = claims().as_object().unwrap().keys().cloned().collect();
    assert_eq!(members.len(), 10);
    for wrong in
        [json!(null), json!(true), json!([]), json!({}), json!(""), json!("x"), json!(1.5), json!(1e300)]
    {
        assert_invalid(members.iter().map(|member| {
            (format!("{member} = {wrong}"), sign(&header(), &with(claims(), member, wrong.clone())))
        }));
    }
    assert_invalid(
        members.iter().map(|member| (member.as_str(), sign(&header(), &without(claims(), member)))),
    );

    let user = claims()["sub"].clone();
    let changed = [
        ("iss", json!("https://evil.example")),
        ("iss", json!(format!("{ISSUER}/"))),
        ("iss", json!([ISSUER])),
        ("aud", json!("another-api")),
        ("aud", json!([AUDIENCE])),
        ("aud", json!([AUDIENCE, "another-api"])),
        ("sub", json!("user_1")),
        ("sub", json!("00000000-0000-0000-0000-000000000002")),
        ("sub", claims()["tenant"].clone()),
        ("tenant", user.clone()),
        ("sid", user),
        ("role", json!("root")),
        ("role", json!("Admin")),
        ("role", json!(["admin"])),
        ("jti", json!(1)),
        ("exp", json!("1800000600")),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1_800_000_600.5)),
    ];
    assert_invalid(changed.into_iter().map(|(member, value)| {
        (format!("{member} = {value}"), sign(&header(), &with(claims(), member, value)))
    }));
    let doubled = claims().to_string().replacen('{', r#"{"role":"owner","#, 1);
    assert_invalid([("doubled role", sign_texts(&signing_key(), &header().to_string(), &doubled))]);
    let lists = ["[]", "null", "1", "", "{}"];
    assert_invalid(lists.map(|text| (text, sign_texts(&signing_key(), &header().to_string(), text))));
}

#[test]
fn a_claim_that_is_not_known_yet_is_ignored() {
    assert!(verify(&sign(&header(), &with(claims(), "scope", "agents:read"))).is_ok());
}

#[test]
fn times_are_checked_against_the_time_that_was_passed() {
    let token = sign(&header(), &claims());
    let leeway = LEEWAY.as_secs().cast_signed();
    let table = [
        (-leeway - 1, Err(TokenError::Invalid)),
        (-leeway, Ok(principal(Role::Admin))),
        (0, Ok(principal(Role::Admin))),
        (599 + leeway, Ok(principal(Role::Admin))),
        (600 + leeway, Err(TokenError::Expired)),
        (1 << 40, Err(TokenError::Expired)),
    ];
    for (seconds, expected) in table {
        assert_eq!(verifier().verify(&token, after(seconds)), expected, "{seconds}");
    }
    // The system's clock, whatever it says, is not the one that counts.
    let long_ago = DateTime::from_timestamp(1_000, 0).unwrap();
    let issuer = JwtIssuer::new(keys(), profile(), ids());
    let token = issuer.issue(&principal(Role::Viewer), long_ago).unwrap();
    assert!(verifier().verify(&token.text, long_ago).is_ok());
}

#[test]
fn a_token_that_is_known_still_expires_and_vouches_for_no_other() {
    let (verifier, token) = (verifier(), issue(&keys()));
    for _ in 0..3 {
        assert_eq!(verifier.verify(&token, now()).unwrap(), principal(Role::Admin));
        assert_eq!(verifier.verify(&token, after(660)), Err(TokenError::Expired));
        assert_eq!(verifier.verify(&token, after(-660)), Err(TokenError::Invalid));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        for other in [format!("{signed}."), format!("{token}A"), format!("{signed}.{}A", &signature[1..])] {
            assert_eq!(verifier.verify(&other, now()), Err(TokenError::Invalid), "{other}");
        }
    }
}

#[test]
fn issued_at_and_not_before_are_checked_each_on_its_own() {
    let late = after(6).timestamp();
    assert_invalid([
        ("nbf", sign(&header(), &with(claims(), "nbf", late))),
        ("iat", sign(&header(), &with(claims(), "iat", late))),
        ("exp before nbf", sign(&header(), &with(claims(), "exp", after(-1).timestamp()))),
        ("exp = nbf", sign(&header(), &with(claims(), "exp", now().timestamp()))),
        ("all in the future", sign(&header(), &with(with(claims(), "iat", i64::MAX), "nbf", i64::MAX))),
    ]);
    let soon = after(5).timestamp();
    assert!(verify(&sign(&header(), &with(with(claims(), "nbf", soon), "iat", soon))).is_ok());

    // No time overflows.
    let forever =
        sign(&header(), &with(with(with(claims(), "exp", i64::MAX), "nbf", i64::MIN), "iat", i64::MIN));
    for at in [DateTime::<Utc>::MIN_UTC, now(), DateTime::<Utc>::MAX_UTC] {
        assert!(verifier().verify(&forever, at).is_ok());
    }
    assert!(
        JwtIssuer::new(keys(), profile(), ids())
            .issue(&principal(Role::Owner), DateTime::<Utc>::MAX_UTC)
            .is_err()
    );
}

#[test]
fn only_a_token_that_was_good_is_called_expired() {
    let old = with(with(with(claims(), "iat", 1_000), "nbf", 1_000), "exp", 1_600);
    assert_eq!(verify(&sign(&header(), &old)), Err(TokenError::Expired));
    assert_invalid([
        ("other audience", sign(&header(), &with(old.clone(), "aud", "another-api"))),
        ("other role", sign(&header(), &with(old.clone(), "role", "root"))),
        ("other type", sign(&with(header(), "typ", "JWT"), &old)),
        ("other key", sign_texts(&SigningKey::from_bytes(&[9; 32]), &header().to_string(), &old.to_string())),
    ]);
}

#[test]
fn s10_tampered_cut_and_oversized_tokens_are_refused() {
    let good = sign(&header(), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (head, payload, signature) = (parts[0], parts[1], parts[2]);
    let as_owner = encode(with(claims(), "role", "owner").to_string());
    assert_eq!(signature.len(), 86, "the last character has four bits that mean nothing");
    // Another text for the same bytes.
    let respelt = {
        let last = signature.chars().last().unwrap();
        let next = char::from(u8::try_from(last).unwrap() + 1);
        format!("{head}.{payload}.{}{next}", &signature[..85])
    };
    let huge = "a".repeat(1 << 20);
    let long_but_signed = sign(&header(), &with(claims(), "filler", "x".repeat(MAX_TOKEN_BYTES)));
    let other_signature = sign(&header(), &with(claims(), "role", "owner"));
    let other_signature = other_signature.rsplit('.').next().unwrap();
    assert_invalid([
        ("owner", format!("{head}.{as_owner}.{signature}")),
        ("signature of another", format!("{head}.{payload}.{other_signature}")),
        ("signature in other words", respelt),
        ("padded", format!("{good}==")),
        ("no signature", format!("{head}.{payload}.")),
        ("two parts", format!("{head}.{payload}")),
        ("one part", head.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("five parts, as if encrypted", format!("{good}.{signature}.{signature}")),
        ("zero signature", format!("{head}.{payload}.{}", encode([0; 64]))),
        ("short signature", format!("{head}.{payload}.{}", encode([0; 63]))),
        ("long signature", format!("{head}.{payload}.{}", encode([0; 65]))),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("many dots", ".".repeat(MAX_TOKEN_BYTES)),
        ("space before", format!(" {good}")),
        ("newline after", format!("{good}\n")),
        ("bearer", format!("Bearer {good}")),
        ("not ASCII", format!("{head}.{payload}é.{signature}")),
        ("not ASCII at all", "🔑.🔑.🔑".to_owned()),
        ("NUL", format!("{good}\0")),
        ("huge", huge.clone()),
        ("huge parts", format!("{huge}.{huge}.{huge}")),
        ("long, but signed", long_but_signed),
        (
            "standard base64",
            format!("{head}.{payload}.{}", signature.replace('-', "+").replace('_', "/")) + "=",
        ),
        ("deep JSON", sign_texts(&signing_key(), &header().to_string(), &"[".repeat(900))),
    ]);
    assert_invalid((0..good.len()).map(|end| (format!("cut at {end}"), good[..end].to_owned())));
}

#[test]
fn s11_keys_rotate_with_overlap() {
    let pem = |bytes: u8| crate::testing::pem_of(&SigningKey::from_bytes(&[bytes; 32]));
    let load = |text: String| Arc::new(SigningKeys::from_pem(&text).unwrap());
    let (before, announced, switched, retired) =
        (load(pem(1)), load(pem(1) + &pem(2)), load(pem(2) + &pem(1)), load(pem(2)));
    let accepts = |keys: &Arc<SigningKeys>, token: &str| {
        JwtVerifier::new(Arc::clone(keys), &profile()).verify(token, now()).is_ok()
    };
    // Between any two steps that follow each other, each replica accepts what the other issues.
    for (one, other) in [(&before, &announced), (&announced, &switched)] {
        for (issuing, verifying) in [(one, one), (one, other), (other, one), (other, other)] {
            assert!(accepts(verifying, &issue(issuing)));
        }
    }
    assert!(accepts(&switched, &issue(&announced)), "what was signed before still works");
    assert!(accepts(&switched, &issue(&retired)) && accepts(&retired, &issue(&switched)));
    assert!(!accepts(&retired, &issue(&announced)), "the old key is gone");
    assert!(!accepts(&before, &issue(&switched)), "a step that is left out shows");
    assert_ne!(issue(&announced), issue(&switched));
}

#[test]
fn s10_tokens_of_another_deployment_are_refused() {
    let token = issue(&keys());
    for (issuer, audience) in [(ISSUER, "another"), ("https://another.example", AUDIENCE)] {
        let other = TokenProfile::new(issuer, audience, LIFETIME).unwrap();
        assert_eq!(JwtVerifier::new(keys(), &other).verify(&token, now()), Err(TokenError::Invalid));
    }
}

#[test]
fn a_profile_has_names_and_a_short_life() {
    let profile = |issuer: &str, audience: &str, lifetime| TokenProfile::new(issuer, audience, lifetime);
    let long = "a".repeat(TokenProfile::MAX_NAME_BYTES + 1);
    for wrong in ["", "a b", "ä", "a\n", &long] {
        assert_eq!(profile(wrong, AUDIENCE, LIFETIME), Err(ProfileError::Name), "{wrong}");
        assert_eq!(profile(ISSUER, wrong, LIFETIME), Err(ProfileError::Name), "{wrong}");
    }
    let too_long = TokenProfile::MAX_LIFETIME + Duration::from_secs(1);
    for wrong in [Duration::ZERO, Duration::from_millis(1_500), too_long, Duration::MAX] {
        assert_eq!(profile(ISSUER, AUDIENCE, wrong), Err(ProfileError::Lifetime), "{wrong:?}");
    }
    for right in [Duration::from_secs(1), TokenProfile::MAX_LIFETIME] {
        assert!(profile(ISSUER, AUDIENCE, right).is_ok(), "{right:?}");
    }
}

#[test]
fn s16_a_token_is_never_printed() {
    let issuer = JwtIssuer::new(keys(), profile(), ids());
    let token = issuer.issue(&principal(Role::Owner), now()).unwrap();
    assert!(!format!("{token:?}").contains("eyJ"));
}

/// JSON of every shape, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,6}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics_or_verifies(text in prop_oneof!["\\PC*", ".*", "[A-Za-z0-9_.-]{0,400}"]) {
        prop_assert_eq!(verify(&text), Err(TokenError::Invalid));
    }

    #[test]
    fn no_three_parts_panic_or_verify(parts in prop::array::uniform3(prop::collection::vec(any::<u8>(), 0..100))) {
        let text = parts.map(encode).join(".");
        prop_assert_eq!(verify(&text), Err(TokenError::Invalid));
    }

    #[test]
    fn no_change_of_one_character_verifies(position in any::<prop::sample::Index>(), to in any::<char>()) {
        let good = issue(&keys());
        let position = position.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(position..=position, &to.to_string());
        prop_assert_eq!(verify(&changed).is_ok(), changed == good);
    }

    #[test]
    fn no_claim_of_any_shape_panics(
        member in prop::sample::select(vec!["iss", "aud", "sub", "tenant", "sid", "role", "iat", "nbf", "exp", "jti"]),
        value in any_json(),
        seconds in any::<i32>(),
    ) {
        let token = sign(&header(), &with(claims(), member, value));
        let _ = verifier().verify(&token, after(seconds.into()));
    }

    #[test]
    fn no_signed_header_or_payload_of_any_shape_verifies(one in any_json(), other in any_json()) {
        for token in [sign(&one, &claims()), sign(&header(), &other), sign(&one, &other)] {
            prop_assert_eq!(verify(&token), Err(TokenError::Invalid));
        }
    }
}
