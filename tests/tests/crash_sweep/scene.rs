//! One run in a world of its own, what it leaves behind, and that its journal is sound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use futures::stream::BoxStream;
use powerhouse_domain::access::{Principal, TenantScope};
use powerhouse_domain::agents::{Agent, AgentName, Definition, SubAgent};
use powerhouse_domain::effects::EffectOutcome;
use powerhouse_domain::ids::{AgentId, BudgetId, RunId, ThreadId};
use powerhouse_domain::memory::Whose;
use powerhouse_domain::money::{Budget, BudgetScope, Caps, Grouping, Period, in_flight};
use powerhouse_domain::runs::{
    Approval, ApprovalRule, ApprovalRules, Decision, Demand, EventBody, Formation, Question, Recording, Run,
    RunEvent, RunLimits, RunState, Selection, Task, conversation, explain, replay,
};
use powerhouse_domain::selection;
use powerhouse_domain::strategies::{AgentKind, Brief, Strategy};
use powerhouse_domain::tenants::Plan;
use powerhouse_domain::threads::{KEPT_TURNS, MAX_TOKENS, Summary, Thread};
use powerhouse_domain::tools::ToolSpec;
use powerhouse_memory::{MemoryEventBus, UuidV7Source};
use powerhouse_ports::clock::{Clock, IdSource as _};
use powerhouse_ports::events::{EventBus, RunNews};
use powerhouse_ports::store::{Limit, TenantStore, TenantTx, TenantView};
use powerhouse_ports::tools::Tool;
use powerhouse_tests::contract::sample::office;
use powerhouse_tests::contract::stores::Stores;
use powerhouse_tests::labelled::Labelled;
use powerhouse_tests::no_maker::NoMaker;
use powerhouse_usecases::approvals::AnswerApproval;
use powerhouse_usecases::memories::{MemoryApply, MemorySearch, Remembrance};
use powerhouse_usecases::models::Models;
use powerhouse_usecases::runner::{Pulse, Settings, Worker, Workshop};
use powerhouse_usecases::runs::Going;
use powerhouse_usecases::tools::{Factories, Resolver};
use powerhouse_usecases::{Keeper, Once, Refused};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::mortal::{Life, MortalStores};
use crate::scenario::{Careful, Scenario};
use crate::world::{Downstream, Hand, Later, Oracle, output, spec};

/// How soon whoever watches looks again when nobody has told them anything.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The agents of the tenant beside the one whose run is swept; each calls both tools.
const HELPERS: [&str; 2] = ["helper", "other"];

/// What a run left behind.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    answer: String,
    /// How many runs there were in all.
    runs: usize,
    steps: BTreeSet<String>,
    effects: BTreeMap<String, u32>,
    /// What its agent remembers.
    memories: Vec<String>,
    /// What is known of its conversation in short.
    summary: Option<Summary>,
}

/// One run in a world of its own, on stores that outlive its processes.
pub(crate) struct Scene {
    stores: Stores,
    pub(crate) clock: Arc<Later>,
    downstream: Arc<Downstream>,
    principal: Principal,
    run: RunId,
    thread: Option<ThreadId>,
    scenario: Scenario,
}

impl Scene {
    pub(crate) async fn new(stores: &Stores, scenario: Scenario) -> Self {
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
            tools: scenario.tools(),
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
            let tools = vec!["look".into(), "pay".into()];
            publish(name, Definition { strategy, instructions, approvals, tools, ..definition.clone() })
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
        let run = if scenario.in_thread { continued(&mut *tx, run).await } else { run };
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
            thread: run.place_in_thread().map(|place| place.thread),
            scenario,
        }
    }

    /// A process that lives for so many moments, or until the run has ended. Whether it has.
    pub(crate) async fn live(&self, life: &Arc<Life>) -> bool {
        let mortal = Arc::new(MortalStores { stores: self.stores.clone(), life: Arc::clone(life) });
        let tools = ["look", "pay", "run_code"].map(|name| {
            let stays_here = self.scenario.stays_here && name != "pay";
            let downstream = Arc::clone(&self.downstream);
            let hand = Hand { name, stays_here, downstream, life: Arc::clone(life) };
            (name.to_owned(), Arc::new(hand) as Arc<dyn Tool>)
        });
        let rung = Arc::new(Notify::new());
        let workshop = Workshop {
            store: mortal.clone(),
            platform: mortal.clone(),
            models: Models::of(
                Arc::new(Oracle { turns: self.scenario.turns, life: Arc::clone(life) }),
                "oracle",
            ),
            tools: Resolver {
                built_in: Arc::new(BTreeMap::from(tools)),
                made: Arc::new(made(mortal.clone(), self.clock.clone())),
                maker: Arc::new(NoMaker),
            },
            bus: Arc::new(Bell { bus: MemoryEventBus::default(), rung: Arc::clone(&rung) }),
            clock: self.clock.clone(),
            ids: Arc::new(UuidV7Source),
            wake: Arc::new(Notify::new()),
            pulse: Pulse::new(self.clock.clone(), Duration::from_mins(1)),
            settings: Settings { poll_every: LOOK_EVERY, ..Settings::default() },
        };
        let going = Going { bus: Arc::clone(&workshop.bus), wake: Arc::clone(&workshop.wake) };
        let worker = Worker { workshop: Arc::new(workshop) };
        let working = tokio::spawn(worker.run(CancellationToken::new()));
        let has_ended = tokio::select! {
            () = life.end() => false,
            () = self.watch(&going, &rung) => true,
        };
        working.abort();
        let _ = working.await;
        life.settled().await;
        has_ended
    }

    /// Answers what is asked, until the run has ended. Looks when it is rung for.
    async fn watch(&self, going: &Going, rung: &Notify) {
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
            let _ = timeout(LOOK_EVERY, rung.notified()).await;
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
    pub(crate) async fn journal(&self) -> String {
        let mut view = self.stores.tenants.read(&self.principal.scope()).await.unwrap();
        let run = view.runs().find(self.run).await.unwrap();
        let events = view.runs().events(self.run, 0, 10_000).await.unwrap();
        format!("{run:#?} {events:#?}")
    }

    /// What the run left behind, and the runs that it has begun, and that their journals are sound.
    pub(crate) async fn outcome(&self) -> Outcome {
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
            self.explained_and_replayed(run, &version.definition, events);
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
            let may_repeat = ["look", "run_code"].iter().any(|tool| call.starts_with(tool));
            assert!(*count == 1 || may_repeat, "{call} took effect {count} times");
        }
        let effects = effects.into_keys().map(|call| (call, 1)).collect();
        let whose = Whose { agent: family[0].selection().agent, user: Some(self.principal.user_id()) };
        let memories = view.memories().all(whose).await.unwrap();
        let memories = memories.into_iter().map(|memory| memory.text.as_str().to_owned()).collect();
        let summary = self.summary(&mut *view).await;
        Outcome { answer, runs: family.len(), steps, effects, memories, summary }
    }

    /// What the run has left with its thread: all that it was to summarise.
    async fn summary(&self, view: &mut dyn TenantView) -> Option<Summary> {
        let thread = view.threads().find(self.thread?).await.unwrap().unwrap();
        assert_eq!(thread.summary.as_ref().map(|summary| summary.through), Some(1));
        let turns = view.threads().turns(thread.id, 0, 100).await.unwrap();
        assert_eq!(turns.last().map(|taken| taken.run), Some(self.run), "it is a turn of the thread");
        assert_eq!(turns.len(), KEPT_TURNS + 2, "once");
        thread.summary
    }

    /// Whatever happened to a run, its journal tells what it cost, and replays.
    fn explained_and_replayed(&self, run: &Run, definition: &Definition, events: Vec<RunEvent>) {
        let told = explain(run, &events);
        assert_eq!(told.cost.used, told.cost.steps.plus(told.cost.lost_and_counted()), "{told:#?}");
        let made = made(self.stores.tenants.clone(), self.clock.clone());
        let offered = |name: &String| made.get(name).map_or_else(|| spec(name), |factory| factory.spec());
        let offered: Vec<ToolSpec> = definition.tools.iter().map(offered).collect();
        let said_before = conversation(&events).cloned().unwrap_or_default();
        let brief = Brief::of(run, definition, offered).after(said_before);
        let replayed = replay(&Recording::of(definition.strategy.clone(), brief, events));
        assert_eq!((replayed.difference, replayed.hash), (None, told.hash));
        assert_eq!(replayed.steps.len(), told.steps.len());
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

/// The tools that are made for each run.
fn made(store: Arc<dyn TenantStore>, clock: Arc<Later>) -> Factories {
    let remembrance =
        Remembrance { store, clock: clock.clone(), ids: Arc::new(UuidV7Source), embedding: None };
    let keeper = Keeper { sealer: Arc::new(Labelled), clock, kept: TimeDelta::days(1) };
    let search = MemorySearch { remembrance: remembrance.clone() };
    let apply = MemoryApply { remembrance, keeper };
    BTreeMap::from([
        ("memory_search".into(), Arc::new(search) as _),
        ("memory_apply".into(), Arc::new(apply) as _),
    ])
}

/// The run as the last of a conversation, the oldest turn of which has to be summarised.
async fn continued(tx: &mut dyn TenantTx, run: Run) -> Run {
    let now = run.created_at();
    let id = ThreadId::from_uuid(UuidV7Source.next());
    let mut thread = Thread::begin(id, run.requested_by(), None, now);
    tx.threads().add(&thread).await.unwrap();
    for turn in 0..=KEPT_TURNS {
        let (id, task) =
            (RunId::from_uuid(UuidV7Source.next()), Task::new(format!("Question {turn}")).unwrap());
        let before = Run::accept(id, run.requested_by(), task, run.selection().clone(), *run.limits(), now);
        let place;
        (thread, place) = thread.continued(id, now).unwrap();
        let answer = if turn == 0 { "long ".repeat(MAX_TOKENS) } else { format!("Answer {turn}") };
        let before = before.in_thread(place).start(now).unwrap().succeed(answer, now).unwrap();
        tx.runs().add(&before).await.unwrap();
        tx.threads().update(&thread).await.unwrap();
    }
    let (thread, place) = thread.continued(run.id(), now).unwrap();
    tx.threads().update(&thread).await.unwrap();
    run.in_thread(place)
}

/// The event bus of a process, which rings for whoever watches.
struct Bell {
    bus: MemoryEventBus,
    rung: Arc<Notify>,
}

#[async_trait]
impl EventBus for Bell {
    async fn publish(&self, scope: &TenantScope, news: RunNews) {
        self.bus.publish(scope, news).await;
        self.rung.notify_one();
    }

    async fn subscribe(&self, scope: &TenantScope, run: RunId) -> BoxStream<'static, RunNews> {
        self.bus.subscribe(scope, run).await
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
                other => nameless(&format!("{other:?}")),
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

/// A text without the ids of memories, which differ from time to time.
fn nameless(text: &str) -> String {
    let mut parts = text.split("memory_");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |told, part| {
        let is_id = part.starts_with('0') && part.is_char_boundary(26);
        told + "memory_" + if is_id { &part[26..] } else { part }
    })
}
