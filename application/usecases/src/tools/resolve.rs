//! What an agent's list of tools stands for: those of the platform by their names, and those that its tenant has declared.
//!
//! A definition names a tool. What it is offered as is fixed for a run when it begins, and journalled; how it is called is
//! decided by the declaration of the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use powerhouse_domain::access::TenantScope;
use powerhouse_domain::tools::{
    DatabaseTool, EgressRules, McpServer, McpTool, SEPARATOR, TenantTool, ToolName, ToolSource, ToolSpec,
};
use powerhouse_ports::store::{StoreError, TenantView};
use powerhouse_ports::tools::{RunContext, Tool, ToolFactory, ToolMaker};

use crate::runner::Toolbox;

/// The names of the tools that the platform has.
pub type Names = BTreeSet<String>;

/// The platform's tools that are made for each run, by their names.
pub type Factories = BTreeMap<String, Arc<dyn ToolFactory>>;

/// All tools of a server or a database, in an agent's list.
const ALL: &str = "*";

/// Finds tools.
#[derive(Clone)]
pub struct Resolver {
    /// The platform's own, the same for everybody.
    pub built_in: Arc<Toolbox>,
    /// The platform's own that are made for each run, by their names.
    pub made: Arc<Factories>,
    /// Makes the tenants'.
    pub maker: Arc<dyn ToolMaker>,
}

/// What an agent can call.
#[derive(Clone, Default)]
pub(crate) struct Resolved {
    /// The tools by their names.
    pub(crate) tools: Arc<Toolbox>,
    /// The same in the order of the agent's list, as models are offered them.
    pub(crate) specs: Vec<ToolSpec>,
    /// Whether any of them is the tenant's.
    pub(crate) has_declared: bool,
}

/// The tenant's names in a list of tools: of single ones, of servers, and of databases.
pub(crate) fn declared_names<'a>(
    listed: impl IntoIterator<Item = &'a String>,
    is_built_in: impl Fn(&String) -> bool,
) -> Vec<ToolName> {
    let declared = listed.into_iter().filter(|name| !is_built_in(name));
    let names = declared.filter_map(|name| {
        let first = name.split_once(SEPARATOR).map_or(name.as_str(), |(server, _)| server);
        first.parse().ok()
    });
    names.collect::<BTreeSet<ToolName>>().into_iter().collect()
}

impl Resolver {
    /// The names of the platform's own.
    pub fn names(&self) -> Arc<Names> {
        Arc::new(self.built_in.keys().chain(self.made.keys()).cloned().collect())
    }

    fn own(&self, name: &str, context: RunContext) -> Option<Arc<dyn Tool>> {
        let made = || self.made.get(name).map(|factory| factory.for_run(context));
        self.built_in.get(name).cloned().or_else(made)
    }

    /// What this list stands for now. A name that stands for nothing is left out.
    pub(crate) async fn resolve(
        &self,
        view: &mut dyn TenantView,
        context: RunContext,
        listed: &[String],
    ) -> Result<Resolved, StoreError> {
        let is_own = |name: &String| self.built_in.contains_key(name) || self.made.contains_key(name);
        let names = declared_names(listed, is_own);
        let (declared, rules) = if names.is_empty() {
            (Vec::new(), EgressRules::default())
        } else {
            (view.tools().named(&names).await?, view.tools().egress().await?)
        };
        let declared: BTreeMap<&str, &TenantTool> =
            declared.iter().map(|tool| (tool.name.as_str(), tool)).collect();
        let mut tools = Toolbox::new();
        let mut specs = Vec::new();
        let mut has_declared = false;
        for name in listed {
            let found = match self.own(name, context) {
                Some(tool) => vec![tool],
                None => self.declared(&context.scope, name, &declared, &rules),
            };
            has_declared |= !is_own(name) && !found.is_empty();
            for tool in found {
                let spec = tool.spec();
                if tools.insert(spec.name.clone(), tool).is_none() {
                    specs.push(spec);
                }
            }
        }
        Ok(Resolved { tools: Arc::new(tools), specs, has_declared })
    }

    fn declared(
        &self,
        scope: &TenantScope,
        name: &str,
        declared: &BTreeMap<&str, &TenantTool>,
        rules: &EgressRules,
    ) -> Vec<Arc<dyn Tool>> {
        let (first, of_server) = match name.split_once(SEPARATOR) {
            Some((server, tool)) => (server, Some(tool)),
            None => (name, None),
        };
        let Some(TenantTool { name, source, .. }) = declared.get(first) else { return Vec::new() };
        match (source, of_server) {
            (ToolSource::Http(tool), None) => vec![self.maker.http(scope, name, tool, rules)],
            (ToolSource::Mcp(server), Some(wanted)) => {
                let is_wanted = |tool: &&McpTool| wanted == ALL || tool.name == wanted;
                server
                    .offered()
                    .filter(is_wanted)
                    .map(|tool| self.maker.mcp(scope, name, server, tool, rules))
                    .collect()
            }
            (ToolSource::Database(database), Some(wanted)) => of_database(wanted)
                .map(|tool| self.maker.database(scope, name, database, tool, rules))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The tools of a database that go by this name in an agent's list.
fn of_database(wanted: &str) -> impl Iterator<Item = DatabaseTool> {
    DatabaseTool::ALL.iter().copied().filter(move |tool| wanted == ALL || tool.as_str() == wanted)
}

/// Why a name in an agent's list stands for nothing; nothing when it stands for something.
pub(crate) fn missing(name: &str, built_in: &Names, declared: &[TenantTool]) -> Option<String> {
    if built_in.contains(name) {
        return None;
    }
    let find = |wanted: &str| declared.iter().find(|tool| tool.name.as_str() == wanted);
    match name.split_once(SEPARATOR) {
        None => match find(name).map(|tool| &tool.source) {
            Some(ToolSource::Http(_)) => None,
            Some(source @ (ToolSource::Mcp(_) | ToolSource::Database(_))) => Some(format!(
                "`{name}` is {}: list its tools as `{name}{SEPARATOR}…`, or `{name}{SEPARATOR}{ALL}` for all",
                if matches!(source, ToolSource::Mcp(_)) { "an MCP server" } else { "a database" }
            )),
            None => {
                let names = built_in.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                Some(format!(
                    "there is no such tool; there are: {names}; and what the tenant declares at /v1/tools"
                ))
            }
        },
        Some((server, wanted)) => match find(server).map(|tool| &tool.source) {
            Some(ToolSource::Mcp(_)) if wanted == ALL => None,
            Some(ToolSource::Mcp(found)) if found.offered().any(|tool| tool.name == wanted) => None,
            Some(ToolSource::Mcp(found)) => {
                let names = found.offered().map(|tool| McpServer::spec(server, tool).name);
                let names = names.collect::<Vec<_>>().join(", ");
                Some(format!("the server offers no such tool; it offers: {names}"))
            }
            Some(ToolSource::Database(_)) if of_database(wanted).next().is_some() => None,
            Some(ToolSource::Database(_)) => {
                let names = DatabaseTool::ALL.iter().map(|tool| format!("{server}{SEPARATOR}{tool}"));
                let names = names.collect::<Vec<_>>().join(", ");
                Some(format!("a database has no such tool; it has: {names}"))
            }
            _ => Some(format!(
                "there is no MCP server and no database `{server}`: declare it at /v1/mcp-servers or /v1/databases"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use powerhouse_domain::access::{Principal, Role};
    use powerhouse_domain::ids::{AgentId, RunId, SessionId, TenantId, UserId};
    use powerhouse_ports::tools::{MockTool, MockToolFactory, MockToolMaker};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_tool_that_is_made_for_each_run_is_told_for_whom_it_works() {
        let id = Uuid::from_u128;
        let user = UserId::from_uuid(id(4));
        let principal =
            Principal::verified(TenantId::from_uuid(id(1)), user, SessionId::from_uuid(id(5)), Role::Member);
        let context = RunContext {
            scope: principal.scope(),
            run: RunId::from_uuid(id(2)),
            agent: AgentId::from_uuid(id(3)),
            user,
        };
        let mut factory = MockToolFactory::new();
        factory
            .expect_for_run()
            .withf(move |given| *given == context)
            .times(1)
            .returning(|_| Arc::new(MockTool::new()));
        let resolver = Resolver {
            built_in: Arc::default(),
            made: Arc::new(Factories::from([("recall".to_owned(), Arc::new(factory) as _)])),
            maker: Arc::new(MockToolMaker::new()),
        };
        assert_eq!(*resolver.names(), Names::from(["recall".to_owned()]));
        assert!(resolver.own("recall", context).is_some());
        assert!(resolver.own("other", context).is_none());
    }
}
