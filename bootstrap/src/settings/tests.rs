//! What a configuration may be, and what is said of one that may not.

use std::fs;

use super::*;

fn layers(variables: &[(&str, &str)]) -> Layers {
    let nowhere = tempfile::tempdir().unwrap();
    let file = nowhere.path().join("empty.toml");
    fs::write(&file, "").unwrap();
    Layers::read(Some(&file), variables.iter().map(|(key, value)| (key.into(), value.into()))).unwrap()
}

fn mistakes(variables: &[(&str, &str)]) -> String {
    layers(variables).settings().err().expect("a mistake").to_string()
}

#[test]
fn the_defaults_are_a_configuration() {
    let settings = layers(&[]).settings().unwrap();
    assert_eq!(settings.address.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.model.provider, Provider::Auto);
    assert!(settings.model.api_key.is_none() && settings.http_allow.is_none());
    assert!(settings.operations.is_none(), "nothing is served that nobody asked for");
}

#[test]
fn the_environment_goes_over_the_file_and_the_file_over_the_usual_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, "[worker]\nconcurrency = 3\n[model]\nbase_url = \"http://file/v1\"\nname = \"m\"\n")
        .unwrap();
    let variables = [
        ("POWERHOUSE__WORKER__CONCURRENCY", "5"),
        ("OPENAI_BASE_URL", "http://usual/v1"),
        ("OPENAI_API_KEY", "sk-canary"),
    ];
    let variables = variables.map(|(key, value)| (key.into(), value.into()));
    let layers = Layers::read(Some(&file), variables).unwrap();
    let settings = layers.settings().unwrap();
    assert_eq!(settings.worker.concurrency, 5);
    assert_eq!(settings.model.base_url.unwrap().as_str(), "http://file/v1");
    assert!(settings.model.api_key.is_some());
    let shown = layers.effective();
    assert!(!shown.contains("canary") && shown.contains("model.api_key = \"*****\""), "{shown}");
    assert!(shown.contains("a.toml") && shown.contains("worker.concurrency = \"5\""), "{shown}");
}

#[test]
fn a_key_goes_to_its_maker_only() {
    let key = ("ANTHROPIC_API_KEY", "sk-ant-canary");
    let chosen = |more: &[(&str, &str)]| {
        let settings = layers(&[&[key], more].concat()).settings().unwrap();
        let has_key = settings.model.api_key.is_some();
        (settings.model.provider, settings.model.base_url.map(|url| url.to_string()), has_key)
    };
    assert_eq!(chosen(&[]), (Provider::Anthropic, None, true));
    let url = "http://proxy/v1".to_owned();
    let proxied = [("ANTHROPIC_BASE_URL", url.as_str())];
    assert_eq!(chosen(&proxied), (Provider::Anthropic, Some(url.clone()), true));
    // Named together, OpenAI's go first; where something else is named, nothing of Anthropic's counts.
    assert_eq!(chosen(&[("OPENAI_BASE_URL", &url)]), (Provider::Auto, Some(url.clone()), false));
    let other =
        [("POWERHOUSE__MODEL__PROVIDER", "openai_compatible"), ("POWERHOUSE__MODEL__BASE_URL", url.as_str())];
    assert_eq!(chosen(&other), (Provider::OpenAiCompatible, Some(url.clone()), false));
    assert!(!chosen(&[("POWERHOUSE__MODEL__PROVIDER", "offline")]).2);
    // And the other way round.
    let layers = layers(&[("OPENAI_API_KEY", "sk-canary"), ("POWERHOUSE__MODEL__PROVIDER", "anthropic")]);
    assert!(layers.settings().unwrap().model.api_key.is_none());
}

#[test]
fn every_mistake_is_named_at_once() {
    let said = mistakes(&[
        ("POWERHOUSE__SERVER__ADDRESS", "here"),
        ("POWERHOUSE__OPERATIONS__ADDRESS", "9464"),
        ("POWERHOUSE__WORKER__CONCURRENCY", "0"),
        ("POWERHOUSE__WORKER__CONCURENCY", "1"),
        ("POWERHOUSE__MODEL__PROVIDER", "magic"),
        ("POWERHOUSE__MODEL__BASE_URL", "::"),
        ("POWERHOUSE__TOOLS__HTTP_ALLOW", "*"),
        ("POWERHOUSE__WEBHOOKS__RETRIES", "5,soon"),
        ("POWERHOUSE__WEBHOOKS__ALLOW", "http://localhost"),
        ("POWERHOUSE__LOG__FILTER", "a=b=c"),
        ("POWERHOUSE__TOOLS__ALLOW_FOR", "acme=10.0.0.7"),
        ("POWERHOUSE__TOKENS__ISSUER", "two words"),
        ("POWERHOUSE__DATA__FOLDER", ""),
    ]);
    for key in [
        "`server.address` must be an address",
        "`operations.address` must be an address with a port",
        "`worker.concurrency` must be a whole number from 1",
        "`worker.concurency` is not a setting",
        "`model.provider` must be one of auto, openai_compatible, anthropic, offline",
        "`model.base_url` must be a URL",
        "`tools.http_allow`",
        "`tools.allow_for` \"acme\" is no tenant's id",
        "`webhooks.retries` must be whole numbers",
        "`webhooks.allow`",
        "`log.filter`",
        "`tokens` issuer",
        "`data.folder` must name a folder",
    ] {
        assert!(said.contains(key), "{key} is missing in: {said}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there_and_be_toml() {
    assert!(Layers::read(Some(Path::new("/nowhere/a.toml")), []).is_err());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, "[worker\n").unwrap();
    assert!(Layers::read(Some(&file), []).is_err());
}

#[test]
fn the_documentation_lists_every_setting_as_it_is() {
    let page = include_str!("../../../docs/configuration.md");
    for &Known { key, default, about } in KNOWN {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        assert!(page.contains(&format!("| `{key}` | {default} | {about} |")), "{key} is not as documented");
    }
}

#[test]
fn hosts_of_single_tenants_are_read_by_their_ids() {
    let tenant = "tenant_01h455vb4pex5vsknk084sn02q";
    let read = hosts_of_tenants(&format!("{tenant}=10.0.0.7, {tenant}=crm.internal")).unwrap();
    assert_eq!(read.keys().map(ToString::to_string).collect::<Vec<_>>(), [tenant]);
    let both = Hosts::new(["crm.internal", "10.0.0.7"]).unwrap();
    assert_eq!(read.values().collect::<Vec<_>>(), [&both]);
    for bad in [tenant.to_owned(), format!("{tenant}=a b"), "=host".to_owned()] {
        assert!(hosts_of_tenants(&bad).is_err(), "{bad}");
    }
    assert_eq!(hosts_of_tenants("").unwrap(), BTreeMap::new());
}
