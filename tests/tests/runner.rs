//! The runner on a real store, with a scripted model: limits, time-outs, tools that misbehave, several workers.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use powerhouse_domain::access::{Principal, Role, TenantScope};
use powerhouse_domain::agents::{Agent, Definition};
use powerhouse_domain::effects::EffectOutcome;
use powerhouse_domain::idempotency::CallKey;
use powerhouse_domain::ids::{AgentId, RunId, SessionId, StepId, TenantId, UserId};
use powerhouse_domain::runs::{
    ApprovalRule, ApprovalRules, Condition, Consequence, EventBody, Placement, Run, RunLimits, RunState,
    Step, StepKind, Task,
};
use powerhouse_domain::selection::Target;
use powerhouse_domain::strategies::{AgentKind, Strategy};
use powerhouse_domain::tenants::{Plan, Tenant};
use powerhouse_domain::tools::{ToolCall, ToolOutput, ToolSpec};
use powerhouse_domain::users::{Membership, User};
use powerhouse_memory::{MemoryEventBus, SystemClock, UuidV7Source};
use powerhouse_models::{Scripted, ScriptedModel};
use powerhouse_ports::clock::{Clock as _, IdSource as _};
use powerhouse_ports::models::ModelError;
use powerhouse_ports::platform::PlatformStore as _;
use powerhouse_ports::store::{Limit, TenantStore};
use powerhouse_ports::tools::Tool;
use powerhouse_sqlite::SqliteStore;
use powerhouse_tests::no_maker::NoMaker;
use powerhouse_usecases::Once;
use powerhouse_usecases::models::Models;
use powerhouse_usecases::runner::{Pulse, Settings, Worker, Workshop};
use powerhouse_usecases::runs::{ExplainRun, ReadRun, ReadSteps, SubmitRun, SubmitRunCommand};
use powerhouse_usecases::tools::Resolver;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

fn spec(tool: &str) -> ToolSpec {
    ToolSpec { name: tool.into(), description: String::new(), parameters: json!({"type": "object"}) }
}

/// A tool that answers late, at length, or not at all. Calls of `pending` stay in the process, and it tells of them.
struct Odd(&'static str, Arc<Notify>);

#[async_trait]
impl Tool for Odd {
    fn spec(&self) -> ToolSpec {
        spec(self.0)
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    fn leaves_the_process(&self) -> bool {
        self.0 != "pending"
    }

    async fn call(&self, _: &CallKey, _: &Value) -> ToolOutput {
        match self.0 {
            "stuck" => std::future::pending().await,
            "pending" => {
                self.1.notify_one();
                std::future::pending().await
            }
            "long" => ToolOutput::ok("x".repeat(1 << 20)),
            _ => panic!("the tool panics"),
        }
    }
}

/// A tool that tells how many steps of the tenant's only run had ended, and how many were begun, as the journal had it when it was called. Calls of
/// `look_far` leave the process; `meddle` has further calls of it refused.
struct Look {
    name: &'static str,
    scope: TenantScope,
    store: Arc<SqliteStore>,
}

#[async_trait]
impl Tool for Look {
    fn spec(&self) -> ToolSpec {
        spec(self.name)
    }

    fn is_safe_to_repeat(&self) -> bool {
        true
    }

    fn leaves_the_process(&self) -> bool {
        self.name == "look_far"
    }

    async fn call(&self, _: &CallKey, _: &Value) -> ToolOutput {
        if self.name == "meddle" {
            refuse(&*self.store, &self.scope, self.name).await;
        }
        let mut view = self.store.read(&self.scope).await.unwrap();
        let run = view.runs().list(None, None, Limit::default()).await.unwrap().items.remove(0);
        let events = view.runs().events(run.id(), 0, 1_000).await.unwrap();
        let count = |is: fn(&EventBody) -> bool| events.iter().filter(|event| is(&event.body)).count();
        let ended = count(|body| matches!(body, EventBody::StepEnded { .. }));
        ToolOutput::ok(format!("{ended} of {} have ended", count(is_begun)))
    }
}

/// Has a rule of the tenant refuse all calls of a tool.
async fn refuse(store: &dyn TenantStore, scope: &TenantScope, tool: &str) {
    let rule = ApprovalRule::new(tool.parse().unwrap(), Vec::new(), "not now".into()).unwrap();
    let rule = rule.that(Condition::Always, Consequence::Refuse);
    let mut tx = store.begin(scope).await.unwrap();
    tx.approval_rules().replace(&ApprovalRules::default().replaced(vec![rule]).unwrap()).await.unwrap();
    tx.commit().await.unwrap();
}

const TOOLS: [&str; 7] = ["long", "look", "look_far", "meddle", "panics", "pending", "stuck"];

/// A tenant with one agent, and workers on one store.
struct Scene {
    _folder: TempDir,
    workshop: Arc<Workshop>,
    wake: Arc<Notify>,
    /// Rung when `pending` is called.
    called: Arc<Notify>,
    principal: Principal,
    agent: AgentId,
    stop: CancellationToken,
    workers: Vec<JoinHandle<()>>,
}

impl Scene {
    async fn new(kind: AgentKind, limits: RunLimits, model: Arc<ScriptedModel>) -> Self {
        Self::of(Strategy::from_parameters(kind, &json!({})).unwrap(), limits, model).await
    }

    async fn of(strategy: Strategy, limits: RunLimits, model: Arc<ScriptedModel>) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("powerhouse.db")).await.unwrap());
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(UuidV7Source));
        let (tenant_id, user_id) = (TenantId::from_uuid(ids.next()), UserId::from_uuid(ids.next()));
        let now = clock.now();
        let tenant =
            Tenant::found(tenant_id, "acme".parse().unwrap(), "Acme".parse().unwrap(), Plan::Enterprise, now);
        let user = User::register(user_id, "ada@example.org".parse().unwrap(), "Ada".parse().unwrap(), now);
        let membership = Membership::new(tenant_id, user_id, Role::Owner, now);
        store.provision(&tenant, &user, &membership, "hash").await.unwrap();
        let session = SessionId::from_uuid(ids.next());
        let principal = Principal::verified(tenant_id, user_id, session, Role::Owner);

        let definition = Definition {
            description: "Works".into(),
            strategy,
            instructions: String::new(),
            model: None,
            tools: TOOLS.map(str::to_owned).into(),
            capabilities: Vec::new(),
            approvals: Vec::new(),
            examples: Vec::new(),
            limits,
            max_concurrent_runs: Some(5),
            formation: None,
            agents: Vec::new(),
        };
        let agent = AgentId::from_uuid(ids.next());
        let draft = Agent::draft(agent, "worker".parse().unwrap(), definition, now).unwrap();
        let mut tx = store.begin(&principal.scope()).await.unwrap();
        tx.agents().add(&draft.publish(now).unwrap()).await.unwrap();
        tx.commit().await.unwrap();

        let scope = principal.scope();
        let called = Arc::new(Notify::new());
        let tools = TOOLS.map(|name| -> (String, Arc<dyn Tool>) {
            let tool: Arc<dyn Tool> = match name {
                "look" | "look_far" | "meddle" => Arc::new(Look { name, scope, store: Arc::clone(&store) }),
                name => Arc::new(Odd(name, Arc::clone(&called))),
            };
            (name.to_owned(), tool)
        });
        let settings = Settings { tool_timeout: Duration::from_millis(100), ..Settings::default() };
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let workshop = Arc::new(Workshop {
            platform: store.clone(),
            store,
            models: Models::of(model, "scripted"),
            tools: Resolver {
                built_in: Arc::new(BTreeMap::from(tools)),
                made: Arc::default(),
                maker: Arc::new(NoMaker),
            },
            bus: Arc::new(MemoryEventBus::default()),
            clock,
            ids,
            wake: Arc::clone(&wake),
            pulse: Pulse::new(Arc::new(SystemClock), Duration::from_mins(1)),
            settings,
        });
        Self { _folder: folder, workshop, wake, called, principal, agent, stop, workers: Vec::new() }
    }

    fn start_worker(&mut self) {
        let worker = Worker { workshop: Arc::clone(&self.workshop) };
        self.workers.push(tokio::spawn(worker.run(self.stop.clone())));
    }

    async fn submit(&self) -> RunId {
        self.place(Placement::default()).await.id()
    }

    async fn place(&self, placement: Placement) -> Run {
        let Workshop { store, bus, clock, ids, .. } = &*self.workshop;
        let submit = SubmitRun {
            store: Arc::clone(store),
            selectors: Arc::default(),
            tools: Arc::default(),
            bus: Arc::clone(bus),
            wake: Arc::clone(&self.wake),
            clock: Arc::clone(clock),
            ids: Arc::clone(ids),
        };
        let (task, target) = (Task::new("Work").unwrap(), Target::Agent(self.agent));
        submit
            .execute(
                &self.principal,
                SubmitRunCommand { task, target, formation: None, thread: None, placement },
                &Once::unkeyed(),
            )
            .await
            .unwrap()
    }

    async fn ended(&self, id: RunId) -> Run {
        let read = ReadRun { store: Arc::clone(&self.workshop.store) };
        timeout(Duration::from_secs(20), async {
            loop {
                let run = read.execute(&self.principal, id).await.unwrap();
                if run.state().name().is_final() {
                    return run;
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the run ends")
    }

    async fn journal(&self, id: RunId) -> Vec<EventBody> {
        let mut tx = self.workshop.store.begin(&self.principal.scope()).await.unwrap();
        let events = tx.runs().events(id, 0, 1_000).await.unwrap();
        events.into_iter().map(|event| event.body).collect()
    }

    async fn stop_workers(&mut self) {
        self.stop.cancel();
        for worker in self.workers.drain(..) {
            timeout(Duration::from_secs(5), worker).await.expect("the worker stops").unwrap();
        }
    }

    async fn leave(mut self) {
        self.stop_workers().await;
    }
}

fn limits() -> RunLimits {
    RunLimits { steps: 50, tokens: 100_000, cost_micros: 0, wall_clock: Duration::from_mins(1) }
}

fn call(name: &str) -> Scripted {
    Scripted::call([ToolCall { id: "c".into(), name: name.into(), arguments: "{}".into() }])
}

fn failure(run: &Run) -> (&str, &str) {
    match run.state() {
        RunState::Failed { failure, .. } => (&failure.code, &failure.message),
        other => panic!("it has not failed: {other:?}"),
    }
}

async fn alone(kind: AgentKind, limits: RunLimits, turns: Vec<Scripted>) -> (Scene, Run, Arc<ScriptedModel>) {
    alone_with(Strategy::from_parameters(kind, &json!({})).unwrap(), limits, turns).await
}

async fn alone_with(
    strategy: Strategy,
    limits: RunLimits,
    turns: Vec<Scripted>,
) -> (Scene, Run, Arc<ScriptedModel>) {
    let model = Arc::new(ScriptedModel::new(turns));
    let mut scene = Scene::of(strategy, limits, Arc::clone(&model)).await;
    scene.start_worker();
    let id = scene.submit().await;
    let run = scene.ended(id).await;
    (scene, run, model)
}

#[tokio::test]
async fn a_tool_that_hangs_talks_too_much_or_panics_is_an_observation() {
    let turns = vec![call("stuck"), call("long"), call("unknown"), call("panics"), Scripted::say("Done.")];
    let (scene, run, model) = alone(AgentKind::React, limits(), turns).await;
    assert!(matches!(run.state(), RunState::Succeeded { answer, .. } if answer == "Done."), "{run:?}");
    let prompts: Vec<String> =
        model.asked().iter().map(|(_, request)| serde_json::to_string(request).unwrap()).collect();
    assert!(prompts[1].contains("took longer than"));
    assert!(prompts[2].contains("[cut: the output was longer]") && prompts[2].len() < 200_000);
    assert!(prompts[3].contains("there is no tool `unknown`"));
    assert!(prompts[4].contains("the tool failed"));
    scene.leave().await;
}

/// The rules that the first call was decided by are at hand for the second; that they hold no more, its write finds out.
#[tokio::test]
async fn a_rule_that_comes_while_a_run_works_holds_for_its_next_call_and_nothing_is_done_twice() {
    let model = Arc::new(ScriptedModel::new([call("stuck"), call("long"), Scripted::say("Done.")]));
    let mut scene = Scene::new(AgentKind::React, limits(), Arc::clone(&model)).await;
    let id = scene.submit().await;
    scene.start_worker();
    while model.asked().is_empty()
        || scene.journal(id).await.iter().filter(|event| is_begun(event)).count() < 2
    {
        sleep(Duration::from_millis(2)).await;
    }
    refuse(&*scene.workshop.store, &scene.principal.scope(), "long").await;

    let run = scene.ended(id).await;
    assert!(matches!(run.state(), RunState::Succeeded { answer, .. } if answer == "Done."), "{run:?}");
    assert_eq!(model.asked().len(), 3, "no call was made again");
    let journal = scene.journal(id).await;
    let drives = journal.iter().filter(|event| matches!(event, EventBody::Started { .. })).count();
    assert_eq!((drives, journal.iter().filter(|event| is_begun(event)).count()), (2, 5));
    assert!(
        serde_json::to_string(&model.asked()[2].1).unwrap().contains("a rule of the tenant does not allow")
    );
    scene.leave().await;
}

#[tokio::test]
async fn a_call_that_stays_in_the_process_is_written_with_what_follows() {
    let turns = vec![call("look"), call("look_far"), call("look"), call("look"), Scripted::say("Done.")];
    let (scene, run, _) = alone(AgentKind::React, limits(), turns).await;
    let journal = scene.journal(run.id()).await;
    let looked: Vec<_> = journal
        .iter()
        .filter_map(|event| match event {
            EventBody::StepEnded { outcome: EffectOutcome::Tool(output), .. } => {
                Some(output.content.as_str())
            }
            _ => None,
        })
        .collect();
    // The first step is the model's, and of each turn but the second neither its end nor the call is written.
    let seen = ["0 of 1", "3 of 4", "4 of 5", "6 of 7"].map(|seen| format!("{seen} have ended"));
    assert_eq!(looked, seen);
    assert_eq!(journal.iter().filter(|event| is_begun(event)).count(), 9);
    scene.leave().await;
}

#[tokio::test]
async fn a_process_that_stops_in_such_a_call_keeps_what_the_model_said() {
    let model = Arc::new(ScriptedModel::new([call("pending"), Scripted::say("Done.")]));
    let mut scene = Scene::new(AgentKind::React, limits(), Arc::clone(&model)).await;
    let id = scene.submit().await;
    scene.start_worker();
    scene.called.notified().await;
    scene.stop_workers().await;
    let is_model =
        |event: &EventBody| matches!(event, EventBody::StepEnded { outcome: EffectOutcome::Model(_), .. });
    assert_eq!(scene.journal(id).await.iter().filter(|event| is_model(event)).count(), 1);
    scene.stop = CancellationToken::new();
    scene.start_worker();
    let run = scene.ended(id).await;
    assert!(matches!(run.state(), RunState::Succeeded { answer, .. } if answer == "Done."), "{run:?}");
    assert!(serde_json::to_string(&model.asked()[1].1).unwrap().contains("took longer than"));
    scene.leave().await;
}

/// What was kept back of a run that is at its end is not written with the end of it, which may not come to be.
#[tokio::test]
async fn a_rule_that_comes_in_such_a_call_leaves_a_run_with_its_end() {
    let turns = vec![call("meddle"), Scripted::say("Done.")];
    let (scene, run, _) = alone(AgentKind::React, RunLimits { steps: 2, ..limits() }, turns).await;
    assert_eq!(failure(&run).0, "limit_reached");
    let journal = scene.journal(run.id()).await;
    assert!(journal.last().unwrap().is_final(), "{journal:#?}");
    let is_refused = |event: &&EventBody| match event {
        EventBody::StepEnded { outcome: EffectOutcome::Tool(output), .. } => {
            output.content.contains("a rule of the tenant does not allow")
        }
        _ => false,
    };
    assert_eq!(journal.iter().filter(is_refused).count(), 1, "{journal:#?}");
    scene.leave().await;
}

fn is_begun(event: &EventBody) -> bool {
    matches!(event, EventBody::StepStarted { .. })
}

#[tokio::test]
async fn a_strategy_may_wish_for_another_model_than_the_agents() {
    let turns = ["41", r#"{"reason":"","score":2}"#, "42"].map(Scripted::say).into();
    let cascade = Strategy::from_parameters(AgentKind::Cascade, &json!({"models": ["small"]})).unwrap();
    let (scene, run, model) = alone_with(cascade, limits(), turns).await;
    assert!(matches!(run.state(), RunState::Succeeded { answer, .. } if answer == "42"), "{run:?}");
    let asked: Vec<String> = model.asked().into_iter().map(|(name, _)| name).collect();
    assert_eq!(asked, ["small", "small", "scripted"]);
    let journal = scene.journal(run.id()).await;
    let reserved: Vec<_> = journal
        .iter()
        .filter_map(|event| match event {
            EventBody::StepStarted { reservation, .. } => Some(reservation.as_ref().unwrap().model.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(reserved, asked);
    scene.leave().await;
}

#[tokio::test]
async fn a_run_takes_no_more_steps_tokens_or_time_than_it_may() {
    let again = || (0..9).map(|_| call("unknown")).collect::<Vec<_>>();
    let (scene, run, model) = alone(AgentKind::React, RunLimits { steps: 3, ..limits() }, again()).await;
    assert_eq!(failure(&run).0, "limit_reached");
    assert_eq!(model.asked().len(), 3);
    scene.leave().await;

    let long = vec![Scripted::say("word ".repeat(2_000)), Scripted::say("done")];
    let limited = RunLimits { tokens: 1_000, ..limits() };
    let (scene, run, model) = alone(AgentKind::ChainOfThought, limited, long).await;
    // The text is cut where the tokens end.
    assert_eq!((failure(&run).0, model.asked().len()), ("reply_truncated", 1));
    assert!(model.asked()[0].1.max_output_tokens.is_some_and(|most| most < 1_000));
    scene.leave().await;

    let slow = vec![Scripted::say("late").after(Duration::from_mins(1))];
    let limited = RunLimits { wall_clock: Duration::from_secs(1), ..limits() };
    let (scene, run, _) = alone(AgentKind::Direct, limited, slow).await;
    assert!(matches!(run.state(), RunState::TimedOut { .. }), "{run:?}");
    scene.leave().await;
}

/// By the deadline a run has ended, also when it was claimed after it, or its limit of wall clock is further off.
#[tokio::test]
async fn a_deadline_ends_a_run_while_it_works_and_before() {
    let model = Arc::new(ScriptedModel::new([Scripted::say("late").after(Duration::from_mins(1))]));
    let mut scene = Scene::new(AgentKind::Direct, limits(), Arc::clone(&model)).await;
    let within = |millis| Placement {
        deadline: Some(scene.workshop.clock.now() + TimeDelta::milliseconds(millis)),
        agent_limit: Some(99),
        ..Placement::default()
    };
    let too_late = scene.place(within(50)).await;
    assert_eq!(too_late.placement().agent_limit, Some(5), "the definition says how many, and not the caller");
    sleep(Duration::from_millis(60)).await;
    let in_time = scene.place(within(1_000)).await.id();
    scene.start_worker();
    for id in [too_late.id(), in_time] {
        let run = scene.ended(id).await;
        assert!(matches!(run.state(), RunState::TimedOut { .. }), "{run:?}");
    }
    assert_eq!(model.asked().len(), 1, "nothing is asked for after the deadline");
    scene.leave().await;
}

#[tokio::test]
async fn a_delayed_run_begins_when_it_may() {
    let model = Arc::new(ScriptedModel::new([Scripted::say("done")]));
    let mut scene = Scene::new(AgentKind::Direct, limits(), model).await;
    scene.start_worker();
    let not_before = scene.workshop.clock.now() + TimeDelta::milliseconds(700);
    let run = scene.place(Placement { not_before: Some(not_before), ..Placement::default() }).await;
    let run = scene.ended(run.id()).await;
    assert!(run.state().started_at() >= Some(not_before), "{run:?}");
    scene.leave().await;
}

#[tokio::test]
async fn what_a_failing_model_costs_the_run_is_its_end() {
    let down = ModelError::Unavailable { retry_after: None, source: "sk-canary".into() };
    let (scene, run, _) = alone(AgentKind::Direct, limits(), vec![Scripted::fail(down)]).await;
    assert_eq!(
        failure(&run),
        ("model_unavailable", "the model's provider is overloaded or cannot be reached: try again later")
    );
    let journal = scene.journal(run.id()).await;
    assert!(matches!(journal.last(), Some(EventBody::Failed { code, .. }) if code == "model_unavailable"));
    assert!(!format!("{journal:?}").contains("canary"), "causes are for the log only");
    scene.leave().await;
}

#[tokio::test]
async fn a_reply_without_its_form_is_sent_back_once_and_both_are_paid_for() {
    let turns = ["41", "Hm, off by one", r#"{"accept":true,"issues":[]}"#].map(Scripted::say);
    let (scene, run, model) = alone(AgentKind::Reflection, limits(), turns.into()).await;
    assert!(matches!(run.state(), RunState::Succeeded { answer, .. } if answer == "41"), "{run:?}");
    let explained = ExplainRun { store: Arc::clone(&scene.workshop.store) };
    let (_, explanation) = explained.execute(&scene.principal, run.id()).await.unwrap();
    let told: Vec<_> =
        explanation.steps.iter().map(|step| (step.key.to_string(), step.kind.clone())).collect();
    let purposes = [("0", "draft"), ("1", "critique"), ("1.0", "repair_critique")];
    assert_eq!(
        told,
        purposes.map(|(key, purpose)| (key.to_owned(), StepKind::Model { purpose: purpose.into() }))
    );
    let paid: Vec<u64> = explanation.steps.iter().map(|step| step.usage().total_tokens()).collect();
    assert!(paid.iter().all(|tokens| *tokens > 0), "{paid:?}");
    assert_eq!(paid.iter().sum::<u64>(), run.usage().total_tokens());
    let (_, repair) = &model.asked()[2];
    let told = serde_json::to_string(&repair.messages).unwrap();
    assert!(told.contains("Hm, off by one") && told.contains("it is no JSON"), "{told}");
    scene.leave().await;
}

#[tokio::test]
async fn a_reply_that_is_no_better_ends_the_run_where_its_form_is_needed_and_only_there() {
    let (scene, run, model) =
        alone(AgentKind::PlanAndExecute, limits(), ["no", "still no"].map(Scripted::say).into()).await;
    let (code, message) = failure(&run);
    assert_eq!((code, model.asked().len()), ("reply_unusable", 2), "{message}");
    assert!(message.contains("plan"), "{message}");
    scene.leave().await;

    // A critique in prose is one too.
    let turns = ["41", "Off by one.", "It is off by one.", "42", r#"{"accept":true,"issues":[]}"#];
    let (scene, run, _) = alone(AgentKind::Reflection, limits(), turns.map(Scripted::say).into()).await;
    assert!(matches!(run.state(), RunState::Succeeded { answer, .. } if answer == "42"), "{run:?}");
    scene.leave().await;
}

#[tokio::test]
async fn the_steps_of_a_run_add_up_to_its_usage() {
    let turns = ["pro", "con", "pro again", "con again", "verdict"].map(Scripted::say);
    let (scene, run, model) = alone(AgentKind::Debate, limits(), turns.into()).await;
    assert!(matches!(run.state(), RunState::Succeeded { .. }));
    let steps = ReadSteps { store: Arc::clone(&scene.workshop.store) };
    let steps = steps.execute(&scene.principal, run.id()).await.unwrap();
    assert_eq!((steps.len(), model.asked().len()), (5, 5));
    let total: u64 = steps.iter().map(|step| step.usage().total_tokens()).sum();
    assert_eq!(total, run.usage().total_tokens());
    let distinct: std::collections::BTreeSet<StepId> = steps.iter().map(Step::id).collect();
    assert_eq!(distinct.len(), 5);
    scene.leave().await;
}

#[tokio::test]
async fn several_workers_share_a_queue_and_do_nothing_twice() {
    const RUNS: usize = 40;
    let turns = (0..RUNS).map(|n| Scripted::say(format!("{n}")).after(Duration::from_millis(3)));
    let model = Arc::new(ScriptedModel::new(turns));
    let mut scene = Scene::new(AgentKind::Direct, limits(), Arc::clone(&model)).await;
    for _ in 0..3 {
        scene.start_worker();
    }
    let mut ids = Vec::new();
    for _ in 0..RUNS {
        ids.push(scene.submit().await);
    }
    let mut answers = std::collections::BTreeSet::new();
    for id in ids {
        match scene.ended(id).await.state() {
            RunState::Succeeded { answer, .. } => {
                assert!(answers.insert(answer.clone()), "{answer} came twice");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(model.asked().len(), RUNS);
    scene.leave().await;
}

/// A worker that stops hands its run back; the next one takes up the journal, and asks for nothing again.
#[tokio::test]
async fn another_worker_goes_on_after_the_steps_that_were_done() {
    let turns = [
        Scripted::say("reasoning"),
        Scripted::say("never heard").after(Duration::from_mins(1)),
        Scripted::say("answer"),
    ];
    let model = Arc::new(ScriptedModel::new(turns));
    let mut scene = Scene::new(AgentKind::ChainOfThought, limits(), Arc::clone(&model)).await;
    scene.start_worker();
    let id = scene.submit().await;
    timeout(Duration::from_secs(5), async {
        while model.asked().len() < 2 {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap();
    scene.stop.cancel();
    for worker in scene.workers.drain(..) {
        worker.await.unwrap();
    }
    scene.stop = CancellationToken::new();
    scene.start_worker();
    let run = scene.ended(id).await;
    assert!(matches!(run.state(), RunState::Succeeded { answer, .. } if answer == "answer"));
    let purposes: Vec<String> = model.asked().into_iter().map(|(_, request)| request.purpose).collect();
    assert_eq!(purposes, ["reason", "extract", "extract"]);
    let attempts = scene.journal(id).await;
    assert_eq!(attempts.iter().filter(|event| matches!(event, EventBody::Started { .. })).count(), 2);
    scene.leave().await;
}
