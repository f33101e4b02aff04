//! An agent that is made to try a kind, with the database that it may read. Both go after the run: no task is given to such an
//! agent by selection.

use powerhouse_domain::strategies::AgentKind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::database::NamedDatabase;
use crate::cli::TriedArguments;
use crate::client::Client;

/// What was made for a run, as far as it was.
pub(super) struct Tried<'a> {
    client: &'a Client,
    agent: Option<String>,
    /// Paths of what the agent uses, in the order in which it was made.
    used: Vec<String>,
}

impl<'a> Tried<'a> {
    pub(super) async fn make(
        client: &'a Client,
        kind: &str,
        wanted: &TriedArguments,
    ) -> anyhow::Result<Self> {
        let mut tried = Self { client, agent: None, used: Vec::new() };
        match tried.publish(kind, wanted).await {
            Ok(agent) => {
                tried.agent = Some(agent);
                Ok(tried)
            }
            Err(error) => {
                // The error that came first is the one to tell.
                let _ = tried.remove().await;
                Err(error)
            }
        }
    }

    /// The agent's id.
    pub(super) fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    async fn publish(&mut self, kind: &str, wanted: &TriedArguments) -> anyhow::Result<String> {
        let TriedArguments { agents, model, .. } = wanted;
        let (mut parameters, mut tools) = (wanted.parameters.clone(), wanted.tools.clone());
        let agents = if agents.is_empty() { Vec::new() } else { self.client.described(agents).await? };
        if let Some(database) = &wanted.database {
            let (schema, query) = self.declare(&NamedDatabase::read(database)?).await?;
            if kind == AgentKind::SqlAnalyst.as_str() {
                for (parameter, tool) in [("schema_tool", &schema), ("query_tool", &query)] {
                    name(&mut parameters, parameter, tool);
                }
            }
            tools.extend([schema, query]);
        }
        let definition = json!({
            "kind": kind,
            "parameters": parameters,
            "tools": tools,
            "agents": agents,
            "model": model,
            "description": format!("Made by `powerhouse run --kind {kind}`"),
        });
        let name = format!("try-{}-{}", kind.replace('_', "-"), Uuid::new_v4().simple());
        self.client.publish_agent(&name, &definition).await
    }

    /// Declares a database; gives the names of its tools.
    async fn declare(&mut self, database: &NamedDatabase) -> anyhow::Result<(String, String)> {
        let mut declaration = database.declaration.clone();
        if let Some(password) = NamedDatabase::password() {
            let secret = format!("try-{}", Uuid::new_v4().simple());
            self.client.put_secret(&secret, &password).await?;
            self.used.push(format!("v1/secrets/{secret}"));
            declaration["password"] = json!(secret);
        }
        let tools = self.client.declare_database(&database.name, &declaration).await?;
        self.used.push(format!("v1/databases/{}", database.name));
        Ok(tools)
    }

    /// Retires the agent, and removes what it used. All of it is tried; the first failure is told.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        let mut removed = match &self.agent {
            Some(agent) => self.client.retire_agent(agent).await,
            None => Ok(()),
        };
        for path in self.used.iter().rev() {
            removed = removed.and(self.client.delete(path).await);
        }
        removed
    }
}

/// Names a tool in a parameter, unless the caller has named another one.
fn name(parameters: &mut Value, parameter: &str, tool: &str) {
    if let Some(parameters) = parameters.as_object_mut() {
        parameters.entry(parameter).or_insert_with(|| json!(tool));
    }
}
