//! A stub of a model that says what scripts have, to try the examples of `docs/agents`:
//! `cargo run -q --bin scripted-model -- docs/agents/examples`.

use std::io::{Write as _, stdout};
use std::path::PathBuf;

use powerhouse_tests::scripts;
use powerhouse_tests::stub_model::StubModel;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let folder =
        std::env::args_os().nth(1).map_or_else(|| PathBuf::from("docs/agents/examples"), PathBuf::from);
    let stub = StubModel::answering(scripts::speaker(scripts::of_folder(&folder)?)).await?;
    writeln!(stdout(), "OPENAI_API_KEY=none OPENAI_BASE_URL={}", stub.base_url())?;
    std::future::pending().await
}
