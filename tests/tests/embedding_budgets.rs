//! Vectors that people have made over HTTP, many at once: whatever the embedder does and whoever goes away, no cap is passed, and
//! what was spent is what was used.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use powerhouse_domain::ids::BudgetId;
use powerhouse_domain::knowledge::{CollectionName, Extracted, MediaType, NewDocument};
use powerhouse_domain::memory::{Importance, NewMemory, Whose};
use powerhouse_domain::model::Usage;
use powerhouse_domain::money::{
    Amount, Budget, BudgetScope, Caps, Grouping, Period, Price, PriceEntry, Spending,
};
use powerhouse_domain::tenants::Plan;
use powerhouse_memory::{SystemClock, UuidV7Source};
use powerhouse_ports::clock::{Clock as _, IdSource as _};
use powerhouse_ports::documents::{ExtractFailed, TextExtractor};
use powerhouse_ports::embeddings::{Embedder, Embeddings};
use powerhouse_ports::models::ModelError;
use powerhouse_tests::contract::sample::{Office, agent, office};
use powerhouse_tests::contract::stores::Stores;
use powerhouse_tests::own_stores::{migrated, on_postgres, on_sqlite};
use powerhouse_usecases::knowledge::{AddDocument, CreateCollection, Query, SearchKnowledge, Searcher};
use powerhouse_usecases::memories::{AddMemory, Remembrance};
use powerhouse_usecases::{Embedding, Once, Refused};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Each fifth time it is away, and each seventh what it says is no answer.
#[derive(Default)]
struct Moody(AtomicU64);

#[async_trait]
impl Embedder for Moody {
    async fn embed(&self, model: &str, texts: &[String]) -> Result<Embeddings, ModelError> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(number % 4)).await;
        if number % 5 == 4 {
            return Err(ModelError::Unavailable { retry_after: None, source: "away".into() });
        }
        if number % 7 == 6 {
            return Err(ModelError::Malformed("no vectors".into()));
        }
        let read = texts.iter().map(|text| text.len() as u64 / 4 + 1).sum();
        let vectors = texts.iter().map(|_| vec![1.0, 0.0]).collect();
        Ok(Embeddings { vectors, usage: Usage::of_tokens(read, 0), model: model.to_owned() })
    }
}

struct Plain;

#[async_trait]
impl TextExtractor for Plain {
    async fn extract(&self, _: MediaType, content: Vec<u8>) -> Result<Extracted, ExtractFailed> {
        let text = String::from_utf8(content).expect("a text");
        Ok(Extracted { title: None, text, headings: Vec::new() })
    }
}

struct Scene {
    stores: Stores,
    office: Office,
    whose: Whose,
    budgets: Vec<Budget>,
    put: AddDocument,
    search: SearchKnowledge,
    remember: AddMemory,
}

fn handbook() -> CollectionName {
    "handbook".parse().unwrap()
}

impl Scene {
    async fn new(stores: Stores) -> Self {
        let office = office(&*stores.platform, Plan::Enterprise).await;
        let helper = agent("helper");
        let owner = office.owner.id();
        let budget = |scope, micros, tokens| {
            let (id, caps) = (BudgetId::from_uuid(UuidV7Source.next()), Caps::new(micros, tokens).unwrap());
            Budget::new(id, scope, Period::Total, caps, SystemClock.now())
        };
        let budgets = vec![
            budget(BudgetScope::Tenant, Some(2_600), None),
            budget(BudgetScope::User(owner), None, Some(2_500)),
            budget(BudgetScope::Agent(helper.id()), Some(300), Some(300)),
        ];
        // A token is a millionth of a dollar.
        let price = PriceEntry::new("v", DateTime::UNIX_EPOCH, Price::new(1_000_000, 0)).unwrap();
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.unwrap();
        tx.agents().add(&helper).await.unwrap();
        for budget in &budgets {
            tx.budgets().add(budget).await.unwrap();
        }
        tx.prices().replace(&[price]).await.unwrap();
        tx.commit().await.unwrap();
        let (store, clock) = (stores.tenants.clone(), Arc::new(SystemClock));
        let create = CreateCollection { store: store.clone(), clock: clock.clone() };
        let once = Once::unkeyed();
        create.execute(&office.principal, handbook(), String::new(), &once).await.unwrap();
        let embedding = Embedding::new(Arc::new(Moody::default()), "v", store.clone(), clock.clone());
        let put = AddDocument {
            store: store.clone(),
            extractor: Arc::new(Plain),
            embedding: Some(embedding.clone()),
            clock: clock.clone(),
            ids: Arc::new(UuidV7Source),
        };
        let searcher = Searcher::new(store.clone(), Some(embedding.clone()));
        let remembrance =
            Remembrance { store, clock, ids: Arc::new(UuidV7Source), embedding: Some(embedding) };
        let whose = Whose { agent: helper.id(), user: Some(owner) };
        let (search, remember) = (SearchKnowledge { searcher }, AddMemory { remembrance });
        Self { stores, office, whose, budgets, put, search, remember }
    }

    /// Puts a document, searches or remembers, by the number. Whether nothing but a budget was in its way.
    async fn does(&self, number: u64) -> Result<(), String> {
        let caller = &self.office.principal;
        let done = match number % 3 {
            0 => {
                let content = format!("The code of part {number} is zz{number}zz. It goes on.");
                let new = NewDocument {
                    title: String::new(),
                    source: String::new(),
                    media_type: MediaType::Plain,
                    content: content.into_bytes(),
                };
                self.put.execute(caller, handbook(), new, &Once::unkeyed()).await.map(drop)
            }
            1 => {
                let query = Query::new(&format!("what is zz{number}zz"), Vec::new(), 5).unwrap();
                self.search.execute(caller, handbook(), query).await.map(drop)
            }
            _ => {
                let text = format!("part {number} is zz{number}zz").parse().unwrap();
                let new =
                    NewMemory { kind: "fact".parse().unwrap(), text, importance: Importance::default() };
                self.remember.execute(caller, self.whose, new, &Once::unkeyed()).await.map(drop)
            }
        };
        match done {
            Ok(())
            | Err(
                Refused::Conflict { code: "limit_reached", .. }
                | Refused::Elsewhere { code: "embedding_failed", .. },
            ) => Ok(()),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    async fn spending(&self, budget: &Budget) -> Spending {
        let mut view = self.stores.tenants.read(&self.office.principal.scope()).await.unwrap();
        view.budgets().spending(budget.window(SystemClock.now())).await.unwrap()
    }

    /// What was used: in all, and by the agent.
    async fn used(&self) -> (Usage, Usage) {
        let mut view = self.stores.tenants.read(&self.office.principal.scope()).await.unwrap();
        let (from, to) = ("2020-01-01".parse().unwrap(), "2100-01-01".parse().unwrap());
        let by = Grouping { agent: true, ..Grouping::default() };
        let sums = view.usage().sums(from, to, by, 9).await.unwrap();
        let of_agent = sums.iter().find(|sum| sum.agent == Some(self.whose.agent));
        (sums.iter().map(|sum| sum.usage).sum(), of_agent.map(|sum| sum.usage).unwrap_or_default())
    }

    async fn no_cap_is_passed(&self) {
        for budget in &self.budgets {
            let Amount { micros, tokens } = self.spending(budget).await.used();
            let caps = budget.caps;
            assert!(caps.micros().is_none_or(|cap| micros <= cap), "{micros} of {caps:?}");
            assert!(caps.tokens().is_none_or(|cap| tokens <= cap), "{tokens} of {caps:?}");
        }
    }

    /// What was spent is what was used, and nothing is set aside.
    async fn is_settled(&self) -> bool {
        let (all, of_agent) = self.used().await;
        let mut settled = true;
        for (budget, used) in self.budgets.iter().zip([all, all, of_agent]) {
            let Spending { spent, reserved } = self.spending(budget).await;
            settled &= spent == used.into() && reserved == Amount::default();
        }
        settled
    }
}

async fn storm(stores: Stores) {
    let scene = Arc::new(Scene::new(stores).await);
    let mut tasks = Vec::new();
    for number in 0..90_u64 {
        let scene = Arc::clone(&scene);
        tasks.push(tokio::spawn(async move { scene.does(number).await }));
        if number % 8 == 7 {
            // Somebody goes away in the middle of it.
            tasks[usize::try_from(number).unwrap() - 3].abort();
            sleep(Duration::from_millis(2)).await;
        }
    }
    for task in tasks {
        scene.no_cap_is_passed().await;
        if let Ok(done) = task.await {
            done.unwrap();
        }
    }
    let settled = async {
        while !scene.is_settled().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), settled).await.expect("what was spent is what was used");
    scene.no_cap_is_passed().await;
    let (all, of_agent) = scene.used().await;
    assert!(all.total_tokens() > 200 && of_agent.total_tokens() > 50, "{all:?} {of_agent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_vectors_made_at_once_no_cap_is_passed_on_sqlite() {
    let folder = TempDir::new().unwrap();
    storm(on_sqlite(folder.path()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_vectors_made_at_once_no_cap_is_passed_on_postgres() {
    let own = migrated().await;
    storm(on_postgres(&own).await).await;
}
