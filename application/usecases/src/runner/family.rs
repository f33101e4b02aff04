//! The runs that a drive's run begins, and what comes of them. A run that waits for others is nobody's: it takes no room, and
//! the end of each lets it go on.

use std::collections::{BTreeMap, BTreeSet};

use powerhouse_domain::access::{CreateRun, Role};
use powerhouse_domain::agents::Definition;
use powerhouse_domain::effects::{Barred, EffectKey, EffectOutcome, SubRunOutput, SubRunRequest};
use powerhouse_domain::ids::RunId;
use powerhouse_domain::model::Usage;
use powerhouse_domain::runs::{
    EventBody, Formation, Placement, Run, RunEvent, RunLimits, RunState, Selection, StepKind, Task,
};
use powerhouse_domain::selection;
use powerhouse_ports::events::RunNews;
use powerhouse_ports::store::{StoreError, TenantTx, TenantView};

use super::drive::Drive;
use crate::measure::run_submitted;
use crate::runs::stop_begun;
use crate::users::role_now;

/// A run that is to be begun, under the id that the journal has for it.
pub(super) struct WantedRun {
    pub(super) key: EffectKey,
    pub(super) id: RunId,
    pub(super) request: SubRunRequest,
}

/// A run that was begun and has not ended.
struct Child {
    run: RunId,
    limits: RunLimits,
}

/// The runs that were begun and have not ended.
#[derive(Default)]
pub(super) struct Children(BTreeMap<EffectKey, Child>);

impl Children {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn ids(&self) -> Vec<RunId> {
        self.0.values().map(|child| child.run).collect()
    }

    /// The most that they may use.
    pub(super) fn lent(&self) -> Usage {
        let most = |limits: &RunLimits| Usage::of_tokens(limits.tokens, 0).at_cost(limits.cost_micros);
        self.0.values().map(|child| most(&child.limits)).sum()
    }
}

impl Drive {
    /// Begins what is wanted, or finds what was begun before. Whether something has its outcome already.
    pub(super) async fn begin_runs(&mut self, wanted: Vec<WantedRun>) -> Result<bool, StoreError> {
        if wanted.is_empty() {
            return Ok(false);
        }
        self.has_begun_runs = true;
        let scope = self.lease.scope();
        let mut tx = self.workshop.store.begin(&scope).await?;
        // Whoever ends this run waits, and then finds what it has begun; or was first, and nothing is begun.
        tx.runs().record(&self.lease, &self.run, &[]).await?;
        let role = role_now(&mut *tx, self.run.requested_by()).await?;
        let parts = u32::try_from(wanted.len()).unwrap_or(u32::MAX).saturating_add(1);
        let share = self.run.limits().part_of_the_rest(self.run.usage().plus(self.children.lent()), parts);
        let (mut begun, mut outcomes) = (Vec::new(), Vec::new());
        for WantedRun { key, id, request } in wanted {
            let run = match tx.runs().find(id).await? {
                Some(run) => Ok(run),
                None => self.begin_one(&mut *tx, id, request, role, share).await?,
            };
            match run {
                Ok(run) if run.state().name().is_final() => outcomes.push((key, output(&run))),
                Ok(run) => begun.push((key, Child { run: run.id(), limits: *run.limits() })),
                Err(refused) => outcomes.push((key, refused)),
            }
        }
        tx.commit().await?;
        for (_, Child { run, .. }) in &begun {
            self.workshop.bus.publish(&scope, RunNews { run: *run, seq: 1 }).await;
        }
        self.workshop.wake.notify_one();
        self.children.0.extend(begun);
        let has_settled = !outcomes.is_empty();
        for (key, output) in outcomes {
            self.settle(&key, EffectOutcome::Run(output));
        }
        Ok(has_settled)
    }

    /// Begins a run; or what stands in for its outcome when it cannot begin. Whoever asked for the first run of all must be
    /// permitted to run the agent, by the role that they have now, as if they had named it themselves (ADR 0048).
    async fn begin_one(
        &mut self,
        tx: &mut dyn TenantTx,
        id: RunId,
        SubRunRequest { agent, task }: SubRunRequest,
        role: Option<Role>,
        share: Option<RunLimits>,
    ) -> Result<Result<Run, SubRunOutput>, StoreError> {
        let refused = |why: String| Ok(Err(SubRunOutput::refused(why)));
        if !self.may_begin.contains(&agent) {
            return refused(format!("this agent may not have `{agent}` do anything"));
        }
        let Some(lineage) = self.run.next_lineage() else {
            return refused("runs may not begin each other any deeper".to_owned());
        };
        let Some(share) = share else {
            return refused("the run has nothing left for another one".to_owned());
        };
        let task = match Task::new(task) {
            Ok(task) => task,
            Err(error) => return refused(error.to_string()),
        };
        let found = match agent.parse() {
            Ok(name) => tx.agents().find_by_name(&name).await?,
            Err(_) => None,
        };
        let Some((found, version)) = found.as_ref().and_then(|found| Some((found.id(), found.runnable()?)))
        else {
            return refused(format!("there is no agent `{agent}` with a published version"));
        };
        let Some(role) = role else { return Ok(Err(SubRunOutput::barred(&agent, Barred::Gone))) };
        let requester = self.lease.principal(self.run.requested_by(), role);
        let Ok(permit) = requester.permit::<CreateRun>(found) else {
            return Ok(Err(SubRunOutput::barred(&agent, Barred::Role(role))));
        };
        let reason = "named by the run that began it".into();
        let selection = Selection { reason, ..selection::named(permit.redeem(), version.number) }
            .after(version.definition.formation.as_ref());
        let limits = version.definition.limits.narrowed_by(&share);
        let placement = Placement {
            not_before: None,
            agent_limit: version.definition.max_concurrent_runs,
            ..*self.run.placement()
        };
        let now = self.workshop.clock.now();
        let run = Run::accept(id, self.run.requested_by(), task, selection, limits, now)
            .placed(placement)
            .begun_by(lineage)
            .admitted_as(role);
        tx.runs().add(&run).await?;
        run_submitted();
        Ok(Ok(run))
    }

    /// Takes over what came of runs that have ended. Whether any has.
    pub(super) async fn look_at_children(&mut self) -> Result<bool, StoreError> {
        if self.children.is_empty() {
            return Ok(false);
        }
        let mut view = self.workshop.store.read(&self.lease.scope()).await?;
        let ended = view.runs().ended_among(&self.children.ids()).await?;
        drop(view);
        Ok(self.take_ends(&ended))
    }

    /// Takes over what came of these runs. Whether there were any.
    pub(super) fn take_ends(&mut self, ended: &[Run]) -> bool {
        for run in ended {
            let key = self.children.0.iter().find(|(_, child)| child.run == run.id());
            if let Some(key) = key.map(|(key, _)| key.clone()) {
                self.children.0.remove(&key);
                self.settle(&key, EffectOutcome::Run(output(run)));
            }
        }
        !ended.is_empty()
    }

    /// Whether the run has become one that [`is_orphan`].
    pub(super) async fn is_orphaned(&mut self) -> Result<bool, StoreError> {
        if self.run.lineage().is_none() {
            return Ok(false);
        }
        let mut view = self.workshop.store.read(&self.lease.scope()).await?;
        is_orphan(&mut *view, &self.run).await
    }

    /// After the run has ended: tells the one that began it, and stops those that it has begun.
    pub(super) async fn leave_family(&mut self) {
        let (workshop, scope) = (&self.workshop, self.lease.scope());
        let going = workshop.going();
        going.tell_parent(&scope, &self.run).await;
        if self.has_begun_runs {
            stop_begun(&*workshop.store, &going, &*workshop.clock, &scope, &self.run).await;
        }
    }
}

/// Whether the run that began this one has ended, or is gone.
pub(super) async fn is_orphan(view: &mut dyn TenantView, run: &Run) -> Result<bool, StoreError> {
    let Some(lineage) = run.lineage() else { return Ok(false) };
    let parent = view.runs().find(lineage.parent).await?;
    Ok(parent.is_none_or(|parent| parent.state().name().is_final()))
}

/// The agents that the definition lists, and those of the run's formation.
pub(super) fn may_begin(definition: &Definition, run: &Run) -> BTreeSet<String> {
    let listed = definition.agents.iter().map(|agent| &agent.name);
    let formation = run.selection().formation.iter().flat_map(Formation::agents);
    listed.chain(formation).map(|name| name.as_str().to_owned()).collect()
}

/// Whether a journal tells of a run that was begun.
pub(super) fn has_begun_runs(journal: &[RunEvent]) -> bool {
    let is_begun =
        |event: &RunEvent| matches!(event.body, EventBody::StepStarted { kind: StepKind::Run { .. }, .. });
    journal.iter().any(is_begun)
}

/// What a run that has ended is to the one that began it.
fn output(run: &Run) -> SubRunOutput {
    let (content, is_error) = match run.state() {
        RunState::Succeeded { answer, .. } => (answer.clone(), false),
        RunState::Failed { failure, .. } => (format!("its run failed: {}", failure.message), true),
        RunState::TimedOut { .. } => ("its run ran out of time".to_owned(), true),
        _ => ("its run was cancelled".to_owned(), true),
    };
    SubRunOutput { run: Some(run.id()), content, is_error, usage: run.usage(), barred: None }
}
