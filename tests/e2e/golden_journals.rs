//! A kept journal of each kind, replayed bit for bit: a change of what a strategy asks for, in which order or under which key, is
//! found here, before it ends the runs with `non_deterministic` that are under way when a release takes over.
//!
//! `RECORD_GOLDEN_JOURNALS=1` records them anew, from the examples of `docs/agents`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use powerhouse_domain::runs::{EventBody, replay};
use powerhouse_domain::strategies::AgentKind;
use powerhouse_http::JournalDocument;
use powerhouse_tests::scripts;
use powerhouse_tests::stub_model::StubModel;
use serde_json::{Value, json};

use crate::server::Server;

/// Without a database: others take the place of its tools, and what they give is only recorded.
const ANALYST: &str = "powerhouse run --kind sql_analyst --tools current_time,text_statistics --parameters \
    '{\"schema_tool\": \"current_time\", \"query_tool\": \"text_statistics\", \"query_argument\": \"text\"}' \
    'How many orders came in on Monday?'";

/// With a document to cite.
const CITING: &str =
    "powerhouse run --kind rag --tools knowledge_search 'How many weeks is parental leave here?'";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's root").to_path_buf()
}

fn folder() -> PathBuf {
    root().join("tests/golden/journals")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_journal_of_every_kind_replays_bit_for_bit() {
    if std::env::var_os("RECORD_GOLDEN_JOURNALS").is_some() {
        record().await;
    }
    let mut kinds = BTreeSet::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let json = std::fs::read_to_string(&file).unwrap();
        let kept: Value = serde_json::from_str(&json).unwrap();
        let document: JournalDocument = serde_json::from_str(&json).unwrap();
        let recording = document.into_recording().unwrap_or_else(|error| panic!("{name}: {error}"));
        let replayed = replay(&recording);
        assert_eq!(replayed.difference, None, "{name}: ./scripts/golden-journals, if that is meant to be");
        assert_eq!(replayed.hash.to_string(), kept["event_hash"], "{name}");
        let answer = match replayed.end {
            Some(EventBody::Succeeded { answer }) => answer,
            // The example of a forbidden call.
            Some(EventBody::Failed { code, .. }) if name == "governor_2" && code == "forbidden_by_policy" => {
                code
            }
            other => panic!("{name}: {other:?}"),
        };
        let last = kept["events"].as_array().unwrap().last().unwrap();
        assert!(last["body"]["answer"] == answer || last["body"]["code"] == answer, "{name}: {last}");
        assert!(replayed.steps.iter().all(|step| step.has_ended), "{name}");
        kinds.insert(recording.strategy.kind());
    }
    assert_eq!(kinds, AgentKind::ALL.iter().copied().collect(), "each kind has a journal");
}

/// Puts the document of `docs/knowledge.md`, as the first owner.
async fn put_handbook(server: &Server) {
    let owner = server.first_owner().await;
    let content = "# Leave\n\nEverybody has twenty days.\n\n## Parents\n\nParental leave takes 26 weeks.";
    owner.post("/v1/collections", &json!({"name": "handbook"})).await;
    let document = json!({"media_type": "text/markdown", "content": content});
    owner.post("/v1/collections/handbook/documents", &document).await;
}

/// Runs the examples of all pages, and keeps their journals.
async fn record() {
    let scripts = scripts::of_folder(&root().join("docs/agents/examples")).unwrap();
    let stub = StubModel::answering(scripts::speaker(scripts)).await.unwrap();
    let server = Server::with_model(&stub.base_url());
    std::fs::create_dir_all(folder()).unwrap();
    for kind in AgentKind::ALL {
        let page = std::fs::read_to_string(root().join(format!("docs/agents/{kind}.md"))).unwrap();
        let mut commands: Vec<String> = page
            .split("```sh\n")
            .skip(1)
            .map(|rest| rest.split("\n```").next().unwrap().to_owned())
            .filter(|command| command.starts_with("powerhouse run"))
            .collect();
        if *kind == AgentKind::SqlAnalyst {
            commands = vec![ANALYST.to_owned()];
        }
        if *kind == AgentKind::Rag {
            commands.push(CITING.to_owned());
        }
        for (number, command) in (1..).zip(commands) {
            if command == CITING {
                put_handbook(&server).await;
            }
            let printed = server.shell(&format!("{command} --json"));
            let run: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
            let name = if number == 1 { kind.to_string() } else { format!("{kind}_{number}") };
            let file = folder().join(format!("{name}.json"));
            server.shell(&format!(
                "powerhouse replay {} --save {}",
                run["id"].as_str().unwrap(),
                file.display()
            ));
        }
    }
}
