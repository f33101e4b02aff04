//! Budgets under load: many runs at once, workers that are killed, runs that are cancelled. Whatever happens, at no moment
//! is more spent or set aside than a cap allows, and in the end nothing is set aside any more.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use powerhouse_domain::access::Principal;
use powerhouse_domain::agents::{Agent, Definition};
use powerhouse_domain::breaker::BreakerSettings;
use powerhouse_domain::effects::{EffectOutcome, FailureClass};
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::ids::{AgentId, BudgetId, RunId};
use powerhouse_domain::model::{ModelReply, ModelRequest, StopReason, Usage};
use powerhouse_domain::money::{
    Budget, BudgetScope, Caps, Grouping, Period, Price, PriceEntry, PriceList, Spending, input_bound,
};
use powerhouse_domain::runs::{EventBody, Placement, Run, RunLimits, RunState, Task};
use powerhouse_domain::selection::Target;
use powerhouse_domain::strategies::{AgentKind, Strategy};
use powerhouse_domain::tenants::Plan;
use powerhouse_memory::{MemoryBreakers, MemoryEventBus, SystemClock, UuidV7Source};
use powerhouse_ports::clock::{Clock as _, IdSource as _};
use powerhouse_ports::models::{DeltaSink, ModelError, ModelProvider};
use powerhouse_ports::store::Limit;
use powerhouse_postgres::PoolSettings;
use powerhouse_tests::contract::sample::office;
use powerhouse_tests::contract::stores::Stores;
use powerhouse_tests::no_maker::NoMaker;
use powerhouse_tests::own_database::OwnDatabase;
use powerhouse_tests::own_stores::{self, migrated, open};
use powerhouse_usecases::Once;
use powerhouse_usecases::models::{Models, Platform};
use powerhouse_usecases::runner::{Pulse, Settings, Worker, Workshop};
use powerhouse_usecases::runs::{CancelRun, Going, SubmitRun, SubmitRunCommand};
use powerhouse_usecases::tools::Resolver;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Long enough for a worker under load to extend it, short enough for a test to wait for its end.
const LEASE: Duration = Duration::from_secs(2);

/// What the model does.
#[derive(Clone, Copy)]
enum Habit {
    /// Says a few words, after a while that differs from call to call.
    Says,
    /// Talks on, whatever it was told.
    Talks,
    /// Breaks off after the first word.
    Breaks,
    /// Is not there.
    Away,
    /// Waits for ever.
    Hangs,
    /// Is not there, where it is asked as `house`.
    Substituted,
}

struct Talker {
    habit: Habit,
    asked: AtomicU32,
}

#[async_trait]
impl ModelProvider for Talker {
    async fn complete(
        &self,
        _: &CallKey,
        model: &str,
        request: &ModelRequest,
        mut deltas: Box<dyn DeltaSink>,
    ) -> Result<ModelReply, ModelError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let unavailable = || ModelError::Unavailable { retry_after: None, source: "broken".into() };
        match self.habit {
            Habit::Says => sleep(Duration::from_millis(u64::from(number * 7 % 40))).await,
            Habit::Talks => loop {
                deltas.push("word ").await;
                tokio::task::yield_now().await;
            },
            Habit::Breaks => {
                deltas.push("word ").await;
                return Err(unavailable());
            }
            Habit::Substituted if model != "house" => {}
            Habit::Away | Habit::Substituted => return Err(unavailable()),
            Habit::Hangs => std::future::pending().await,
        }
        let text = "said";
        deltas.push(text).await;
        let usage = Usage::of_tokens(input_bound(request) / 4, 20).at_cost(7);
        Ok(ModelReply::text(text, usage, model))
    }
}

/// A tenant with an agent and its stores, and workers that may be killed.
struct Scene {
    stores: Stores,
    principal: Principal,
    agent: AgentId,
    wake: Arc<Notify>,
    bus: Arc<MemoryEventBus>,
    stop: CancellationToken,
}

/// What keeps a store's data.
enum Kept {
    Folder(#[expect(dead_code, reason = "it goes when it is dropped")] TempDir),
    Database(#[expect(dead_code, reason = "it goes when it is dropped")] OwnDatabase),
}

async fn on_sqlite() -> (Kept, Stores) {
    let folder = TempDir::new().unwrap();
    let stores = own_stores::on_sqlite(folder.path()).await;
    (Kept::Folder(folder), stores)
}

async fn on_postgres() -> (Kept, Stores) {
    let own = migrated().await;
    let settings = PoolSettings { connections: 12, platform_connections: 3, ..PoolSettings::default() };
    let store = Arc::new(open(&own, settings).await);
    (Kept::Database(own), Stores { tenants: store.clone(), platform: store, open_at_once: 12 })
}

fn limits() -> RunLimits {
    RunLimits { steps: 50, tokens: 1_000_000, cost_micros: 0, wall_clock: Duration::from_mins(5) }
}

impl Scene {
    async fn new(stores: Stores, kind: AgentKind, limits: RunLimits) -> Self {
        Self::of(stores, Strategy::from_parameters(kind, &json!({})).unwrap(), limits).await
    }

    async fn of(stores: Stores, strategy: Strategy, limits: RunLimits) -> Self {
        let office = office(&*stores.platform, Plan::Enterprise).await;
        let definition = Definition {
            description: "Works".into(),
            strategy,
            instructions: String::new(),
            model: Some("house".into()),
            tools: Vec::new(),
            capabilities: Vec::new(),
            approvals: Vec::new(),
            max_concurrent_runs: None,
            formation: None,
            agents: Vec::new(),
            examples: Vec::new(),
            limits,
        };
        let agent = AgentId::from_uuid(UuidV7Source.next());
        let draft = Agent::draft(agent, "worker".parse().unwrap(), definition, now()).unwrap();
        // A dollar for a million tokens: a token is a millionth of a dollar.
        let price = Price { max_output_tokens: 200, ..Price::new(1_000_000, 1_000_000) };
        let price = PriceEntry::new("house", DateTime::UNIX_EPOCH, price).unwrap();
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.unwrap();
        tx.agents().add(&draft.publish(now()).unwrap()).await.unwrap();
        tx.prices().replace(&[price]).await.unwrap();
        tx.commit().await.unwrap();
        Self {
            stores,
            principal: office.principal,
            agent,
            wake: Arc::default(),
            bus: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    async fn budget(&self, scope: BudgetScope, micros: Option<u64>, tokens: Option<u64>) -> Budget {
        let id = BudgetId::from_uuid(UuidV7Source.next());
        let budget = Budget::new(id, scope, Period::Total, Caps::new(micros, tokens).unwrap(), now());
        let mut tx = self.stores.tenants.begin(&self.principal.scope()).await.unwrap();
        tx.budgets().add(&budget).await.unwrap();
        tx.commit().await.unwrap();
        budget
    }

    fn worker(&self, habit: Habit) -> JoinHandle<()> {
        self.worker_of(Models::of(talker(habit), "house"))
    }

    fn worker_of(&self, models: Arc<Models>) -> JoinHandle<()> {
        let workshop = Workshop {
            store: self.stores.tenants.clone(),
            platform: self.stores.platform.clone(),
            models,
            tools: Resolver {
                built_in: Arc::new(BTreeMap::new()),
                made: Arc::default(),
                maker: Arc::new(NoMaker),
            },
            bus: self.bus.clone(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(UuidV7Source),
            wake: Arc::clone(&self.wake),
            pulse: Pulse::new(Arc::new(SystemClock), Duration::from_mins(1)),
            settings: Settings {
                concurrency: 6,
                lease: LEASE,
                poll_every: Duration::from_millis(20),
                ..Settings::default()
            },
        };
        let worker = Worker { workshop: Arc::new(workshop) };
        tokio::spawn(worker.run(self.stop.clone()))
    }

    async fn submit(&self) -> RunId {
        let submit = SubmitRun {
            store: self.stores.tenants.clone(),
            selectors: Arc::default(),
            tools: Arc::default(),
            bus: self.bus.clone(),
            wake: Arc::clone(&self.wake),
            clock: Arc::new(SystemClock),
            ids: Arc::new(UuidV7Source),
        };
        let task = Task::new("Work").unwrap();
        let command = SubmitRunCommand {
            task,
            target: Target::Agent(self.agent),
            formation: None,
            thread: None,
            placement: Placement::default(),
        };
        submit.execute(&self.principal, command, &Once::unkeyed()).await.unwrap().id()
    }

    async fn cancel(&self, id: RunId) {
        let (store, bus) = (self.stores.tenants.clone(), self.bus.clone());
        // One that has ended cannot be cancelled.
        let _ = CancelRun {
            store,
            going: Going { bus, wake: Arc::clone(&self.wake) },
            clock: Arc::new(SystemClock),
        }
        .execute(&self.principal, id, &Once::unkeyed())
        .await;
    }

    async fn spending(&self, budget: &Budget) -> Spending {
        let mut view = self.stores.tenants.read(&self.principal.scope()).await.unwrap();
        view.budgets().spending(budget.window(now())).await.unwrap()
    }

    async fn used(&self) -> (u64, Usage) {
        let mut view = self.stores.tenants.read(&self.principal.scope()).await.unwrap();
        let today = now().date_naive();
        let days = (today - chrono::Days::new(1), today + chrono::Days::new(1));
        let sums = view.usage().sums(days.0, days.1, Grouping::default(), 9).await.unwrap();
        sums.first().map_or((0, Usage::default()), |sum| (sum.calls, sum.usage))
    }

    async fn ended(&self, id: RunId) -> Run {
        let ends = async {
            loop {
                let mut view = self.stores.tenants.read(&self.principal.scope()).await.unwrap();
                let run = view.runs().find(id).await.unwrap().unwrap();
                drop(view);
                if run.state().name().is_final() {
                    return run;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_mins(1), ends).await.expect("the run ends")
    }

    async fn journal(&self, id: RunId) -> Vec<EventBody> {
        let mut view = self.stores.tenants.read(&self.principal.scope()).await.unwrap();
        let events = view.runs().events(id, 0, 1_000).await.unwrap();
        events.into_iter().map(|event| event.body).collect()
    }

    /// One run of a worker that is left alone.
    async fn alone(&self, habit: Habit) -> Run {
        self.alone_with(Models::of(talker(habit), "house")).await
    }

    async fn alone_with(&self, models: Arc<Models>) -> Run {
        let worker = self.worker_of(models);
        let run = self.ended(self.submit().await).await;
        worker.abort();
        run
    }
}

fn talker(habit: Habit) -> Arc<Talker> {
    Arc::new(Talker { habit, asked: AtomicU32::new(0) })
}

/// `house`, and `villa` in its place while it cannot.
fn two_models(habit: Habit, is_hedged: bool) -> Arc<Models> {
    let provider: Arc<dyn ModelProvider> = talker(habit);
    let fallbacks = vec!["villa".to_owned()];
    let platform = Platform { provider, default_model: "house".into(), fallbacks, is_hedged };
    let breaker =
        BreakerSettings { failures: 5, window: TimeDelta::minutes(1), cool_down: TimeDelta::minutes(1) };
    Arc::new(Models::new(platform, Arc::new(MemoryBreakers::new(breaker)), None))
}

fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// Looks at the budgets without a pause; what passes a cap fails.
fn watch(scene: &Arc<Scene>, budgets: &[Budget]) -> JoinHandle<()> {
    let (scene, budgets) = (Arc::clone(scene), budgets.to_vec());
    tokio::spawn(async move {
        loop {
            for budget in &budgets {
                let used = scene.spending(budget).await.used();
                let caps = budget.caps;
                assert!(caps.micros().is_none_or(|cap| used.micros <= cap), "{used:?} of {caps:?}");
                assert!(caps.tokens().is_none_or(|cap| used.tokens <= cap), "{used:?} of {caps:?}");
            }
            sleep(Duration::from_millis(3)).await;
        }
    })
}

async fn storm(stores: Stores) {
    const RUNS: u32 = 40;
    let scene = Arc::new(Scene::new(stores, AgentKind::Debate, limits()).await);
    let owner = BudgetScope::User(scene.principal.user_id());
    // The worst case of a call is some 1,300; what it really takes, some 300.
    let budgets = [
        scene.budget(BudgetScope::Tenant, Some(30_000), None).await,
        scene.budget(owner, None, Some(28_000)).await,
        scene.budget(BudgetScope::Agent(scene.agent), Some(40_000), Some(40_000)).await,
    ];
    let watching = watch(&scene, &budgets);
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(scene.submit().await);
    }
    // Three at a time; each is killed when its turn comes, in the middle of whatever it does.
    for killed_after in [70_u64, 130, 45, 210, 90, 160] {
        let workers = [scene.worker(Habit::Says), scene.worker(Habit::Says), scene.worker(Habit::Says)];
        for (number, worker) in (1..).zip(workers) {
            sleep(Duration::from_millis(killed_after * number / 3)).await;
            worker.abort();
            let _ = worker.await;
        }
        scene.cancel(runs[usize::try_from(killed_after).unwrap() % runs.len()]).await;
    }
    let survivors = [scene.worker(Habit::Says), scene.worker(Habit::Says)];
    for id in runs {
        let run = scene.ended(id).await;
        match run.state() {
            RunState::Failed { failure, .. } => assert_eq!(failure.code, "limit_reached", "{failure:?}"),
            RunState::Succeeded { .. } | RunState::Cancelled { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(!watching.is_finished(), "a cap was passed");
    watching.abort();
    let (calls, used) = scene.used().await;
    assert!(calls > 0);
    for budget in &budgets {
        let spending = scene.spending(budget).await;
        assert_eq!((spending.reserved.micros, spending.reserved.tokens), (0, 0), "nothing is set aside");
        assert_eq!(spending.spent.micros, used.cost_micros, "what was spent is what was used");
        assert_eq!(spending.spent.tokens, used.total_tokens());
    }
    assert!(scene.spending(&budgets[1]).await.spent.tokens > 14_000, "the budget was made use of");
    scene.stop.cancel();
    for worker in survivors {
        worker.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_runs_at_once_and_is_killed_no_cap_is_passed_on_sqlite() {
    let (_kept, stores) = on_sqlite().await;
    storm(stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_runs_at_once_and_is_killed_no_cap_is_passed_on_postgres() {
    let (_kept, stores) = on_postgres().await;
    storm(stores).await;
}

#[tokio::test]
async fn a_call_that_no_budget_has_room_for_is_refused_and_says_why() {
    let (_kept, stores) = on_sqlite().await;
    let scene = Scene::new(stores, AgentKind::Direct, limits()).await;
    let budget = scene.budget(BudgetScope::Agent(scene.agent), Some(300), None).await;
    let wide = scene.budget(BudgetScope::Tenant, Some(1_000_000), None).await;
    let run = scene.alone(Habit::Says).await;
    let RunState::Failed { failure, .. } = run.state() else { panic!("{run:?}") };
    assert_eq!(failure.code, "limit_reached");
    let named = format!("the total budget {} of {} has too little left", budget.id, scene.agent);
    assert!(failure.message.contains(&named), "{}", failure.message);
    let journal = scene.journal(run.id()).await;
    assert!(journal.iter().any(|event| matches!(event, EventBody::StepStarted { reservation: None, .. })));
    assert!(
        journal.iter().any(
            |event| matches!(event, EventBody::StepEnded { outcome: EffectOutcome::Failed(failure), .. }
        if failure.class == FailureClass::LimitReached)
        )
    );
    for budget in [&budget, &wide] {
        assert_eq!(scene.spending(budget).await, Spending::default(), "nothing was set aside at all");
    }
    assert_eq!(scene.used().await.0, 0);
}

#[tokio::test]
async fn a_model_that_talks_on_is_cut_where_the_money_ends() {
    let (_kept, stores) = on_sqlite().await;
    let scene = Scene::new(stores, AgentKind::Direct, limits()).await;
    let budget = scene.budget(BudgetScope::Tenant, Some(1_000), None).await;
    let run = scene.alone(Habit::Talks).await;
    let RunState::Failed { failure, .. } = run.state() else { panic!("{run:?}") };
    assert_eq!(failure.code, "reply_truncated");
    let journal = scene.journal(run.id()).await;
    let reply = journal.iter().find_map(|event| match event {
        EventBody::StepEnded { outcome: EffectOutcome::Model(reply), .. } => Some(reply),
        _ => None,
    });
    let reply = reply.expect("what it said is kept");
    assert_eq!(reply.stop, StopReason::MaxTokens);
    assert!(u64::try_from(reply.text.split(' ').count()).unwrap() <= reply.usage.output_tokens + 1);
    let spent = scene.spending(&budget).await;
    assert_eq!((spent.spent.micros, spent.reserved.micros), (reply.usage.cost_micros, 0));
    assert!(spent.spent.micros <= 1_000 && run.usage() == reply.usage, "{spent:?}");
}

#[tokio::test]
async fn a_call_that_broke_off_is_paid_in_full_and_one_that_never_came_is_not() {
    let (_kept, stores) = on_sqlite().await;
    let scene = Scene::new(stores, AgentKind::Direct, limits()).await;
    let budget = scene.budget(BudgetScope::Tenant, Some(100_000), None).await;
    scene.alone(Habit::Away).await;
    assert_eq!(scene.spending(&budget).await, Spending::default());
    let run = scene.alone(Habit::Breaks).await;
    let spent = scene.spending(&budget).await;
    let reserved = scene.journal(run.id()).await.into_iter().find_map(|event| match event {
        EventBody::StepStarted { reservation, .. } => reservation,
        _ => None,
    });
    let reserved = reserved.unwrap().amount;
    assert_eq!(spent.spent, reserved.into());
    assert_eq!(spent.reserved.micros, 0);
    assert_eq!(run.usage(), reserved, "it counts for the run too");
}

#[tokio::test]
async fn a_run_that_is_cancelled_pays_for_what_is_under_way() {
    let (_kept, stores) = on_sqlite().await;
    let scene = Scene::new(stores, AgentKind::Direct, limits()).await;
    let budget = scene.budget(BudgetScope::Tenant, Some(100_000), None).await;
    let worker = scene.worker(Habit::Hangs);
    let id = scene.submit().await;
    let reserved = async {
        while scene.spending(&budget).await.reserved.micros == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        scene.spending(&budget).await.reserved
    };
    let reserved = timeout(Duration::from_secs(9), reserved).await.expect("the call is under way");
    scene.cancel(id).await;
    let spending = scene.spending(&budget).await;
    assert_eq!((spending.spent, spending.reserved.micros), (reserved, 0));
    assert_eq!(scene.used().await.1.cost_micros, reserved.micros);
    worker.abort();
}

/// What was set aside for a run's first call.
async fn set_aside(scene: &Scene, run: &Run) -> Usage {
    let reservations = scene.journal(run.id()).await.into_iter().filter_map(|event| match event {
        EventBody::StepStarted { reservation, .. } => reservation,
        _ => None,
    });
    reservations.map(|reservation| reservation.amount).next().unwrap()
}

#[tokio::test]
async fn enough_is_set_aside_for_whoever_may_answer() {
    let (_kept, stores) = on_sqlite().await;
    let scene = Scene::new(stores, AgentKind::Direct, limits()).await;
    let budget = scene.budget(BudgetScope::Tenant, Some(100_000), None).await;
    let run = scene.alone_with(two_models(Habit::Substituted, false)).await;
    let RunState::Failed { failure, .. } = run.state() else { panic!("{run:?}") };
    assert!(failure.message.contains("`villa` has no price"), "{}", failure.message);

    // Three times as dear.
    let mut tx = scene.stores.tenants.begin(&scene.principal.scope()).await.unwrap();
    let price = |model, micros| {
        let price = Price { max_output_tokens: 200, ..Price::new(micros, micros) };
        PriceEntry::new(model, DateTime::UNIX_EPOCH, price).unwrap()
    };
    tx.prices().replace(&[price("house", 1_000_000), price("villa", 3_000_000)]).await.unwrap();
    tx.commit().await.unwrap();
    let run = scene.alone_with(two_models(Habit::Substituted, false)).await;
    assert!(matches!(run.state(), RunState::Succeeded { .. }), "{run:?}");
    let aside = set_aside(&scene, &run).await;
    assert_eq!(aside.cost_micros, aside.total_tokens() * 3);
    assert_eq!(
        run.usage().cost_micros,
        run.usage().total_tokens() * 3,
        "it costs what the one costs that answered"
    );
    let spending = scene.spending(&budget).await;
    assert_eq!((spending.spent.micros, spending.reserved.micros), (run.usage().cost_micros, 0));
    let routed = scene.journal(run.id()).await.into_iter().find_map(|event| match event {
        EventBody::StepEnded { outcome: EffectOutcome::Model(reply), .. } => reply.routed,
        _ => None,
    });
    assert_eq!(routed.unwrap().passed_over, ["house"]);
}

#[tokio::test]
async fn a_call_that_may_be_made_twice_is_set_aside_for_twice_where_that_fits() {
    let (_kept, stores) = on_sqlite().await;
    let scene = Scene::new(stores, AgentKind::Direct, limits()).await;
    let models = |is_hedged| {
        let platform = Platform {
            provider: talker(Habit::Says),
            default_model: "house".into(),
            fallbacks: Vec::new(),
            is_hedged,
        };
        let never = BreakerSettings { failures: 0, window: TimeDelta::zero(), cool_down: TimeDelta::zero() };
        Arc::new(Models::new(platform, Arc::new(MemoryBreakers::new(never)), None))
    };
    let budget = scene.budget(BudgetScope::Tenant, Some(100_000), None).await;
    let once = set_aside(&scene, &scene.alone_with(models(false)).await).await;
    let twice = set_aside(&scene, &scene.alone_with(models(true)).await).await;
    assert_eq!(twice, once.plus(once));
    // Enough is left for one.
    let spent = scene.spending(&budget).await.spent.micros;
    scene.budget(BudgetScope::Agent(scene.agent), Some(once.cost_micros + 10), None).await;
    let run = scene.alone_with(models(true)).await;
    assert!(matches!(run.state(), RunState::Succeeded { .. }), "{run:?}");
    assert_eq!(set_aside(&scene, &run).await, once);
    assert!(scene.spending(&budget).await.spent.micros > spent);
}

#[tokio::test]
async fn without_a_price_no_bound_of_money_can_be_kept() {
    let (_kept, stores) = on_sqlite().await;
    let scene = Scene::new(stores, AgentKind::Direct, limits()).await;
    let mut tx = scene.stores.tenants.begin(&scene.principal.scope()).await.unwrap();
    tx.prices().replace(&[]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(scene.alone(Habit::Says).await.state(), RunState::Succeeded { .. }), "nothing is bound");
    scene.budget(BudgetScope::Tenant, None, Some(100_000)).await;
    assert!(matches!(scene.alone(Habit::Says).await.state(), RunState::Succeeded { .. }), "tokens are");
    scene.budget(BudgetScope::Tenant, Some(100_000), None).await;
    let run = scene.alone(Habit::Says).await;
    let RunState::Failed { failure, .. } = run.state() else { panic!("{run:?}") };
    assert!(failure.message.contains("`house` has no price"), "{}", failure.message);
}

#[tokio::test]
async fn a_runs_own_limit_of_money_is_kept_too() {
    let (_kept, stores) = on_sqlite().await;
    let scene = Scene::new(stores, AgentKind::Debate, RunLimits { cost_micros: 1_000, ..limits() }).await;
    let run = scene.alone(Habit::Says).await;
    let RunState::Failed { failure, .. } = run.state() else { panic!("{run:?}") };
    assert_eq!(failure.code, "limit_reached");
    assert!(run.usage().cost_micros <= 1_000, "{:?}", run.usage());
}

/// The cost of a reply is what the price list says of the model that answered, whatever its provider says.
#[tokio::test]
async fn a_reply_costs_what_the_price_list_says() {
    let (_kept, stores) = on_sqlite().await;
    let scene = Scene::new(stores, AgentKind::Direct, limits()).await;
    let run = scene.alone(Habit::Says).await;
    assert_eq!(run.usage().cost_micros, run.usage().total_tokens());
    let mut view = scene.stores.tenants.read(&scene.principal.scope()).await.unwrap();
    assert_eq!(view.budgets().list(None, Limit::default()).await.unwrap().items, []);
    assert!(PriceList::defaults().iter().all(|entry| entry.model != "house"));
    assert_eq!(scene.used().await, (1, run.usage()));
}

/// A call to a model that the strategy wishes for is set aside for, settled and counted at that model's price.
#[tokio::test]
async fn a_model_that_a_strategy_wishes_for_costs_its_own_price() {
    let (_kept, stores) = on_sqlite().await;
    let cascade = Strategy::from_parameters(AgentKind::Cascade, &json!({"models": ["small"]})).unwrap();
    let scene = Scene::of(stores, cascade, limits()).await;
    let budget = scene.budget(BudgetScope::Tenant, Some(1_000_000), None).await;
    let run = scene.alone(Habit::Says).await;
    let RunState::Failed { failure, .. } = run.state() else { panic!("{run:?}") };
    assert!(failure.message.contains("`small` has no price"), "{}", failure.message);

    let price = |model: &str, micros| {
        let price = Price { max_output_tokens: 200, ..Price::new(micros, micros) };
        PriceEntry::new(model, DateTime::UNIX_EPOCH, price).unwrap()
    };
    let mut tx = scene.stores.tenants.begin(&scene.principal.scope()).await.unwrap();
    tx.prices().replace(&[price("house", 1_000_000), price("small", 3_000_000)]).await.unwrap();
    tx.commit().await.unwrap();
    let run = scene.alone(Habit::Says).await;
    let journal = scene.journal(run.id()).await;
    let replies: Vec<_> = journal
        .iter()
        .filter_map(|event| match event {
            EventBody::StepEnded { outcome: EffectOutcome::Model(reply), .. } => Some(reply),
            _ => None,
        })
        .collect();
    // A score of "said" cannot be read: the agent's own model is asked.
    let told: Vec<_> = replies.iter().map(|reply| (reply.model.as_str(), reply.usage)).collect();
    assert_eq!(told.iter().map(|(model, _)| *model).collect::<Vec<_>>(), ["small", "small", "house"]);
    for (model, usage) in &told {
        let factor = if *model == "small" { 3 } else { 1 };
        assert_eq!(usage.cost_micros, usage.total_tokens() * factor, "{model}");
    }
    let reserved: Vec<_> = journal
        .iter()
        .filter_map(|event| match event {
            EventBody::StepStarted { reservation, .. } => reservation.as_ref(),
            _ => None,
        })
        .collect();
    assert_eq!(reserved.len(), 3);
    for (reservation, (model, _)) in reserved.iter().zip(&told) {
        assert_eq!(reservation.model, *model);
        let factor = if *model == "small" { 3 } else { 1 };
        assert_eq!(reservation.amount.cost_micros, reservation.amount.total_tokens() * factor);
    }
    let spent = scene.spending(&budget).await;
    assert_eq!((spent.spent.micros, spent.reserved.micros), (run.usage().cost_micros, 0));
    let mut view = scene.stores.tenants.read(&scene.principal.scope()).await.unwrap();
    let days = (now().date_naive() - chrono::Days::new(1), now().date_naive() + chrono::Days::new(1));
    let by_model = Grouping { model: true, ..Grouping::default() };
    let sums = view.usage().sums(days.0, days.1, by_model, 9).await.unwrap();
    let counted: Vec<_> = sums.iter().map(|sum| (sum.model.as_deref().unwrap(), sum.calls)).collect();
    assert!(counted.contains(&("small", 2)) && counted.contains(&("house", 1)), "{counted:?}");
}
