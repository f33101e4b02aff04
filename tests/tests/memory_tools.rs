//! The tools of memory on both databases: a call that is made again changes nothing, a bound is kept, and what comes to mind is
//! remembered as having come.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::effects::{EffectRequest, ToolRequest};
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::ids::{MemoryId, RunId};
use powerhouse_domain::memory::{Importance, MAX_MEMORIES, Memory, MemoryKind, Whose};
use powerhouse_domain::tenants::Plan;
use powerhouse_memory::UuidV7Source;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::tools::{RunContext, Tool, ToolFactory as _};
use powerhouse_tests::contract::sample::{Office, agent, at, next_id, office};
use powerhouse_tests::contract::stores::Stores;
use powerhouse_tests::labelled::Labelled;
use powerhouse_tests::own_stores::{migrated, on_postgres, on_sqlite};
use powerhouse_usecases::Keeper;
use powerhouse_usecases::memories::{MemoryApply, MemorySearch, Remembrance};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Time goes by as the test says.
#[derive(Default)]
struct Watch(AtomicI64);

impl Watch {
    fn turn(&self, hours: i64) {
        self.0.fetch_add(hours * 3600, Ordering::Relaxed);
    }
}

impl Clock for Watch {
    fn now(&self) -> DateTime<Utc> {
        at(self.0.load(Ordering::Relaxed))
    }
}

struct Scene {
    stores: Stores,
    office: Office,
    context: RunContext,
    clock: Arc<Watch>,
    search: Arc<dyn Tool>,
    apply: Arc<dyn Tool>,
}

impl Scene {
    async fn new(stores: Stores) -> Self {
        let office = office(&*stores.platform, Plan::Team).await;
        let helper = agent("helper");
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.unwrap();
        tx.agents().add(&helper).await.unwrap();
        tx.commit().await.unwrap();
        let context = RunContext {
            scope: office.principal.scope(),
            run: RunId::from_uuid(next_id()),
            agent: helper.id(),
            user: office.owner.id(),
        };
        let clock = Arc::new(Watch::default());
        let remembrance = Remembrance {
            store: stores.tenants.clone(),
            clock: clock.clone(),
            ids: Arc::new(UuidV7Source),
            embedding: None,
        };
        let keeper = Keeper { sealer: Arc::new(Labelled), clock: clock.clone(), kept: TimeDelta::days(1) };
        let search = MemorySearch { remembrance: remembrance.clone() }.for_run(context);
        let apply = MemoryApply { remembrance, keeper }.for_run(context);
        Self { stores, office, context, clock, search, apply }
    }

    fn whose(&self) -> Whose {
        Whose { agent: self.context.agent, user: Some(self.context.user) }
    }

    async fn remembered(&self) -> Vec<Memory> {
        let mut view = self.stores.tenants.read(&self.office.principal.scope()).await.unwrap();
        view.memories().all(self.whose()).await.unwrap()
    }

    /// Calls a tool at a step of the run.
    async fn call(&self, tool: &Arc<dyn Tool>, step: &str, arguments: &Value) -> Value {
        let request = EffectRequest::Tool(ToolRequest::new(tool.spec().name, arguments.clone()));
        let key = CallKey::of(self.context.run, &step.parse().unwrap(), &request);
        let output = tool.call(&key, arguments).await;
        assert!(!output.is_error, "{}", output.content);
        serde_json::from_str(&output.content).unwrap()
    }

    /// However often a call is made, and whatever has happened since, it is carried out once.
    async fn a_call_that_is_made_again_changes_nothing(&self) {
        let add = json!({"operations": [{"op": "ADD", "text": "Ada drinks tea"}, {"op": "ADD", "text": "Ada skates"}]});
        let first = self.call(&self.apply, "0", &add).await;
        let tea = first["results"][0]["id"].as_str().unwrap().to_owned();
        let both = self.remembered().await;
        assert_eq!((self.call(&self.apply, "0", &add).await, both.len()), (first.clone(), 2));
        assert_eq!(self.remembered().await, both);
        let change = json!({"operations": [{"op": "UPDATE", "id": tea, "text": "Ada drinks coffee"}]});
        let changed = self.call(&self.apply, "1", &change).await;
        let delete = json!({"operations": [{"op": "DELETE", "id": tea}]});
        self.call(&self.apply, "2", &delete).await;
        // Long after: neither is what was deleted added again, nor is anything said of it.
        assert_eq!(self.call(&self.apply, "0", &add).await, first);
        assert_eq!(self.call(&self.apply, "1", &change).await, changed);
        let left: Vec<_> =
            self.remembered().await.iter().map(|memory| memory.text.as_str().to_owned()).collect();
        assert_eq!(left, ["Ada skates"]);
        assert_ne!(self.call(&self.apply, "3", &add).await, first, "another step is another call");
        // Those that are made at the same time are one as well.
        let once = json!({"operations": [{"op": "ADD", "text": "at once"}]});
        let calls = (0..4).map(|_| self.call(&self.apply, "4", &once));
        let mut answers = futures::future::join_all(calls).await;
        answers.dedup();
        assert_eq!(answers.len(), 1);
        let texts = self.remembered().await.into_iter().filter(|memory| memory.text.as_str() == "at once");
        assert_eq!(texts.count(), 1);
    }

    /// A mistake in one operation changes nothing.
    async fn all_operations_are_applied_or_none(&self) {
        let before = self.remembered().await;
        let arguments = json!({"operations": [{"op": "ADD", "text": "fine"}, {"op": "DELETE", "id": "x"}]});
        let request = EffectRequest::Tool(ToolRequest::new("memory_apply", arguments.clone()));
        let key = CallKey::of(self.context.run, &"5".parse().unwrap(), &request);
        let refused = self.apply.call(&key, &arguments).await;
        assert!(refused.is_error && refused.content.contains("operation 1"), "{}", refused.content);
        assert_eq!(self.remembered().await, before);
    }

    /// What comes to mind has come to mind, and what is only looked over has not.
    async fn what_comes_to_mind_is_noted(&self) {
        self.clock.turn(5);
        let noon = self.clock.now();
        let find = |scoring: &str| json!({"query": "skates", "scoring": scoring, "k": 50});
        let seen = self.call(&self.search, "6", &find("recent")).await;
        assert!(seen["memories"].as_array().unwrap().len() > 1, "{seen}");
        assert!(self.remembered().await.iter().all(|memory| memory.accessed_at < noon));
        let found = self.call(&self.search, "7", &find("relevance")).await;
        assert_eq!(found["memories"][0]["text"], "Ada skates", "{found}");
        let touched: Vec<_> =
            self.remembered().await.into_iter().filter(|memory| memory.accessed_at == noon).collect();
        assert!(!touched.is_empty() && touched.iter().all(|memory| memory.text.as_str() == "Ada skates"));
    }

    /// One more than may be takes the place of the least valuable.
    async fn the_bound_is_kept(&self) {
        let mut tx = self.stores.tenants.begin(&self.office.principal.scope()).await.unwrap();
        tx.memories().erase(self.whose()).await.unwrap();
        let now = self.clock.now();
        let mut least = None;
        for number in 0..MAX_MEMORIES {
            let id = MemoryId::from_uuid(next_id());
            let importance = if number == 7 { 1 } else { 5 };
            least = if number == 7 { Some(id) } else { least };
            let memory = Memory {
                id,
                whose: self.whose(),
                kind: MemoryKind::Fact,
                text: format!("fact {number}").parse().unwrap(),
                importance: Importance::new(importance).unwrap(),
                created_at: now,
                accessed_at: now,
                vector: None,
                run: None,
            };
            tx.memories().add(&memory).await.unwrap();
        }
        tx.commit().await.unwrap();
        let add = json!({"operations": [{"op": "ADD", "text": "one more"}]});
        self.call(&self.apply, "8", &add).await;
        let now = self.remembered().await;
        assert_eq!(now.len(), MAX_MEMORIES);
        assert!(now.iter().all(|memory| Some(memory.id) != least));
        assert!(now.iter().any(|memory| memory.text.as_str() == "one more"));
    }

    async fn play(&self) {
        self.a_call_that_is_made_again_changes_nothing().await;
        self.all_operations_are_applied_or_none().await;
        self.what_comes_to_mind_is_noted().await;
        self.the_bound_is_kept().await;
    }
}

#[tokio::test]
async fn the_tools_of_memory_keep_their_promises_on_sqlite() {
    let folder = TempDir::new().unwrap();
    Scene::new(on_sqlite(folder.path()).await).await.play().await;
}

#[tokio::test]
async fn the_tools_of_memory_keep_their_promises_on_postgres() {
    let own = migrated().await;
    Scene::new(on_postgres(&own).await).await.play().await;
}
