//! The tools by which a run reaches what its agent remembers of whoever asked for the run, and of nobody else.

use std::sync::Arc;

use async_trait::async_trait;
use powerhouse_domain::idempotency::{CallKey, IdempotencyKey};
use powerhouse_domain::ids::MemoryId;
use powerhouse_domain::memory::{
    Importance, MAX_CHANGES, MAX_FOUND, MAX_MEMORY_CHARS, MemoryChange, MemoryKind, MemoryVector, NewMemory,
    Scoring, Whose,
};
use powerhouse_domain::tools::{ModelUsed, ToolOutput, ToolSpec};
use powerhouse_ports::Chain;
use powerhouse_ports::tools::{RunContext, Tool, ToolFactory};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::remembrance::Done;
use super::{Remembrance, Search};
use crate::embedding::Payer;
use crate::{Keeper, Refused};

/// The name of the tool that searches.
const SEARCH: &str = "memory_search";
/// The name of the tool that changes.
const APPLY: &str = "memory_apply";
/// How much is found, unless more is asked for.
const USUAL: usize = 8;
/// The most characters of a question.
const MAX_QUERY: usize = 4_000;
const AWAY: &str = "what is remembered cannot be reached now: go on without it, or try again later";

fn whose(context: &RunContext) -> Whose {
    Whose { agent: context.agent, user: Some(context.user) }
}

fn names(kinds: &[MemoryKind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.as_str()).collect()
}

fn scorings() -> Vec<&'static str> {
    Scoring::ALL.iter().map(|scoring| scoring.as_str()).collect()
}

fn read<T: DeserializeOwned>(arguments: &Value) -> Result<T, ToolOutput> {
    T::deserialize(arguments).map_err(|error| ToolOutput::error(format!("the arguments are wrong: {error}")))
}

fn failed(error: &Refused) -> ToolOutput {
    tracing::warn!(error = %Chain(error), "what is remembered could not be reached");
    ToolOutput::error(AWAY)
}

/// Makes the tool that searches what is remembered.
#[derive(Clone)]
pub struct MemorySearch {
    /// Finds it.
    pub remembrance: Remembrance,
}

impl MemorySearch {
    fn described() -> ToolSpec {
        let parameters = json!({
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What to look for, in words."},
                "k": {"type": "integer", "minimum": 1, "maximum": MAX_FOUND, "description": "How many, at most: 8 by default."},
                "kinds": {"type": "array", "items": {"type": "string", "enum": names(MemoryKind::ALL)}},
                "scoring": {"type": "string", "enum": scorings(),
                    "description": "`relevance` alone; `weighted`: recency and importance count as well; or `recent`: the newest."}
            },
            "required": ["query"],
            "additionalProperties": false
        });
        let description =
            "Finds what you remember from earlier runs for this user, and what you know for all of them.";
        ToolSpec { name: SEARCH.into(), description: description.into(), parameters }
    }
}

impl ToolFactory for MemorySearch {
    fn spec(&self) -> ToolSpec {
        Self::described()
    }

    fn for_run(&self, context: RunContext) -> Arc<dyn Tool> {
        Arc::new(Searching { remembrance: self.remembrance.clone(), context })
    }
}

struct Searching {
    remembrance: Remembrance,
    context: RunContext,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchArguments {
    query: String,
    #[serde(default)]
    k: Option<usize>,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    scoring: Option<String>,
}

impl SearchArguments {
    fn into_search(self) -> Result<Search, String> {
        let Self { query, k, kinds, scoring } = self;
        let most = k.unwrap_or(USUAL);
        if query.trim().is_empty() {
            return Err("`query` says nothing".to_owned());
        }
        if !(1..=MAX_FOUND).contains(&most) {
            return Err(format!("`k` is 1 to {MAX_FOUND}"));
        }
        let kinds: Result<_, _> = kinds.iter().map(|kind| kind.parse::<MemoryKind>()).collect();
        let kinds = kinds.map_err(|_| format!("the kinds are: {}", names(MemoryKind::ALL).join(", ")))?;
        let scoring = scoring.as_deref().unwrap_or(Scoring::Relevance.as_str()).parse::<Scoring>();
        let scoring = scoring.map_err(|_| format!("`scoring` is one of: {}", scorings().join(", ")))?;
        Ok(Search { query: query.chars().take(MAX_QUERY).collect(), most, kinds, scoring })
    }
}

#[async_trait]
impl Tool for Searching {
    fn spec(&self) -> ToolSpec {
        MemorySearch::described()
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    fn worst_case(&self, arguments: &Value) -> Option<ModelUsed> {
        let search = read::<SearchArguments>(arguments).ok()?.into_search().ok()?;
        self.remembrance.worst_case(&search.texts())
    }

    async fn call(&self, _: &CallKey, arguments: &Value) -> ToolOutput {
        let search = read::<SearchArguments>(arguments)
            .and_then(|arguments| arguments.into_search().map_err(ToolOutput::error));
        let search = match search {
            Ok(search) => search,
            Err(refused) => return refused,
        };
        let own = whose(&self.context);
        let all = [own, Whose { user: None, ..own }];
        let scope = self.context.scope;
        match self.remembrance.search(&scope, Payer::Run(scope), &all, &search, true).await {
            Ok((found, used)) => {
                let shown = found.iter().map(|ranked| {
                    let memory = &ranked.memory;
                    json!({
                        "id": memory.id,
                        "kind": memory.kind.as_str(),
                        "text": memory.text.as_str(),
                        "importance": memory.importance.get(),
                        "score": (ranked.score * 1000.0).round() / 1000.0,
                    })
                });
                ToolOutput::ok(json!({"memories": shown.collect::<Vec<_>>()}).to_string()).using(used)
            }
            Err(error) => failed(&error.into()),
        }
    }
}

/// Makes the tool that changes what is remembered.
#[derive(Clone)]
pub struct MemoryApply {
    /// Changes it.
    pub remembrance: Remembrance,
    /// Keeps what was answered to a call, so that it is made once.
    pub keeper: Keeper,
}

impl MemoryApply {
    fn described() -> ToolSpec {
        let text = json!({"type": "string", "maxLength": MAX_MEMORY_CHARS});
        let operation = json!({
            "type": "object",
            "properties": {
                "op": {"type": "string", "enum": ["ADD", "UPDATE", "DELETE", "NOOP"]},
                "id": {"type": "string", "description": "Of UPDATE and DELETE: the memory, `memory_…`."},
                "text": text,
                "kind": {"type": "string", "enum": names(MemoryKind::ALL), "description": "Of ADD: `fact` by default."},
                "importance": {"type": "integer", "minimum": 1, "maximum": 10, "description": "5 by default."}
            },
            "required": ["op"],
            "additionalProperties": false
        });
        let parameters = json!({
            "type": "object",
            "properties": {"operations": {"type": "array", "items": operation, "minItems": 1, "maxItems": MAX_CHANGES}},
            "required": ["operations"],
            "additionalProperties": false
        });
        let description =
            "Changes what you remember for later runs of this user: all of the operations, or none.";
        ToolSpec { name: APPLY.into(), description: description.into(), parameters }
    }
}

impl ToolFactory for MemoryApply {
    fn spec(&self) -> ToolSpec {
        Self::described()
    }

    fn for_run(&self, context: RunContext) -> Arc<dyn Tool> {
        Arc::new(Applying { making: self.clone(), context })
    }
}

struct Applying {
    making: MemoryApply,
    context: RunContext,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplyArguments {
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    op: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    importance: Option<u8>,
}

impl Operation {
    fn into_change(self) -> Result<MemoryChange, String> {
        let text = || self.text.as_deref().unwrap_or_default().parse().map_err(|error| format!("{error}"));
        let importance =
            self.importance.map(Importance::new).transpose().map_err(|error| error.to_string())?;
        let id = || {
            let id = self.id.as_deref().unwrap_or_default();
            id.parse::<MemoryId>()
                .map_err(|_| format!("`{id}` is no memory: give the `id` that a search has found"))
        };
        match self.op.to_ascii_uppercase().as_str() {
            "ADD" => {
                let kind = self.kind.as_deref().unwrap_or(MemoryKind::Fact.as_str()).parse();
                let kind =
                    kind.map_err(|_| format!("the kinds are: {}", names(MemoryKind::ALL).join(", ")))?;
                let importance = importance.unwrap_or_default();
                Ok(MemoryChange::Add(NewMemory { kind, text: text()?, importance }))
            }
            "UPDATE" => Ok(MemoryChange::Update { id: id()?, text: text()?, importance }),
            "DELETE" => Ok(MemoryChange::Delete(id()?)),
            "NOOP" => Ok(MemoryChange::Noop),
            other => Err(format!("`{other}` is no operation: there are ADD, UPDATE, DELETE and NOOP")),
        }
    }
}

impl ApplyArguments {
    fn into_changes(self) -> Result<Vec<MemoryChange>, String> {
        if !(1..=MAX_CHANGES).contains(&self.operations.len()) {
            return Err(format!("1 to {MAX_CHANGES} operations are applied at once"));
        }
        let read = |(index, operation): (usize, Operation)| {
            operation
                .into_change()
                .map_err(|error| format!("operation {index}: {error}; nothing was changed"))
        };
        self.operations.into_iter().enumerate().map(read).collect()
    }
}

fn text_of(change: &MemoryChange) -> Option<&str> {
    match change {
        MemoryChange::Add(NewMemory { text, .. }) | MemoryChange::Update { text, .. } => Some(text.as_str()),
        MemoryChange::Delete(_) | MemoryChange::Noop => None,
    }
}

fn texts_of(changes: &[MemoryChange]) -> Vec<&str> {
    changes.iter().filter_map(text_of).collect()
}

fn shown(done: &Done) -> Value {
    match done {
        Done::Added(id) => json!({"op": "ADD", "id": id}),
        Done::Updated(id) => json!({"op": "UPDATE", "id": id}),
        Done::Deleted(id) => json!({"op": "DELETE", "id": id}),
        Done::Missing(id) => json!({"op": "NOOP", "id": id, "reason": "you remember nothing of this id"}),
        Done::Nothing => json!({"op": "NOOP"}),
    }
}

impl Applying {
    /// The vectors of the texts, and the changes with them.
    async fn apply(&self, key: &CallKey, changes: Vec<MemoryChange>) -> ToolOutput {
        let payer = Payer::Run(self.context.scope);
        let (vectors, used) = match self.making.remembrance.vectors(payer, &texts_of(&changes)).await {
            Ok(made) => made,
            Err(error) => return failed(&error.into()),
        };
        match self.change(key, changes, vectors).await {
            Ok(answer) => ToolOutput::ok(answer).using(used),
            Err(error) => failed(&error).using(used),
        }
    }

    /// Makes the changes, once for a key: the answer is kept in the same transaction.
    async fn change(
        &self,
        key: &CallKey,
        changes: Vec<MemoryChange>,
        vectors: Vec<Option<MemoryVector>>,
    ) -> Result<String, Refused> {
        let (MemoryApply { remembrance, keeper }, context) = (&self.making, &self.context);
        let mut vectors = vectors.into_iter();
        let changes = changes.into_iter().map(|change| {
            let vector = text_of(&change).and_then(|_| vectors.next().flatten());
            (change, vector)
        });
        let changes: Vec<_> = changes.collect();
        let name = format!("{APPLY}:{key}");
        let internal =
            |error: &(dyn std::error::Error + 'static)| Refused::Internal(Chain(error).to_string());
        let once: IdempotencyKey = name.parse().map_err(|error| internal(&error))?;
        let now = keeper.clock.now();
        let mut tx = remembrance.store.begin(&context.scope).await?;
        if let Some(sealed) = tx.idempotency().claim(context.user, &once, now, now + keeper.kept).await? {
            let opened =
                keeper.sealer.open(&context.scope, &name, &sealed).map_err(|error| internal(&error))?;
            return String::from_utf8(opened.to_vec()).map_err(|error| internal(&error));
        }
        let done = remembrance.change(&mut *tx, whose(context), context.run, changes).await?;
        let answer = json!({"results": done.iter().map(shown).collect::<Vec<_>>()}).to_string();
        let sealed = keeper.sealer.seal(&context.scope, &name, answer.as_bytes());
        let sealed = sealed.map_err(|error| internal(&error))?;
        tx.idempotency().answer(context.user, &once, &sealed).await?;
        tx.commit().await?;
        Ok(answer)
    }
}

#[async_trait]
impl Tool for Applying {
    fn spec(&self) -> ToolSpec {
        MemoryApply::described()
    }

    /// A call that is made again finds the answer of the first.
    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    /// It gives back ids, and no words.
    fn reaches_out(&self) -> bool {
        false
    }

    fn worst_case(&self, arguments: &Value) -> Option<ModelUsed> {
        let changes = read::<ApplyArguments>(arguments).ok()?.into_changes().ok()?;
        self.making.remembrance.worst_case(&texts_of(&changes))
    }

    async fn call(&self, key: &CallKey, arguments: &Value) -> ToolOutput {
        let changes = read::<ApplyArguments>(arguments)
            .and_then(|arguments| arguments.into_changes().map_err(ToolOutput::error));
        let changes = match changes {
            Ok(changes) => changes,
            Err(refused) => return refused,
        };
        self.apply(key, changes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(operations: &Value) -> Result<Vec<MemoryChange>, String> {
        read::<ApplyArguments>(&json!({ "operations": operations }))
            .map_err(|output| output.content)?
            .into_changes()
    }

    #[test]
    fn operations_are_read_and_what_is_wrong_with_one_is_said() {
        let id = "memory_01h455vb4pex5vsknk084sn02q";
        let read = changes(&json!([
            {"op": "ADD", "text": "likes tea"},
            {"op": "update", "id": id, "text": "likes coffee", "importance": 9},
            {"op": "DELETE", "id": id},
            {"op": "NOOP"},
        ]));
        let memory = id.parse().unwrap();
        let text = |text: &str| text.parse().unwrap();
        let (kind, importance) = (MemoryKind::Fact, Importance::default());
        let expected = vec![
            MemoryChange::Add(NewMemory { kind, text: text("likes tea"), importance }),
            MemoryChange::Update {
                id: memory,
                text: text("likes coffee"),
                importance: Importance::new(9).ok(),
            },
            MemoryChange::Delete(memory),
            MemoryChange::Noop,
        ];
        assert_eq!(read, Ok(expected));
        for (wrong, says) in [
            (json!([]), "1 to 32"),
            (json!(vec![json!({"op": "NOOP"}); MAX_CHANGES + 1]), "1 to 32"),
            (json!([{"op": "NOOP"}, {"op": "ADD"}]), "operation 1"),
            (json!([{"op": "ADD", "text": "x", "importance": 11}]), "1 to 10"),
            (json!([{"op": "ADD", "text": "x", "kind": "rumour"}]), "fact, observation"),
            (json!([{"op": "DELETE", "id": "run_1"}]), "is no memory"),
            (json!([{"op": "FORGET"}]), "no operation"),
            (json!([{"op": "NOOP", "whose": "theirs"}]), "unknown field"),
        ] {
            let error = changes(&wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_search_has_bounds() {
        let search = |arguments: Value| {
            read::<SearchArguments>(&arguments).map_err(|output| output.content)?.into_search()
        };
        let found = search(json!({"query": "tea", "kinds": ["skill"], "scoring": "weighted"})).unwrap();
        assert_eq!((found.most, found.kinds, found.scoring), (8, vec![MemoryKind::Skill], Scoring::Weighted));
        for wrong in [
            json!({}),
            json!({"query": " "}),
            json!({"query": "x", "k": 0}),
            json!({"query": "x", "k": 51}),
            json!({"query": "x", "kinds": ["rumour"]}),
            json!({"query": "x", "scoring": "luck"}),
            json!({"query": "x", "user": "another"}),
        ] {
            assert!(search(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
