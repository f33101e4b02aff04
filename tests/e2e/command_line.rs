//! The command line, as somebody at a shell sees it.

use std::process::{Command, Output};

use powerhouse_tests::stub_model::{Answer, StubModel};
use serde_json::{Value, json};

use crate::server::{PASSWORD, Server, binary};

fn text(output: &Output) -> (String, String) {
    let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (read(&output.stdout), read(&output.stderr))
}

/// `powerhouse run` against a server, as its first owner.
fn run(server: &Server, arguments: &[&str]) -> Output {
    binary(server.folder()).arg("run").args(arguments).args(["--url", &server.base]).output().unwrap()
}

#[test]
fn a_run_is_shown_in_lines_or_as_json() {
    let server = Server::start();
    let output = run(&server, &["What is 12.5 % of 380?"]);
    let (shown, errors) = text(&output);
    assert!(output.status.success(), "{errors}");
    assert!(shown.contains("started: tool calculator\n  → 47.5\n"), "{shown}");
    assert!(shown.contains("\n[offline model] (12.5 / 100) * 380 = 47.5\n"), "{shown}");
    assert!(shown.contains("`assistant`") && !shown.contains('\u{1b}'), "{shown}");

    let output = run(&server, &["--json", "1 + 1"]);
    let lines: Vec<Value> =
        text(&output).0.lines().map(|line| serde_json::from_str(line).expect("JSON, a line each")).collect();
    assert_eq!(lines[0]["event"], "run.queued");
    assert_eq!(lines.last().unwrap()["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_is_tried_with_an_agent_that_is_retired_after_its_run() {
    let server = Server::start();
    let kind =
        ["--kind", "react", "--tools", "calculator,current_time", "--parameters", r#"{"max_turns": 2}"#];
    let output = run(&server, &[&kind[..], &["--json", "What is 6 * 7?"]].concat());
    let (shown, errors) = text(&output);
    assert!(output.status.success(), "{errors}");
    let tried: Value = serde_json::from_str(shown.lines().last().unwrap()).unwrap();
    assert_eq!(tried["answer"], "[offline model] 6 * 7 = 42");
    let output = run(&server, &["--json", "Try what `powerhouse run --kind react` made"]);
    let chosen: Value = serde_json::from_str(text(&output).0.lines().last().unwrap()).unwrap();
    assert_ne!(chosen["selection"]["agent"], tried["selection"]["agent"], "no task is given to it");
    let id = tried["id"].as_str().unwrap();
    let output = binary(server.folder()).args(["replay", id, "--url", &server.base]).output().unwrap();
    assert!(text(&output).0.contains("same: 3 steps"), "{:?}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_gone_on_with_by_its_title_or_its_id() {
    let stub = StubModel::answering(|received| {
        let messages = received.body["messages"].as_array().unwrap();
        Answer::text([format!("answer after {}", messages.len()).as_str()], 1, 1)
    })
    .await
    .unwrap();
    let server = Server::with_model(&stub.base_url());
    let said = |thread: &str, form: &[&str]| {
        let kind = ["--kind", "direct", "--thread", thread];
        let output = run(&server, &[&kind[..], form, &["Go on"]].concat());
        let (shown, errors) = text(&output);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        shown
    };
    let asked = |shown: &str| serde_json::from_str::<Value>(shown.lines().last().unwrap()).unwrap();

    let begun = said(" A trip ", &[]);
    assert!(
        begun.contains(": begun, there was no thread `A trip`") && begun.contains("answer after 1"),
        "{begun}"
    );
    let id = begun.split(':').next().unwrap();
    let by_title = asked(&said("A trip", &["--json"]));
    assert_eq!((&by_title["thread"], &by_title["turn"]), (&json!(id), &json!(2)), "{by_title}");
    assert_eq!(by_title["answer"], "answer after 3", "it saw the turn before");
    assert_eq!(asked(&said(id, &["--json"]))["answer"], "answer after 5");
    assert_eq!(asked(&said("a trip", &["--json"]))["answer"], "answer after 1", "another title");

    // Somebody else's thread of that title is no conversation of one's own.
    let owner = server.first_owner().await;
    let user =
        json!({"email": "bob@example.org", "display_name": "Bob", "role": "admin", "password": PASSWORD});
    owner.post("/v1/users", &user).await;
    let mut as_bob = binary(server.folder());
    as_bob.args(["run", "--json", "--thread", "A trip", "Go on", "--url", &server.base]);
    as_bob.args(["--tenant", "home", "--email", "bob@example.org"]).env("POWERHOUSE_PASSWORD", PASSWORD);
    let his = asked(&text(&as_bob.output().unwrap()).0);
    assert!(his["thread"] != id && his["turn"] == 1, "{his}");
    for (thread, word) in [("thread_01h455vb4pex5vsknk084sn02q", "thread"), (" ", "title")] {
        let (_, errors) = text(&run(&server, &["--thread", thread, "Go on"]));
        assert!(errors.starts_with("error: ") && errors.contains(word), "{errors}");
    }
}

#[test]
fn mistakes_are_answered_with_what_to_do() {
    let server = Server::start();
    for (arguments, said) in [
        (&["--agent", "nobody", "1 + 1"][..], "agent"),
        (&["--tenant", "other", "1 + 1"][..], "POWERHOUSE_PASSWORD"),
        (&[" "][..], "task"),
        (
            &["--kind", "oracle", "1 + 1"][..],
            "definition/kind: there is no such kind of agent; there are direct, ",
        ),
        (&["--kind", "react", "--parameters", r#"{"max_turns": 0}"#, "1 + 1"][..], "parameters/max_turns"),
    ] {
        let output = run(&server, arguments);
        let (_, errors) = text(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(errors.starts_with("error: ") && errors.contains(said), "{arguments:?}: {errors}");
    }
    let output = binary(server.folder()).args(["run", "a", "--url", "http://127.0.0.1:1"]).output().unwrap();
    assert!(text(&output).1.contains("is the server started"), "{:?}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_fails_the_command() {
    let stub = StubModel::start([Answer::error(400, "no")]).await.unwrap();
    let server = Server::with_model(&stub.base_url());
    let output = tokio::task::spawn_blocking(move || run(&server, &["Write a letter"])).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).0.contains("failed: "), "{:?}", text(&output));
}

#[test]
fn the_configuration_is_shown_without_secrets_and_its_mistakes_together() {
    let folder = tempfile::tempdir().unwrap();
    let check = |variables: &[(&str, &str)]| -> Output {
        let mut command: Command = binary(folder.path());
        command.args(["config", "check"]).envs(variables.iter().copied()).output().unwrap()
    };
    let output = check(&[("OPENAI_API_KEY", "sk-canary")]);
    let (shown, _) = text(&output);
    assert!(output.status.success() && shown.contains("server.address = \"127.0.0.1:8080\""), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    let output = check(&[("POWERHOUSE__SERVER__ADDRESS", "x"), ("POWERHOUSE__SERVR__ADDRESS", "y")]);
    let (_, errors) = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains("`server.address` must be") && errors.contains("`servr.address` is not a setting"),
        "{errors}"
    );
}

#[test]
fn the_doctor_says_what_is_missing_and_what_is_ill() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = || {
        let mut command = binary(folder.path());
        command.arg("doctor").env("POWERHOUSE__MODEL__PROVIDER", "offline");
        command.env("POWERHOUSE__SERVER__ADDRESS", "127.0.0.1:0");
        command.output().unwrap()
    };
    let output = doctor();
    assert!(output.status.success(), "{:?}", text(&output));
    assert!(text(&output).0.contains("does not exist"));

    let output = binary(folder.path()).arg("migrate").output().unwrap();
    assert!(output.status.success() && text(&output).0.contains("up to date"), "{:?}", text(&output));
    assert!(text(&doctor()).0.contains("its schema is up to date"));

    std::fs::write(folder.path().join("data/signing-keys.pem"), "no key").unwrap();
    let output = doctor();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).0.contains("BAD   the signing keys"), "{:?}", text(&output));
}

#[test]
fn an_address_that_is_taken_is_said_so() {
    let server = Server::start();
    let address = server.base.trim_start_matches("http://");
    let folder = tempfile::tempdir().unwrap();
    let mut second = binary(folder.path());
    second.env("POWERHOUSE__SERVER__ADDRESS", address).env("POWERHOUSE__MODEL__PROVIDER", "offline");
    let output = second.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).1.contains("set server.address"), "{:?}", text(&output));
}

/// The README's commands, one after the other in one shell, against a server of this test.
#[test]
fn the_readmes_first_run_works_as_printed() {
    let server = Server::start();
    let readme = include_str!("../../README.md");
    let start = readme.split("## Start").nth(1).unwrap().split("## A language model").next().unwrap();
    let commands: Vec<&str> =
        start.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(commands[0].trim(), "cargo run");
    let script = format!("set -euo pipefail\n{}", commands[1..].concat())
        .replace("cargo run -q --", &format!("{} ", env!("CARGO_BIN_EXE_powerhouse")))
        .replace("powerhouse-data", "data")
        .replace("localhost:8080", server.base.trim_start_matches("http://"));
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(server.folder()).env("POWERHOUSE_URL", &server.base);
    let output = shell.env("POWERHOUSE__DATA__FOLDER", "data").output().unwrap();
    let (shown, errors) = text(&output);
    assert!(output.status.success(), "{errors}");
    for line in [
        "started: tool calculator",
        "  → 47.5",
        "event: run.queued",
        "event: run.succeeded",
        "\"answer\":\"[offline model] (12.5 / 100) * 380 = 47.5\"",
        "\"reason\":\"`assistant` scores",
    ] {
        assert!(shown.contains(line), "{line} is missing in:\n{shown}");
    }
}

/// The whole of it takes long without optimisation: here are two agents.
#[test]
fn selection_is_measured_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let sentence = |text: &str, agent: &str| serde_json::json!([text, agent]);
    let of = |agent: &str, verbs: [&str; 4]| -> Vec<serde_json::Value> {
        let things = ["quickly", "for me", "today", "at once", "again"];
        verbs
            .iter()
            .flat_map(|verb| things.map(|thing| sentence(&format!("{verb} {thing}"), agent)))
            .collect()
    };
    let roses = of("gardener", ["water roses", "cut tulips", "plant daisies", "rake leaves"]);
    let money = of("banker", ["send money", "pay bills", "check balances", "open accounts"]);
    let train = [roses, money].concat();
    let data = serde_json::json!({
        "train": train,
        "test": [sentence("water the tulips", "gardener"), sentence("pay the money", "banker")],
        "oos_test": [sentence("\u{444}\u{438}\u{437}\u{438}\u{43a}\u{430}", "oos")],
    });
    std::fs::write(folder.path().join("small.json"), data.to_string()).unwrap();
    let bench = |file: &str| {
        let output = binary(folder.path()).args(["bench", "selection", "--data", file]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, table) = bench("small.json");
    assert_eq!(code, Some(0), "{table}");
    assert!(table.contains("| here | 100.0 % | 100.0 % |") && table.contains("92.8 %"), "{table}");
    assert!(table.contains("a decision, median") && table.contains("memory"), "{table}");
    let (code, said) = bench("nowhere.json");
    assert_eq!(code, Some(1));
    assert!(said.contains("--data"), "{said}");
}
