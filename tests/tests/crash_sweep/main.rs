//! Crash points: a run is driven by processes that are killed, each at another moment, before or after every
//! transaction and every effect. Whatever the moment, the run ends as if nothing had happened, each journalled step has
//! one outcome, and no effect that must not be repeated was made twice.
//!
//! The short form, in every test run, kills at each moment once. `CRASH_SCENARIOS=5000 cargo test -p powerhouse-tests --test
//! crash_sweep several` kills several processes of each of so many runs, at moments that a seed gives.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::access::Principal;
use powerhouse_domain::agents::{Agent, AgentName, Definition, SubAgent};
use powerhouse_domain::effects::EffectOutcome;
use powerhouse_domain::ids::{AgentId, BudgetId, RunId};
use powerhouse_domain::money::{Budget, BudgetScope, Caps, Grouping, Period, in_flight};
use powerhouse_domain::runs::{
    Approval, ApprovalRule, ApprovalRules, Decision, Demand, EventBody, Formation, Question, Recording, Run,
    RunEvent, RunLimits, RunState, Selection, Task, explain, replay,
};
use powerhouse_domain::selection;
use powerhouse_domain::strategies::{AgentKind, Brief, Strategy};
use powerhouse_domain::tenants::Plan;
use powerhouse_memory::{MemoryEventBus, UuidV7Source};
use powerhouse_ports::clock::{Clock, IdSource as _};
use powerhouse_ports::store::Limit;
use powerhouse_ports::tools::Tool;
use powerhouse_postgres::{PoolSettings, PostgresStore, Roles, migrate};
use powerhouse_sqlite::SqliteStore;
use powerhouse_tests::contract::sample::office;
use powerhouse_tests::contract::stores::Stores;
use powerhouse_tests::no_maker::NoMaker;
use powerhouse_tests::own_database::{APPLICATION, OwnDatabase, PASSWORD, PLATFORM};
use powerhouse_tests::scale;
use powerhouse_usecases::Once;
use powerhouse_usecases::Refused;
use powerhouse_usecases::approvals::AnswerApproval;
use powerhouse_usecases::models::Models;
use powerhouse_usecases::runner::{Pulse, Settings, Worker, Workshop};
use powerhouse_usecases::runs::Going;
use powerhouse_usecases::tools::Resolver;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

mod mortal;
mod world;

use mortal::{Life, MortalStores};
use world::{Downstream, Hand, Later, Oracle, output, spec};

/// A run is given up by the test when it has not ended by then.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is done, again and again.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    kind: AgentKind,
    /// Turns in which tools are called.
    turns: usize,
    /// Who wants a person to approve each payment.
    careful: Careful,
    /// Whether the helpers work on the task first, in runs of their own.
    team: bool,
}

/// Who wants a person's word.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Careful {
    Nobody,
    /// The agent's definition.
    Agent,
    /// Its strategy, for each call.
    Strategy,
    /// A rule of the tenant.
    Policy,
}

const SCENARIOS: [Scenario; 28] = [
    scenario(AgentKind::React, 2, Careful::Nobody),
    scenario(AgentKind::React, 1, Careful::Agent),
    scenario(AgentKind::React, 1, Careful::Strategy),
    scenario(AgentKind::React, 1, Careful::Policy),
    scenario(AgentKind::Direct, 0, Careful::Nobody),
    scenario(AgentKind::ChainOfThought, 0, Careful::Nobody),
    scenario(AgentKind::PlanAndExecute, 1, Careful::Nobody),
    scenario(AgentKind::Reflection, 0, Careful::Nobody),
    scenario(AgentKind::Debate, 0, Careful::Nobody),
    scenario(AgentKind::SelfConsistency, 0, Careful::Nobody),
    scenario(AgentKind::Rewoo, 0, Careful::Nobody),
    scenario(AgentKind::LlmCompiler, 0, Careful::Nobody),
    scenario(AgentKind::Reflexion, 1, Careful::Nobody),
    scenario(AgentKind::TreeOfThought, 0, Careful::Nobody),
    scenario(AgentKind::MixtureOfAgents, 0, Careful::Nobody),
    scenario(AgentKind::Evaluator, 0, Careful::Nobody),
    scenario(AgentKind::Toolformer, 2, Careful::Nobody),
    scenario(AgentKind::AutoLoop, 1, Careful::Nobody),
    scenario(AgentKind::Cascade, 0, Careful::Nobody),
    scenario(AgentKind::Governor, 0, Careful::Agent),
    scenario(AgentKind::SqlAnalyst, 0, Careful::Nobody),
    scenario(AgentKind::Rag, 0, Careful::Nobody),
    scenario(AgentKind::Router, 1, Careful::Nobody),
    scenario(AgentKind::OrchestratorWorkers, 1, Careful::Nobody),
    scenario(AgentKind::Hierarchical, 1, Careful::Nobody),
    scenario(AgentKind::Swarm, 1, Careful::Nobody),
    Scenario { team: true, ..scenario(AgentKind::Direct, 1, Careful::Nobody) },
    Scenario { team: true, ..scenario(AgentKind::Router, 1, Careful::Nobody) },
];

const fn scenario(kind: AgentKind, turns: usize, careful: Careful) -> Scenario {
    Scenario { kind, turns, careful, team: false }
}

/// The agents of the tenant beside the one whose run is swept; each calls both tools.
const HELPERS: [&str; 2] = ["helper", "other"];

impl Scenario {
    /// Small, so that there are few moments, and with the tools that there are.
    fn parameters(self) -> Value {
        match self.kind {
            AgentKind::React => json!({"confirm_calls": self.careful == Careful::Strategy}),
            AgentKind::SelfConsistency => json!({"samples": 3}),
            AgentKind::Evaluator => json!({"mode": "pairwise"}),
            AgentKind::TreeOfThought => json!({"depth": 1, "branches": 2}),
            AgentKind::MixtureOfAgents => json!({"layers": 1, "proposers": 2, "models": ["small"]}),
            AgentKind::Cascade => json!({"models": ["small"], "threshold": 10}),
            AgentKind::Hierarchical => json!({"max_subgoals": 2}),
            AgentKind::Swarm => json!({"by": "voting"}),
            AgentKind::SqlAnalyst => json!({"schema_tool": "look", "query_tool": "look"}),
            AgentKind::Rag => json!({"search_tool": "look"}),
            _ => json!({}),
        }
    }
}

/// What a run left behind.
#[derive(Debug, PartialEq)]
struct Outcome {
    answer: String,
    /// How many runs there were in all.
    runs: usize,
    steps: BTreeSet<String>,
    effects: BTreeMap<String, u32>,
}

/// One run in a world of its own, on stores that outlive its processes.
struct Scene {
    stores: Stores,
    clock: Arc<Later>,
    downstream: Arc<Downstream>,
    principal: Principal,
    run: RunId,
    scenario: Scenario,
}

impl Scene {
    async fn new(stores: &Stores, scenario: Scenario) -> Self {
        let office = office(&*stores.platform, Plan::Enterprise).await;
        let (clock, ids) = (Arc::new(Later::default()), UuidV7Source);
        let helpers =
            HELPERS.map(|name| SubAgent { name: name.parse().unwrap(), description: "Helps".into() });
        let team = helpers.iter().map(|helper| helper.name.clone()).collect();
        let definition = Definition {
            description: "Works".into(),
            strategy: Strategy::from_parameters(scenario.kind, &scenario.parameters()).unwrap(),
            instructions: String::new(),
            model: None,
            tools: vec!["look".into(), "pay".into()],
            capabilities: Vec::new(),
            approvals: if scenario.careful == Careful::Agent { vec!["pay".into()] } else { Vec::new() },
            examples: Vec::new(),
            max_concurrent_runs: None,
            formation: None,
            agents: helpers.to_vec(),
            limits: RunLimits {
                steps: 100,
                tokens: 1_000_000,
                cost_micros: 0,
                wall_clock: Duration::from_hours(9),
            },
        };
        let now = clock.now();
        let publish = |name: AgentName, definition| {
            let draft = Agent::draft(AgentId::from_uuid(ids.next()), name, definition, now);
            draft.unwrap().publish(now).unwrap()
        };
        let helpers = helpers.map(|SubAgent { name, .. }| {
            let strategy = Strategy::from_parameters(AgentKind::React, &json!({})).unwrap();
            let instructions = format!("You are {}.", name.as_str());
            let approvals = Vec::new();
            publish(name, Definition { strategy, instructions, approvals, ..definition.clone() })
        });
        let agent = publish("worker".parse().unwrap(), definition);
        let limits = agent.runnable().unwrap().definition.limits;
        let run = Run::accept(
            RunId::from_uuid(ids.next()),
            office.owner.id(),
            Task::new("Work\nAnswer A: this\nAnswer B: that").unwrap(),
            Selection {
                formation: scenario.team.then_some(Formation::Team(team)),
                ..selection::named(agent.id(), 1)
            },
            limits,
            now,
        );
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.unwrap();
        for agent in helpers.iter().chain([&agent]) {
            tx.agents().add(agent).await.unwrap();
        }
        tx.runs().add(&run).await.unwrap();
        let caps = Caps::new(None, Some(1 << 40)).unwrap();
        let id = BudgetId::from_uuid(ids.next());
        tx.budgets().add(&Budget::new(id, BudgetScope::Tenant, Period::Total, caps, now)).await.unwrap();
        if scenario.careful == Careful::Policy {
            let rule = ApprovalRule::new("pa*".parse().unwrap(), vec![agent.id()], "money".into()).unwrap();
            tx.approval_rules().replace(&ApprovalRules::restore(vec![rule], 1)).await.unwrap();
        }
        tx.commit().await.unwrap();
        Self {
            stores: stores.clone(),
            clock,
            downstream: Arc::default(),
            principal: office.principal,
            run: run.id(),
            scenario,
        }
    }

    /// A process that lives for so many moments, or until the run has ended. Whether it has.
    async fn live(&self, life: &Arc<Life>) -> bool {
        let mortal = Arc::new(MortalStores { stores: self.stores.clone(), life: Arc::clone(life) });
        let tools = ["look", "pay"].map(|name| {
            let hand = Hand { name, downstream: Arc::clone(&self.downstream), life: Arc::clone(life) };
            (name.to_owned(), Arc::new(hand) as Arc<dyn Tool>)
        });
        let workshop = Workshop {
            store: mortal.clone(),
            platform: mortal,
            models: Models::of(
                Arc::new(Oracle { turns: self.scenario.turns, life: Arc::clone(life) }),
                "oracle",
            ),
            tools: Resolver {
                built_in: Arc::new(BTreeMap::from(tools)),
                made: Arc::default(),
                maker: Arc::new(NoMaker),
            },
            bus: Arc::new(MemoryEventBus::default()),
            clock: self.clock.clone(),
            ids: Arc::new(UuidV7Source),
            wake: Arc::new(Notify::new()),
            pulse: Pulse::new(self.clock.clone(), Duration::from_mins(1)),
            settings: Settings { poll_every: Duration::from_millis(3), ..Settings::default() },
        };
        let going = Going { bus: Arc::clone(&workshop.bus), wake: Arc::clone(&workshop.wake) };
        let worker = Worker { workshop: Arc::new(workshop) };
        let working = tokio::spawn(worker.run(CancellationToken::new()));
        let has_ended = tokio::select! {
            () = life.end() => false,
            () = self.watch(&going) => true,
        };
        working.abort();
        let _ = working.await;
        has_ended
    }

    /// Answers what is asked, until the run has ended.
    async fn watch(&self, going: &Going) {
        let answer = AnswerApproval {
            store: Arc::clone(&self.stores.tenants),
            going: going.clone(),
            clock: self.clock.clone(),
        };
        loop {
            let mut view = self.stores.tenants.read(&self.principal.scope()).await.unwrap();
            let run = view.runs().find(self.run).await.unwrap().unwrap();
            if run.state().name().is_final() {
                return;
            }
            let open = view.approvals().list(true, None, Limit::default()).await.unwrap().items;
            drop(view);
            for approval in open {
                let decision = self.decide(&approval);
                // An answer that was given as the last process died may only now be there.
                let answered =
                    answer.execute(&self.principal, approval.id(), decision, &Once::unkeyed()).await;
                let is_there = matches!(answered, Err(Refused::Conflict { code: "approval_answered", .. }));
                assert!(is_there || answered.is_ok(), "{answered:?}");
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// A person who looks what became of a call in doubt.
    fn decide(&self, approval: &Approval) -> Decision {
        match approval.question() {
            Question::InDoubt { name, arguments } if self.downstream.count(name, arguments) > 0 => {
                Decision::Settle { output: output(name, arguments) }
            }
            Question::InDoubt { .. } | Question::ToolCall { .. } => Decision::Approve,
        }
    }

    /// The run and its journal, for people.
    async fn journal(&self) -> String {
        let mut view = self.stores.tenants.read(&self.principal.scope()).await.unwrap();
        let run = view.runs().find(self.run).await.unwrap();
        let events = view.runs().events(self.run, 0, 10_000).await.unwrap();
        format!("{run:#?} {events:#?}")
    }

    /// What the run left behind, and the runs that it has begun, and that their journals are sound.
    async fn outcome(&self) -> Outcome {
        let mut view = self.stores.tenants.read(&self.principal.scope()).await.unwrap();
        let (mut answer, mut steps) = (String::new(), BTreeSet::new());
        let family = view.runs().tree(self.run, 100).await.unwrap();
        for run in &family {
            let RunState::Succeeded { answer: said, .. } = run.state() else {
                panic!("it has not succeeded: {run:?}")
            };
            let events = view.runs().events(run.id(), 0, 10_000).await.unwrap();
            let outcomes = sound(run, &events);
            if run.id() == self.run {
                answer.clone_from(said);
                steps = outcomes;
                self.check_questions(&events);
            }
            let chosen = run.selection();
            let version = view.agents().version(chosen.agent, chosen.agent_version).await.unwrap().unwrap();
            explained_and_replayed(run, &version.definition, events);
        }
        // What its family used is part of what it used itself.
        let tokens = family[0].usage().total_tokens();
        let budget = view.budgets().list(None, Limit::default()).await.unwrap().items.remove(0);
        let spending = view.budgets().spending(budget.window(self.clock.now())).await.unwrap();
        assert_eq!((spending.spent.tokens, spending.reserved.tokens), (tokens, 0), "so much was spent");
        let day = self.clock.now().date_naive();
        let (first, last) = (day - chrono::Days::new(9), day + chrono::Days::new(9));
        let used = view.usage().sums(first, last, Grouping::default(), 9).await.unwrap();
        assert_eq!(used[0].usage.total_tokens(), tokens, "and so much was used");
        let effects = self.downstream.counts();
        for (call, count) in &effects {
            assert!(*count == 1 || call.starts_with("look"), "{call} took effect {count} times");
        }
        let effects = effects.into_keys().map(|call| (call, 1)).collect();
        Outcome { answer, runs: family.len(), steps, effects }
    }

    /// Who was to be asked was asked.
    fn check_questions(&self, events: &[RunEvent]) {
        let demands = events.iter().filter_map(|event| match &event.body {
            EventBody::ApprovalAsked { question: Question::ToolCall { name, demand, .. }, .. } => {
                Some((name.as_str(), demand.clone()))
            }
            _ => None,
        });
        let demands: Vec<_> = demands.collect();
        let is_asked = match self.scenario.careful {
            Careful::Nobody => demands.is_empty(),
            Careful::Agent => demands == [("pay", Demand::Agent)],
            Careful::Strategy => {
                demands.len() == 2
                    && demands.iter().all(|(_, demand)| matches!(demand, Demand::Strategy { .. }))
            }
            Careful::Policy => demands == [("pay", Demand::Policy { reason: "money".into() })],
        };
        assert!(is_asked, "{:?}: {demands:?}", self.scenario);
    }
}

/// What came of each step of a run, whose journal has to be sound.
fn sound(run: &Run, events: &[RunEvent]) -> BTreeSet<String> {
    assert!(events.iter().map(|event| event.seq).eq(1..=events.len() as u64), "no gap and no repeat");
    assert_eq!(events.iter().filter(|event| event.body.is_final()).count(), 1, "it ended once");
    let (mut steps, mut tokens) = (BTreeMap::new(), 0);
    for (index, event) in events.iter().enumerate() {
        if event.body.is_final() || matches!(event.body, EventBody::Started { .. }) {
            // What was under way is paid for in full: it may have been billed.
            let lost = in_flight(&events[..index]).into_values();
            tokens += lost.map(|call| call.amount.total_tokens()).sum::<u64>();
        }
        if let EventBody::StepEnded { key, outcome, .. } = &event.body {
            tokens += outcome.usage().total_tokens();
            // Which run it was, and what that lost, differs from time to time.
            let told = match outcome {
                EffectOutcome::Run(output) => format!("{} {}", output.content, output.is_error),
                other => format!("{other:?}"),
            };
            assert!(
                steps.insert(key.clone(), told).is_none(),
                "{key} has two outcomes: {run:#?} {events:#?}"
            );
        }
    }
    assert_eq!(run.usage().total_tokens(), tokens, "the usage is that of the journal");
    steps.into_iter().map(|(key, told)| format!("{key}: {told}")).collect()
}

/// Whatever happened to a run, its journal tells what it cost, and replays.
fn explained_and_replayed(run: &Run, definition: &Definition, events: Vec<RunEvent>) {
    let told = explain(run, &events);
    assert_eq!(told.cost.used, told.cost.steps.plus(told.cost.lost_and_counted()), "{told:#?}");
    let brief = Brief::of(run, definition, vec![spec("look"), spec("pay")]);
    let replayed = replay(&Recording::of(definition.strategy.clone(), brief, events));
    assert_eq!((replayed.difference, replayed.hash), (None, told.hash));
    assert_eq!(replayed.steps.len(), told.steps.len());
}

/// Drives a run by processes that die at these moments of their lives, then by one that is left alone.
async fn survive(stores: &Stores, scenario: Scenario, deaths: &[usize]) -> (Outcome, usize) {
    let scene = Scene::new(stores, scenario).await;
    let lives = deaths.iter().copied().chain([usize::MAX]);
    let told = format!("{scenario:?}, killed at {deaths:?}");
    let mut passed = 0;
    let ends = async {
        for last in lives {
            let life = Life::until(last);
            let has_ended = scene.live(&life).await;
            passed = life.passed();
            if has_ended {
                return;
            }
            scene.clock.skip();
        }
    };
    let is_over = timeout(PATIENCE, ends).await.is_ok();
    assert!(is_over, "it is stuck: {told}; {}", scene.journal().await);
    (scene.outcome().await, passed)
}

/// Kills at each moment of an undisturbed life, `step` apart.
async fn sweep(stores: &Stores, step: usize) {
    for scenario in SCENARIOS {
        let (undisturbed, moments) = survive(stores, scenario, &[]).await;
        assert!(moments > 8, "{scenario:?} has only {moments} moments");
        for moment in (1..moments).step_by(step) {
            let (outcome, _) = survive(stores, scenario, &[moment]).await;
            assert_eq!(outcome, undisturbed, "{scenario:?}, killed at {moment}");
        }
    }
}

async fn on_sqlite(folder: &TempDir) -> Stores {
    let store = Arc::new(SqliteStore::open(&folder.path().join("powerhouse.db")).await.unwrap());
    Stores { tenants: store.clone(), platform: store, open_at_once: 1 }
}

async fn on_postgres(own: &OwnDatabase) -> Stores {
    let password = || Some(Zeroizing::new(PASSWORD.to_owned()));
    let roles = Roles::new((APPLICATION, password()), (PLATFORM, password()));
    migrate(own.owner().as_str(), &roles).await.unwrap();
    let (application, platform) = (own.role(APPLICATION), own.role(PLATFORM));
    let store =
        PostgresStore::open(application.as_str(), platform.as_str(), PoolSettings::default()).await.unwrap();
    let store = Arc::new(store);
    Stores { tenants: store.clone(), platform: store, open_at_once: 8 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_a_death_at_each_moment() {
    let folder = TempDir::new().unwrap();
    sweep(&on_sqlite(&folder).await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_postgresql_survives_a_death_at_each_moment() {
    let own = OwnDatabase::empty().await;
    sweep(&on_postgres(&own).await, 1).await;
}

/// The numbers of a seed, by `SplitMix64` (Steele, Lea and Flood 2014).
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(seed), |state| Some(state.wrapping_add(0x9e37_79b9_7f4a_7c15))).skip(1).map(
        |state| {
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or_default()
        },
    )
}

/// Several processes of one run are killed, one after another. As many runs as `CRASH_SCENARIOS` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_several_deaths() {
    let runs: u64 = scale("CRASH_SCENARIOS").unwrap_or(60);
    let folder = TempDir::new().unwrap();
    let own = OwnDatabase::empty().await;
    let databases = [on_sqlite(&folder).await, on_postgres(&own).await];
    for seed in 0..runs {
        let mut numbers = numbers(seed);
        let mut below = |bound: usize| numbers.next().unwrap_or_default() % bound;
        let (scenario, stores) = (SCENARIOS[below(SCENARIOS.len())], &databases[below(databases.len())]);
        // Fewer than what gives a run up for want of progress.
        let deaths: Vec<usize> = (0..=below(4)).map(|_| 1 + below(40)).collect();
        let (undisturbed, _) = survive(stores, scenario, &[]).await;
        let (outcome, _) = survive(stores, scenario, &deaths).await;
        assert_eq!(outcome, undisturbed, "seed {seed}: {scenario:?}, killed at {deaths:?}");
    }
}
