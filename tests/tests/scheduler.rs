//! The scheduler on a real store: runs that are there already, and schedules whose task is refused.

#![expect(clippy::unwrap_used, reason = "these are tests, also their helpers")]

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::ScheduleId;
use powerhouse_domain::runs::{Priority, Run, Task};
use powerhouse_domain::schedules::{
    CatchUp, Missed, Order, PauseReason, Plan, Schedule, ScheduleState, Timing,
};
use powerhouse_domain::selection::{self, Target};
use powerhouse_domain::tenants::Plan as TenantPlan;
use powerhouse_memory::{MemoryEventBus, UuidV7Source};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::{Limit, TenantStore as _};
use powerhouse_sqlite::SqliteStore;
use powerhouse_tests::contract::sample::{Office, agent, at, limits, next_id, office};
use powerhouse_usecases::runs::SubmitRun;
use powerhouse_usecases::schedules::Scheduler;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A clock that stands still.
struct Still(DateTime<Utc>);

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

struct Scene {
    _folder: TempDir,
    store: Arc<SqliteStore>,
    office: Office,
    agent: Agent,
}

impl Scene {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("powerhouse.db")).await.unwrap());
        let office = office(&*store, TenantPlan::Team).await;
        let agent = agent("helper");
        let mut tx = store.begin(&office.principal.scope()).await.unwrap();
        tx.agents().add(&agent).await.unwrap();
        tx.commit().await.unwrap();
        Self { _folder: folder, store, office, agent }
    }

    /// A schedule of every minute, made at second 0.
    async fn schedule(&self) -> Schedule {
        let order = Order {
            task: Task::new("Report").unwrap(),
            target: Target::Agent(self.agent.id()),
            priority: Priority::default(),
            within: None,
        };
        let plan = Plan {
            name: "report".parse().unwrap(),
            timing: Timing::new("* * * * *", "UTC").unwrap(),
            missed: Missed::CatchUp(CatchUp::new(3).unwrap()),
            order,
        };
        let id = ScheduleId::from_uuid(next_id());
        let schedule = Schedule::new(id, self.office.owner.id(), plan, at(0)).unwrap();
        let mut tx = self.store.begin(&self.office.principal.scope()).await.unwrap();
        tx.schedules().add(&schedule).await.unwrap();
        tx.commit().await.unwrap();
        schedule
    }

    /// The schedule once a scheduler has seen to it at this second.
    async fn fired(&self, schedule: &Schedule, second: i64) -> Schedule {
        let submit = SubmitRun {
            store: self.store.clone(),
            selectors: Arc::default(),
            tools: Arc::default(),
            bus: Arc::new(MemoryEventBus::default()),
            wake: Arc::new(Notify::new()),
            clock: Arc::new(Still(at(second))),
            ids: Arc::new(UuidV7Source),
        };
        let stop = CancellationToken::new();
        let scheduler = Scheduler { platform: self.store.clone(), submit };
        let working = tokio::spawn(scheduler.run(stop.clone()));
        let fired = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let mut view = self.store.read(&self.office.principal.scope()).await.unwrap();
                let found = view.schedules().find(schedule.id()).await.unwrap().unwrap();
                if found.version() > schedule.version() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let fired = fired.await.expect("it is seen to");
        stop.cancel();
        working.await.unwrap();
        fired
    }

    async fn runs(&self) -> Vec<Run> {
        let mut view = self.store.read(&self.office.principal.scope()).await.unwrap();
        view.runs().list(None, None, Limit::default()).await.unwrap().items
    }
}

/// Somebody else has made one of the runs: the others are made, it is not made again, and the schedule goes on.
#[tokio::test]
async fn a_run_that_is_there_already_is_no_failure() {
    let scene = Scene::new().await;
    let schedule = scene.schedule().await;
    let made = schedule.run_of(at(120));
    let selection = selection::named(scene.agent.id(), 1);
    let task = Task::new("made by another").unwrap();
    let run = Run::accept(made, scene.office.owner.id(), task, selection, limits(), at(120));
    let mut tx = scene.store.begin(&scene.office.principal.scope()).await.unwrap();
    tx.runs().add(&run).await.unwrap();
    tx.commit().await.unwrap();

    let fired = scene.fired(&schedule, 185).await;
    assert_eq!(fired.next_at(), Some(at(240)));
    assert_eq!(fired.last().map(|last| (last.at, last.run)), Some((at(180), schedule.run_of(at(180)))));
    let runs = scene.runs().await;
    let expected = [180, 120, 60].map(|second| schedule.run_of(at(second)));
    assert_eq!(runs.iter().map(Run::id).collect::<Vec<_>>(), expected);
    assert_eq!(runs[1].task().as_str(), "made by another");
    assert!(runs.iter().all(|run| run.requested_by() == scene.office.owner.id()));
}

/// A task that is refused pauses its schedule, which says why, and makes none of the runs.
#[tokio::test]
async fn a_refused_task_pauses_its_schedule() {
    let scene = Scene::new().await;
    let schedule = scene.schedule().await;
    let mut tx = scene.store.begin(&scene.office.principal.scope()).await.unwrap();
    tx.agents().update(&scene.agent.clone().archive(at(3)).unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    let paused = scene.fired(&schedule, 65).await;
    let ScheduleState::Paused { reason: PauseReason::Refused(why), since } = paused.state() else {
        panic!("{paused:?}")
    };
    assert_eq!((why.as_str(), *since), ("the agent has no published version", at(65)));
    assert!(scene.runs().await.is_empty());
}
