//! The rules of the architecture, checked: edges between crates, the domain's purity, module files and ADRs.
//!
//! Each rule is a function from facts to violations, so that a test can show that it fails on a wrong input.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

const DOMAIN: &str = "powerhouse-domain";
const PORTS: &str = "powerhouse-ports";
const USECASES: &str = "powerhouse-usecases";
const MIGRATIONS: &str = "powerhouse-migrations";
const ROWS: &str = "powerhouse-rows";
const EGRESS: &str = "powerhouse-egress";
const HEXAGON: &str = "docs/adr/0001-the-hexagon-and-its-edges.md";
const MAX_LINES: usize = 600;
const IMPURE: [&str; 7] = ["tokio", "sea-orm", "salvo", "reqwest", "rand", "getrandom", "metrics"];

/// A crate of the workspace, as the rules see it.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    /// Relative to the workspace's root, with forward slashes.
    folder: String,
    /// The crates that it names for any purpose.
    dependencies: BTreeSet<String>,
    /// The crates that it names for its library, binaries or build script.
    shipped_dependencies: BTreeSet<String>,
}

enum Allowed {
    Only(BTreeSet<&'static str>),
    Anything,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace's root").to_path_buf()
}

fn workspace() -> Vec<Member> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata describes the workspace");
    let root = metadata.workspace_root.clone();
    metadata.workspace_packages().into_iter().map(|package| member(package, root.as_std_path())).collect()
}

fn member(package: &Package, root: &Path) -> Member {
    let folder = package.manifest_path.parent().expect("a manifest is in a folder").as_std_path();
    let folder = folder.strip_prefix(root).expect("members are below the root");
    let named = |shipped_only: bool| {
        package
            .dependencies
            .iter()
            .filter(|dependency| !shipped_only || dependency.kind != DependencyKind::Development)
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    Member {
        name: package.name.to_string(),
        folder: folder.to_string_lossy().replace('\\', "/"),
        dependencies: named(false),
        shipped_dependencies: named(true),
    }
}

/// The table of ADR 0001, with the row of ADR 0020. `None`: the table has no row for this crate.
fn allowed_edges(member: &Member) -> Option<Allowed> {
    let only = |names: &[&'static str]| Some(Allowed::Only(names.iter().copied().collect()));
    match (member.name.as_str(), member.folder.as_str()) {
        (DOMAIN | MIGRATIONS, _) => only(&[]),
        (PORTS, _) => only(&[DOMAIN]),
        (USECASES, _) => only(&[DOMAIN, PORTS]),
        ("powerhouse" | "powerhouse-tests", _) => Some(Allowed::Anything),
        ("powerhouse-bench", _) => only(&[DOMAIN]),
        (_, "adapters/http") => only(&[DOMAIN, PORTS, USECASES]),
        (_, "adapters/models" | "adapters/tools") => only(&[DOMAIN, PORTS, EGRESS]),
        (_, "adapters/sqlite" | "adapters/postgres") => only(&[DOMAIN, PORTS, ROWS, MIGRATIONS]),
        (_, folder) if folder.starts_with("adapters/") => only(&[DOMAIN, PORTS]),
        _ => None,
    }
}

fn edge_violations(members: &[Member]) -> Vec<String> {
    let ours: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let mut violations = Vec::new();
    for member in members {
        let Some(allowed) = allowed_edges(member) else {
            violations
                .push(format!("{} ({}) has no row in the table of {HEXAGON}", member.name, member.folder));
            continue;
        };
        let Allowed::Only(allowed) = allowed else { continue };
        for dependency in &member.dependencies {
            let dependency = dependency.as_str();
            if dependency != member.name && ours.contains(dependency) && !allowed.contains(dependency) {
                violations.push(format!("{} must not depend on {dependency}: see {HEXAGON}", member.name));
            }
        }
    }
    violations
}

/// `reached` is what the domain's own build links, directly or through others.
fn purity_violations<'a>(reached: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    reached
        .into_iter()
        .filter(|name| IMPURE.contains(name))
        .map(|name| format!("{DOMAIN} must not reach {name}: see {HEXAGON}"))
        .collect()
}

/// The names in the output of `cargo tree --prefix none --format {p}`.
fn names_in_tree(tree: &str) -> BTreeSet<&str> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).collect()
}

/// `cargo metadata` merges the features that all members ask for; `cargo tree` says what this crate alone asks for.
fn domain_tree() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--package", DOMAIN, "--edges", "normal,build", "--all-features"])
        .args(["--prefix", "none", "--format", "{p}", "--color", "never"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo tree prints UTF-8")
}

fn module_violations(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let header = text.lines().next().unwrap_or_default();
    if header.strip_prefix("//!").is_none_or(|says| says.trim().is_empty()) {
        violations
            .push(format!("{path} must start with a `//!` line that says what lives there: see {HEXAGON}"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        violations.push(format!("{path} has {lines} lines, more than {MAX_LINES}: see {HEXAGON}"));
    }
    violations
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The part of `text` below `heading`, up to the next heading of the same or a higher level.
fn section<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let level = heading.bytes().take_while(|&byte| byte == b'#').count();
    let start = text.find(&format!("\n{heading}\n"))? + heading.len() + 2;
    let body = &text[start..];
    let end = (1..=level).filter_map(|hashes| body.find(&format!("\n{} ", "#".repeat(hashes)))).min();
    Some(&body[..end.unwrap_or(body.len())])
}

fn adr_violations(name: &str, text: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let has_line = |start: &str| {
        text.lines().any(|line| line.strip_prefix(start).is_some_and(|rest| !rest.trim().is_empty()))
    };
    let number = name.get(..4).unwrap_or_default();
    if !text.starts_with(&format!("# {number}: ")) {
        missing.push(format!("a first line that starts with `# {number}: `"));
    }
    for line in ["- Status: ", "- Date: ", "- Good: ", "- Bad: ", "*Enforced by*: "] {
        if !has_line(line) {
            missing.push(format!("a line `{line}…`"));
        }
    }
    for heading in ["## Context", "## Decision drivers", "## Decision outcome", "### Consequences"] {
        if section(text, heading).is_none_or(|body| body.trim().is_empty()) {
            missing.push(format!("a section `{heading}`"));
        }
    }
    let options = section(text, "## Considered options").unwrap_or_default();
    if options.lines().filter(|line| line.starts_with("- ")).count() < 2 {
        missing.push("two options under `## Considered options`".into());
    }
    missing.into_iter().map(|what| format!("docs/adr/{name} lacks {what}")).collect()
}

/// Numbers start at 0001 and have neither gaps nor repeats.
fn number_violations<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut by_number: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for name in names {
        let number = name.split_once('-').map(|(number, _)| number).filter(|number| number.len() == 4);
        match number.and_then(|number| number.parse().ok()) {
            Some(number) => by_number.entry(number).or_default().push(name),
            None => violations.push(format!("docs/adr/{name} is not named `NNNN-title.md`")),
        }
    }
    for (expected, (number, names)) in (1..).zip(&by_number) {
        if *number != expected {
            violations.push(format!("docs/adr/{}: the next number is {expected:04}", names[0]));
            break;
        }
    }
    for names in by_number.values().filter(|names| names.len() > 1) {
        violations.push(format!("docs/adr: {} have the same number", names.join(" and ")));
    }
    violations
}

fn index_violations<'a>(index: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    names
        .into_iter()
        .filter(|name| !index.contains(&format!("]({name})")))
        .map(|name| format!("docs/adr/README.md does not list {name}"))
        .collect()
}

/// File names and texts of all ADRs, in order.
fn adrs() -> BTreeMap<String, String> {
    fs::read_dir(root().join("docs/adr"))
        .expect("docs/adr exists")
        .map(|entry| entry.expect("the entry can be read").path())
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .filter(|(name, _)| name != "README.md")
        .map(|(name, path)| (name, fs::read_to_string(path).expect("an ADR is UTF-8")))
        .collect()
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

fn made_up(name: &str, folder: &str, dependencies: &[&str]) -> Member {
    let dependencies: BTreeSet<String> = dependencies.iter().map(ToString::to_string).collect();
    Member {
        name: name.into(),
        folder: folder.into(),
        shipped_dependencies: dependencies.clone(),
        dependencies,
    }
}

#[test]
fn crates_depend_only_along_the_edges_of_the_hexagon() {
    let members = workspace();
    for name in [DOMAIN, PORTS] {
        assert!(members.iter().any(|member| member.name == name), "the workspace has no {name}");
    }
    assert_none(&edge_violations(&members));
}

#[test]
fn a_wrong_edge_is_reported_with_its_adr() {
    let right = [
        made_up(DOMAIN, "domain", &["serde"]),
        made_up(PORTS, "application/ports", &[DOMAIN]),
        made_up(USECASES, "application/usecases", &[DOMAIN, PORTS]),
        made_up(MIGRATIONS, "migrations", &[]),
        made_up("powerhouse-http", "adapters/http", &[DOMAIN, PORTS, USECASES]),
        made_up("powerhouse-sqlite", "adapters/sqlite", &[DOMAIN, PORTS, ROWS, MIGRATIONS]),
        made_up("powerhouse-postgres", "adapters/postgres", &[DOMAIN, PORTS, MIGRATIONS]),
        made_up("powerhouse-redis", "adapters/redis", &[DOMAIN, PORTS]),
        made_up("powerhouse", "bootstrap", &[USECASES, "powerhouse-http", "powerhouse-redis"]),
        made_up(ROWS, "adapters/rows", &[DOMAIN, PORTS]),
    ];
    assert_none(&edge_violations(&right));

    let wrong = [
        (0, PORTS),
        (1, USECASES),
        (2, "powerhouse-redis"),
        (3, DOMAIN),
        (4, "powerhouse-redis"),
        (5, USECASES),
        (6, "powerhouse-sqlite"),
        (7, MIGRATIONS),
        (7, ROWS),
        (7, USECASES),
        (7, "powerhouse"),
    ];
    for (position, dependency) in wrong {
        let mut members = right.clone();
        members[position].dependencies.insert(dependency.into());
        let violations = edge_violations(&members);
        assert_eq!(violations.len(), 1, "{} → {dependency}: {violations:?}", members[position].name);
        assert!(violations[0].contains(HEXAGON) && violations[0].contains(dependency), "{violations:?}");
    }
}

#[test]
fn a_crate_outside_the_table_is_reported() {
    let violations = edge_violations(&[made_up("powerhouse-utils", "utils", &[])]);
    assert!(matches!(&violations[..], [only] if only.contains(HEXAGON)), "{violations:?}");
}

#[test]
fn the_domain_reaches_no_runtime_no_io_and_no_randomness() {
    let members = workspace();
    let domain = members.iter().find(|member| member.name == DOMAIN).expect("the domain is a member");
    assert_none(&purity_violations(domain.shipped_dependencies.iter().map(String::as_str)));

    let tree = domain_tree();
    let reached = names_in_tree(&tree);
    assert!(reached.contains(DOMAIN) && reached.contains("serde"), "cargo tree prints names: {tree}");
    assert_none(&purity_violations(reached));
}

#[test]
fn an_impure_dependency_is_reported_with_its_adr() {
    for name in IMPURE {
        let tree = format!("{DOMAIN} v0.1.0 (/somewhere)\nserde v1.0.0\n{name} v1.0.0\n");
        let violations = purity_violations(names_in_tree(&tree));
        assert!(
            matches!(&violations[..], [only] if only.contains(name) && only.contains(HEXAGON)),
            "{violations:?}"
        );
    }
}

#[test]
fn every_module_says_what_lives_there_and_is_short() {
    let root = root();
    let mut files = Vec::new();
    for member in workspace() {
        rust_files(&root.join(member.folder).join("src"), &mut files);
    }
    assert!(files.len() > 2, "the workspace has modules: {files:?}");
    let violations: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let path = file.strip_prefix(&root).unwrap_or(file).display().to_string();
            module_violations(&path, &fs::read_to_string(file).expect("a module is UTF-8"))
        })
        .collect();
    assert_none(&violations);
}

#[test]
fn a_module_without_header_or_too_long_is_reported() {
    let longest = format!("//! Lines.\n{}", "\n".repeat(MAX_LINES - 1));
    assert_none(&module_violations("a.rs", &longest));

    let too_long = format!("{longest}\n");
    for wrong in
        ["", "use std::fmt;\n//! Late.\n", "//!\n", "// A comment.\n", "\n//! Second line.\n", &too_long]
    {
        let violations = module_violations("a.rs", wrong);
        assert!(matches!(&violations[..], [only] if only.contains(HEXAGON)), "{violations:?}");
    }
}

#[test]
fn every_adr_has_its_sections_and_says_what_enforces_it() {
    let adrs = adrs();
    assert!(!adrs.is_empty(), "docs/adr has ADRs");
    let violations: Vec<String> = adrs.iter().flat_map(|(name, text)| adr_violations(name, text)).collect();
    assert_none(&violations);
}

#[test]
fn adr_numbers_are_unique_and_contiguous_and_all_are_listed() {
    let adrs = adrs();
    assert_none(&number_violations(adrs.keys().map(String::as_str)));
    let index = fs::read_to_string(root().join("docs/adr/README.md")).expect("docs/adr/README.md exists");
    assert_none(&index_violations(&index, adrs.keys().map(String::as_str)));
}

#[test]
fn an_adr_that_lacks_a_part_is_reported_by_name() {
    let name = "0001-something.md";
    let whole = "# 0001: Something\n\n- Status: accepted\n- Date: 2026-11-24\n\n## Context\n\nWhy.\n\n\
        ## Decision drivers\n\n- One.\n\n## Considered options\n\n- One.\n- Two.\n\n\
        ## Decision outcome\n\nTwo.\n\n### Consequences\n\n- Good: this.\n- Bad: that.\n\n*Enforced by*: a test.\n";
    assert_none(&adr_violations(name, whole));

    let parts = [
        "# 0001: Something",
        "- Status: accepted",
        "- Date: 2026-11-24",
        "## Context",
        "Why.",
        "## Decision drivers",
        "## Considered options",
        "- Two.",
        "## Decision outcome",
        "### Consequences",
        "- Good: this.",
        "- Bad: that.",
        "*Enforced by*: a test.",
        " a test.",
    ];
    for part in parts {
        let violations = adr_violations(name, &whole.replace(part, ""));
        assert!(!violations.is_empty(), "nothing reported without `{part}`");
        assert!(violations.iter().all(|violation| violation.contains(name)), "{violations:?}");
    }
}

#[test]
fn a_gap_a_repeat_a_bad_name_and_an_unlisted_adr_are_reported() {
    assert_none(&number_violations(["0001-a.md", "0002-b.md"]));
    for wrong in [
        &["0002-b.md"][..],
        &["0001-a.md", "0003-c.md"],
        &["0001-a.md", "0002-b.md", "0002-c.md"],
        &["0001-a.md", "notes.md"],
        &["0001-a.md", "2-b.md"],
    ] {
        assert_eq!(number_violations(wrong.iter().copied()).len(), 1, "{wrong:?}");
    }
    assert_none(&index_violations("| [0001](0001-a.md) |", ["0001-a.md"]));
    assert_eq!(index_violations("| [0001](0001-a.md) |", ["0001-a.md", "0002-b.md"]).len(), 1);
}
