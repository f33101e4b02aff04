//! The pages of `docs/agents`: what the catalogue says stands there as it is, and every example prints what stands there.
//!
//! `UPDATE_AGENT_PAGES=1` writes both into the pages instead of comparing.

use std::path::{Path, PathBuf};

use powerhouse_tests::scripts;
use powerhouse_tests::stub_model::StubModel;
use serde_json::Value;

use crate::databases::Shop;
use crate::server::Server;

/// What is written from the catalogue stands between these.
const BEGIN: &str = "<!-- from the catalogue -->\n";
const END: &str = "<!-- end -->\n";
/// An example: a command, and what it prints.
const COMMAND: &str = "```sh\npowerhouse run ";
const PRINTED: &str = "```text\n";
const FENCE: &str = "\n```\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's root").join("docs/agents")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_the_kinds_say_what_the_catalogue_and_the_commands_say() {
    let scripts = scripts::of_folder(&folder().join("examples")).unwrap();
    let stub = StubModel::answering(scripts::speaker(scripts)).await.unwrap();
    // The database of the page of `sql_analyst`.
    let shop = Shop::open().await;
    let server = Server::with(&[
        ("POWERHOUSE__MODEL__BASE_URL", &stub.base_url()),
        ("POWERHOUSE__TOOLS__ALLOW", "127.0.0.1"),
    ]);
    let examples_of = Examples { server: &server, shop: &shop.url() };
    let catalogue = server.tenant("acme").await.get("/v1/agent-kinds").await;
    let kinds = catalogue["items"].as_array().unwrap();

    let mut stale = Vec::new();
    let table: String = kinds.iter().map(row).collect();
    let table = format!("| kind | what it does | model calls | tools |\n|---|---|---|---|\n{table}");
    check("README.md", |page| with_block(page, &table), &mut stale);
    let mut examples = 0;
    for kind in kinds {
        let name = format!("{}.md", kind["kind"].as_str().unwrap());
        check(
            &name,
            |page| {
                let (page, run) = examples_of.renewed(&with_block(page, &facts(kind)));
                examples += run;
                page
            },
            &mut stale,
        );
    }
    shop.close().await;
    assert!(examples >= kinds.len(), "every page has an example");
    assert!(stale.is_empty(), "{stale:?} are not as they should be: UPDATE_AGENT_PAGES=1 writes them");
}

fn check(name: &str, renew: impl FnOnce(&str) -> String, stale: &mut Vec<String>) {
    let file = folder().join(name);
    let page = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let renewed = renew(&page);
    if renewed == page {
        return;
    }
    if std::env::var_os("UPDATE_AGENT_PAGES").is_some() {
        std::fs::write(file, renewed).unwrap();
    } else {
        stale.push(name.to_owned());
    }
}

/// The page with what the catalogue says in its place.
fn with_block(page: &str, block: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for what the catalogue says");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    format!("{before}{BEGIN}{block}{END}{after}")
}

fn calls(kind: &Value) -> String {
    let (min, max) = (&kind["model_calls"]["min"], &kind["model_calls"]["max"]);
    if min == max { min.to_string() } else { format!("{min} to {max}") }
}

fn row(kind: &Value) -> String {
    let text = |name: &str| kind[name].as_str().unwrap();
    let (name, id) = (text("name"), text("kind"));
    format!("| [{name}]({id}.md) `{id}` | {} | {} | {} |\n", text("summary"), calls(kind), text("tools"))
}

fn facts(kind: &Value) -> String {
    let text = |name: &str| kind[name].as_str().unwrap();
    let mut lines = vec![
        text("summary").to_owned(),
        String::new(),
        format!("**When:** {}", text("use_when")),
        String::new(),
    ];
    for source in kind["sources"].as_array().unwrap() {
        let part = |name: &str| source[name].as_str().unwrap();
        let (authors, year) = (part("authors"), &source["year"]);
        lines.push(format!("**Source:** {authors} {year}, [{}]({}).\n", part("title"), part("url")));
    }
    let formula = kind["model_calls"]["formula"].as_str().unwrap();
    lines.push(format!("**Model calls:** {}, with default parameters. In words: {formula}.\n", calls(kind)));
    let needed = kind["needed_tools"].as_array().unwrap().iter().map(|tool| tool.as_str().unwrap());
    let tools = match text("tools") {
        "never" => "none are called".to_owned(),
        "optional" => "those that its agent lists".to_owned(),
        _ => format!("it needs `{}`", needed.collect::<Vec<_>>().join("` and `")),
    };
    lines.push(format!("**Tools:** {tools}.\n"));
    if kind["needs_agents"] == true {
        lines.push("**Agents:** it has others do the work, which its definition lists.\n".to_owned());
    }
    let properties = kind["parameters"]["properties"].as_object().unwrap();
    if properties.is_empty() {
        lines.push("It has no parameters.".to_owned());
    } else {
        lines.push("| parameter | allowed | default | what it is |\n|---|---|---|---|".to_owned());
    }
    for (name, schema) in properties {
        let (default, about) = (&schema["default"], schema["description"].as_str().unwrap());
        lines.push(format!("| `{name}` | {} | `{default}` | {about} |", allowed(schema)));
    }
    lines.join("\n") + "\n"
}

fn allowed(schema: &Value) -> String {
    match (schema["type"].as_str().unwrap(), schema["enum"].as_array()) {
        (_, Some(words)) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        ("integer" | "number", _) => format!("{} to {}", schema["minimum"], schema["maximum"]),
        ("array", _) => format!("up to {} texts", schema["maxItems"]),
        (other, _) => other.to_owned(),
    }
}

/// What the examples are run against.
struct Examples<'a> {
    server: &'a Server,
    /// The database that they call `$SHOP`.
    shop: &'a str,
}

impl Examples<'_> {
    /// The page with what its commands print, and how many it has.
    fn renewed(&self, page: &str) -> (String, usize) {
        let (mut renewed, mut rest, mut examples) = (String::new(), page, 0);
        while let Some(at) = rest.find(COMMAND) {
            let start = at + "```sh\n".len();
            let end = start + rest[start..].find(FENCE).expect("the command ends");
            let printed =
                end + rest[end..].find(PRINTED).expect("what the command prints follows") + PRINTED.len();
            let after = printed + rest[printed..].find("```\n").expect("what it prints ends");
            let (before, said) = (&rest[..printed], &rest[printed..after]);
            let says = self.printed(&rest[start..end]);
            // What is asked for at the same time may end in any order.
            let is_same = sorted(&says) == sorted(said);
            renewed += before;
            renewed += if is_same { said } else { &says };
            rest = &rest[after..];
            examples += 1;
        }
        (renewed + rest, examples)
    }

    /// What a command prints, with the same id for every run and every memory.
    fn printed(&self, command: &str) -> String {
        let printed = self.server.shell_with(&[("SHOP", self.shop)], command);
        without_ids(&without_ids(&printed, "run_"), "memory_")
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn without_ids(printed: &str, prefix: &str) -> String {
    let mut parts = printed.split(prefix);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let id = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
        shown += prefix;
        // A line that is too long is cut, also in the middle of an id.
        let is_cut = part.starts_with('0') && part[id..].starts_with('\n');
        let rest = if id == 26 || is_cut { &part[id..] } else { part };
        shown += if id == 26 || is_cut { "…" } else { "" };
        shown += rest;
    }
    shown
}
