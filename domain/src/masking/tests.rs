//! What is found, what is not, and what is put back.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::model::{Message, ModelReply, ModelRequest, StopReason, Usage};
use crate::tools::ToolCall;

/// A text, and what it becomes.
const FOUND: &[(&str, &str)] = &[
    ("mail ada@example.org today", "mail <EMAIL> today"),
    ("<ada.l+x@mail.example.co.uk>.", "<<EMAIL>>."),
    ("?email=ada%40example.org&x=1", "?email=<EMAIL>&x=1"),
    ("jörg@example.de", "<EMAIL>"),
    ("call +1 415 555 2671 now", "call <PHONE> now"),
    ("+4915112345678", "<PHONE>"),
    ("+44 (0)20 7946 0958.", "<PHONE>."),
    ("(415) 555-2671, 415-555-2672 415-555-2673", "<PHONE>, <PHONE> <PHONE>"),
    ("card 4111 1111 1111 1111 12/27", "card <CARD> 12/27"),
    ("5555555555554444 378282246310005", "<CARD> <CARD>"),
    ("card=4111-1111-1111-1111&cvc=1", "card=<CARD>&cvc=1"),
    ("card=4111%201111%201111%201111", "card=<CARD>"),
    ("DE89 3704 0044 0532 0130 00 IS MINE", "<IBAN> IS MINE"),
    ("iban GB82WEST12345698765432.", "iban <IBAN>."),
    ("ssn 123-45-6789", "ssn <SSN>"),
    ("from 203.0.113.7:443 and 8.8.8.8", "from <IP>:443 and <IP>"),
    ("[2001:db8::8a2e:370:7334]", "[<IP>]"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "<SECRET>"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\nrest", "<SECRET>\nrest"),
    ("-----BEGIN PRIVATE KEY-----\ncut off", "<SECRET>"),
    ("AKIAIOSFODNN7EXAMPLE", "<SECRET>"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "<SECRET>"),
    ("github_pat_11ABCDEFG0abcdefghijkl_mnopq", "<SECRET>"),
    ("xoxb-123456789012-abcdefGHIJ", "<SECRET>"),
    ("sk-proj-abcdefghijklmnop1234", "<SECRET>"),
    ("AIzaSyA1234567890abcdefghijklmnopqrstuvw", "<SECRET>"),
    ("DB_PASSWORD=hunter2hunter2 next", "DB_PASSWORD=<SECRET> next"),
    (r#"{"password": "hunter2!", "a": 1}"#, r#"{"password": "<SECRET>", "a": 1}"#),
    (r#"{\"api_key\":\"abcdef123\"}"#, r#"{\"api_key\":\"<SECRET>\"}"#),
    ("?access_token=abcdef123&b=2", "?access_token=<SECRET>&b=2"),
    ("Authorization: Bearer abc.def-ghi_123", "Authorization: Bearer <SECRET>"),
    ("authorization: Basic YWRhOmxvdmVsYWNl", "authorization: Basic <SECRET>"),
    ("a bearer ABCDEFGHIJKLMNOP1234", "a bearer <SECRET>"),
    ("\x1b[3mcard\x1b[0m=\x1b[0m4111111111111111", "\x1b[3mcard\x1b[0m=\x1b[0m<CARD>"),
];

const NOT_FOUND: &[&str] = &[
    "",
    "plain words, nothing else",
    "@example.org a@b x@localhost",
    "12 + 415 = 427",
    "1234567890123456",
    "4111 1111 1111 1112",
    "0.4111111111111111",
    "run_01m86pajhbemptf24tfvs894wd",
    "0192f0c1-7b3e-7c11-8d2a-6f9b1c2d3e4f",
    "2026-11-25T20:45:00.123456789Z",
    "DE00 3704 0044 0532 0130 00",
    "XX89 3704 0044 0532 0130 00",
    "000-12-3456 666-12-3456 123-00-4567 123-45-6789-0",
    "127.0.0.1:8080 10.1.2.3 192.168.1.1 0.0.0.0",
    "1.2.3.4.5 version 1.2.3 999.1.1.1",
    "std::vec a::b ::1 fe80::1 12:34:56 00:1b:44:11:3a:b7",
    "eyJ is how JSON begins",
    "-----BEGIN CERTIFICATE-----",
    "a task-manager, sk-learn, AKIA",
    "password: short",
    "the password is long enough",
    "Authorization: required",
    "bearer of bad news",
    "+123",
    "<EMAIL> <CARD_1> password=<SECRET> Bearer <SECRET>",
];

#[test]
fn each_form_is_found_and_nothing_else_is_touched() {
    for (text, expected) in FOUND {
        assert_eq!(mask(text, Classes::ALL), *expected, "{text}");
        let inside = format!("{{\"task\":\"{text}\"}}");
        if !text.contains(['"', '\n', '-']) {
            assert_eq!(mask(&inside, Classes::ALL), format!("{{\"task\":\"{expected}\"}}"));
        }
    }
    for text in NOT_FOUND {
        assert_eq!(mask(text, Classes::ALL), *text);
    }
}

#[test]
fn only_what_is_asked_for_is_looked_for() {
    let text = "ada@example.org 4111111111111111 password=ada@example.org";
    let only = |class| mask(text, Classes::from_iter([class])).into_owned();
    assert_eq!(only(Class::Email), "<EMAIL> 4111111111111111 password=<EMAIL>");
    assert_eq!(only(Class::Card), "ada@example.org <CARD> password=ada@example.org");
    assert_eq!(only(Class::Secret), "ada@example.org 4111111111111111 password=<SECRET>");
    assert_eq!(mask(text, Classes::NONE), text);
    assert_eq!(Classes::ALL.iter().count(), Class::ALL.len());
}

fn request() -> ModelRequest {
    let call = ToolCall {
        id: "c".into(),
        name: "crm".into(),
        arguments: r#"{"to":"bob@example.org","password":"hunter2!"}"#.into(),
    };
    ModelRequest::answer(
        "answer",
        vec![
            Message::system("Be kind to <EMAIL_1>"),
            Message::user("ada@example.org wrote to bob@example.org from 203.0.113.7"),
            Message::Assistant { content: String::new(), tool_calls: vec![call] },
            Message::Tool { call_id: "c".into(), content: "sent to ada@example.org".into() },
        ],
    )
}

#[test]
fn a_request_leaves_with_the_same_placeholder_for_the_same_text() {
    let request = request();
    let (masked, veil) = Veil::over(&request, Classes::ALL);
    let texts = serde_json::to_string(&masked.messages).unwrap();
    assert!(!texts.contains("example.org") && !texts.contains("hunter2"), "{texts}");
    assert_eq!(masked.messages[1], Message::user("<EMAIL_2> wrote to <EMAIL_3> from <IP_1>"));
    let Message::Assistant { tool_calls, .. } = &masked.messages[2] else { panic!("no call") };
    assert_eq!(tool_calls[0].arguments, r#"{"to":"<EMAIL_3>","password":"<SECRET>"}"#);
    let Message::Tool { content, .. } = &masked.messages[3] else { panic!("no output") };
    assert_eq!(content, "sent to <EMAIL_2>");
    assert_eq!(Veil::over(&request, Classes::ALL).0, masked, "it is the same each time");

    let reply = ModelReply {
        tool_calls: vec![ToolCall { arguments: r#"{"to":"<EMAIL_2>"}"#.into(), ..tool_calls[0].clone() }],
        stop: StopReason::ToolCalls,
        ..ModelReply::text("I tell <EMAIL_3>, not <EMAIL_1> or <EMAIL_9>: <SECRET>", Usage::default(), "m")
    };
    let reply = veil.lifted_reply(reply);
    assert_eq!(reply.text, "I tell bob@example.org, not <EMAIL_1> or <EMAIL_9>: <SECRET>");
    assert_eq!(reply.tool_calls[0].arguments, r#"{"to":"ada@example.org"}"#);
    assert!(!format!("{veil:?}").contains("example"));
}

#[test]
fn what_no_placeholder_can_be_made_of_any_more_is_given_at_once() {
    let (_, veil) = Veil::over(&request(), Classes::ALL);
    let mut unveiling = veil.unveiling();
    assert_eq!(unveiling.push("a < b and <EMA"), "a < b and ");
    assert_eq!(unveiling.push("IL_2> <b> <"), "ada@example.org <b> ");
    assert_eq!(unveiling.push("EMAIL_3"), "");
    assert_eq!(unveiling.finish(), "<EMAIL_3");
}

/// Texts of fragments that are found, nearly found, and made to be looked at for long.
fn fragments() -> impl Strategy<Value = String> {
    let known: Vec<String> = FOUND.iter().map(|(text, _)| (*text).to_owned()).collect();
    let hard = [
        "aaaaaaaa",
        "1.2.3.",
        "4111",
        "eyJabcdefghij",
        "-",
        "@",
        "%40",
        " ",
        "5555 ",
        "::",
        "=",
        "é",
        "<EMAIL_1>",
        "password",
    ];
    let hard: Vec<String> = hard.iter().map(|text| (*text).to_owned()).collect();
    let piece =
        prop_oneof![prop::sample::select(known), prop::sample::select(hard), "[ -~]{0,12}", any::<String>(),];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_masked_is_not_masked_again(text in fragments()) {
        let once = mask(&text, Classes::ALL);
        prop_assert_eq!(mask(&once, Classes::ALL), &*once);
    }

    #[test]
    fn what_is_found_is_in_order_and_what_is_between_stays(text in fragments()) {
        let mut from = 0;
        for Found { range, .. } in find(&text, Classes::ALL) {
            prop_assert!(from <= range.start && range.start < range.end, "{range:?}");
            prop_assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
            from = range.end;
        }
        prop_assert!(from <= text.len());
    }

    #[test]
    fn what_leaves_comes_back_however_it_is_cut(text in fragments(), cuts in prop::collection::vec(0usize..400, 0..6)) {
        let request = ModelRequest::answer("answer", vec![Message::user(&text)]);
        let personal = Classes::ALL.iter().filter(|class| *class != Class::Secret).collect();
        let (masked, veil) = Veil::over(&request, personal);
        let Message::User { content } = &masked.messages[0] else { panic!("no text") };
        prop_assert_eq!(veil.lifted(content), &*text);
        let mut unveiling = veil.unveiling();
        let (mut streamed, mut from) = (String::new(), 0);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| content.floor_char_boundary(cut)).collect();
        cuts.sort_unstable();
        for cut in cuts.into_iter().chain([content.len()]) {
            streamed.push_str(&unveiling.push(&content[from..cut]));
            from = cut;
        }
        streamed.push_str(&unveiling.finish());
        prop_assert_eq!(streamed, text);
    }
}

/// Twice the text takes about twice the time, also for texts that are made to take long. The bounds are wide: tests run on
/// busy machines, without optimisation.
#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn time_grows_with_the_text_and_no_faster() {
    let hard = [
        "a",
        "1",
        "1.2.3.4-",
        "eyJaaaaaaaa-AKIAIOSFODNN7EXAMPLE-",
        "a@",
        "a@1.2.3.4-",
        "4111 ",
        "::",
        "+1415",
        "AB12",
        "-----BEGIN PRIVATE KEY-----",
        "password",
        "ada@example.org ",
        "Bearer ",
        "plain words of a text. ",
    ];
    for piece in hard {
        let took = |bytes: usize| {
            let text = piece.repeat(bytes / piece.len());
            let begun = Instant::now();
            mask(&text, Classes::ALL);
            begun.elapsed()
        };
        took(1_000);
        let small = took(20_000).max(Duration::from_millis(10));
        let large = took(160_000);
        assert!(large < small * 32, "{piece:?}: {small:?} for 20 kB, and {large:?} for 160 kB");
    }
}
