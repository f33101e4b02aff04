//! `powerhouse doctor`: what the server needs, whether it is there, and how to mend what is not.

use std::fs;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use powerhouse_auth::SigningKeys;

use crate::cli::say;
use crate::embeddings;
use crate::model;
use crate::settings::{Database, Settings};
use crate::wiring;

/// How long a server on our address has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

enum Finding {
    Well(String),
    /// It works, though not as somebody may expect.
    Odd(String, &'static str),
    Ill(String, &'static str),
}

/// Examines everything, also after a bad finding.
pub(crate) async fn examine(settings: &Settings) -> anyhow::Result<ExitCode> {
    let findings = [
        folder(settings),
        keys(settings),
        database(settings).await,
        address(settings).await,
        models(settings).await,
        vectors(settings).await,
    ];
    let mut ill = 0;
    for finding in findings {
        match finding {
            Finding::Well(what) => say(format!("ok    {what}")),
            Finding::Odd(what, mend) => say(format!("note  {what}\n      {mend}")),
            Finding::Ill(what, mend) => {
                ill += 1;
                say(format!("BAD   {what}\n      {mend}"));
            }
        }
    }
    say(if ill == 0 {
        "Everything that the server needs is there."
    } else {
        "Mend what is BAD, and try again."
    });
    Ok(if ill == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn folder(settings: &Settings) -> Finding {
    let folder = settings.data.display();
    if !settings.data.exists() {
        return Finding::Odd(
            format!("the data folder {folder} does not exist"),
            "It is made at the first start, or by `powerhouse migrate`.",
        );
    }
    let probe = settings.data.join(".probe");
    match fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)) {
        Ok(()) => Finding::Well(format!("the data folder {folder} can be written")),
        Err(error) => Finding::Ill(
            format!("the data folder {folder} cannot be written: {error}"),
            "Give it to the user that runs the server, or set data.folder.",
        ),
    }
}

fn keys(settings: &Settings) -> Finding {
    let file = settings.signing_keys();
    if !file.exists() {
        return Finding::Odd(
            format!("there are no signing keys in {}", file.display()),
            "They are generated at the first start.",
        );
    }
    match SigningKeys::load(&file) {
        Ok(_) => Finding::Well(format!("the signing keys in {} are good", file.display())),
        Err(error) => Finding::Ill(
            format!("the signing keys in {} cannot be used: {error}", file.display()),
            "Restore them; or move them away: new ones are generated, and everybody signs in again.",
        ),
    }
}

async fn database(settings: &Settings) -> Finding {
    let file = settings.sqlite();
    let what = match settings.database {
        Database::Sqlite if !file.exists() => {
            return Finding::Odd(
                format!("there is no database {}", file.display()),
                "It is made at the first start, or by `powerhouse migrate`.",
            );
        }
        Database::Sqlite => format!("the database {} answers, its schema is up to date", file.display()),
        Database::Postgres(_) => "PostgreSQL answers, and keeps tenants apart".to_owned(),
    };
    let opened = async { anyhow::Ok(wiring::open_stores(settings).await?.platform.ping().await?) };
    match opened.await {
        Ok(()) => Finding::Well(what),
        Err(error) => Finding::Ill(
            format!("{error:#}"),
            "SQLite: look at the file's owner and the disk's space. PostgreSQL: look at database.url, and migrate.",
        ),
    }
}

async fn address(settings: &Settings) -> Finding {
    let address = settings.address;
    let Err(error) = TcpListener::bind(address) else {
        return Finding::Well(format!("{address} is free"));
    };
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let answer = match client {
        Ok(client) => client.get(format!("http://{address}/health")).send().await.ok(),
        Err(_) => None,
    };
    match answer {
        Some(response) if response.status().is_success() => {
            Finding::Well(format!("a server is healthy on {address}"))
        }
        Some(response) => Finding::Ill(
            format!("what listens on {address} answers /health with {}", response.status()),
            "Look at its log; if it is another program, set server.address.",
        ),
        None => Finding::Ill(
            format!("{address} cannot be listened on: {error}"),
            "Stop what uses it, or set server.address.",
        ),
    }
}

async fn models(settings: &Settings) -> Finding {
    let chosen = match model::choose(&settings.model).await {
        Ok(chosen) => chosen,
        Err(error) => {
            return Finding::Ill(
                format!("{error:#}"),
                "Look at model.base_url, model.api_key and model.name.",
            );
        }
    };
    if chosen.default_model == powerhouse_models::OFFLINE_MODEL {
        return Finding::Odd(
            format!("the model is {}", chosen.label),
            "It only repeats sentences and calculates. Set OPENAI_API_KEY, ANTHROPIC_API_KEY or model.base_url, or start Ollama.",
        );
    }
    if !settings.model.is_configured() {
        return Finding::Well(format!("the model is {}", chosen.label));
    }
    match model::reach(&settings.model).await {
        Ok(()) => Finding::Well(format!("the model is {}, its API answers", chosen.label)),
        Err(error) => Finding::Ill(
            format!("the model is {}, but its API does not answer: {error:#}", chosen.label),
            "Look at model.base_url, model.api_key and the network.",
        ),
    }
}

async fn vectors(settings: &Settings) -> Finding {
    const MEND: &str = "Look at embeddings.base_url, embeddings.api_key and embeddings.model; or set embeddings.provider to `offline` or `none`.";
    let chosen = match embeddings::choose(&settings.embeddings, &settings.model) {
        Ok(Some(chosen)) => chosen,
        Ok(None) => {
            return Finding::Odd(
                "texts are not turned into vectors".to_owned(),
                "What is looked for is found by its words only. Set embeddings.provider to `auto`.",
            );
        }
        Err(error) => return Finding::Ill(format!("{error:#}"), MEND),
    };
    let label = format!("vectors are made by {}", chosen.label);
    if !chosen.is_remote {
        return Finding::Well(label);
    }
    match chosen.embedder.embed(&chosen.model, &["probe".to_owned()]).await {
        Ok(_) => Finding::Well(format!("{label}, its API answers")),
        Err(error) => Finding::Ill(format!("{label}, but: {error}"), MEND),
    }
}
