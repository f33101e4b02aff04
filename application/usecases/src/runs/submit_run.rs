//! Accepting a task: who does it, within which limits, and the run that a worker will claim.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use powerhouse_domain::access::{self, Principal, TenantScope};
use powerhouse_domain::agents::{Agent, AgentName, PublishedVersion};
use powerhouse_domain::ids::{AgentId, RunId, ThreadId};
use powerhouse_domain::money::{BudgetScope, LEAST_OUTPUT};
use powerhouse_domain::runs::{Formation, InvalidPlacement, Placement, Run, RunLimits, Selection, Task};
use powerhouse_domain::selection::{self, Knowledge, Target, Wish};
use powerhouse_domain::tenants::PlanLimits;
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::events::{EventBus, RunNews};
use powerhouse_ports::store::{Limit, TenantStore, TenantTx};
use tokio::sync::Notify;

use crate::measure::run_submitted;
use crate::selection::{Asked, MAX_CANDIDATES, Selectors};
use crate::{Once, Refused, permit, threads, tools};

/// What is to be done, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitRunCommand {
    /// The task.
    pub task: Task,
    /// By whom. Left to its formation when that is a pipeline, of which the last does it.
    pub target: Target,
    /// Who works on it before.
    pub formation: Option<Formation>,
    /// The conversation that it goes on with, if it does with one.
    pub thread: Option<ThreadId>,
    /// How the queue is to treat it. How many runs of the agent may be worked on at the same time is not the caller's
    /// to say: the agent's definition does.
    pub placement: Placement,
}

/// Accepts tasks.
#[derive(Clone)]
pub struct SubmitRun {
    /// Where runs are.
    pub store: Arc<dyn TenantStore>,
    /// What was learnt of tenants' agents.
    pub selectors: Arc<Selectors>,
    /// The tools that there are.
    pub tools: Arc<tools::Names>,
    /// Tells who watches.
    pub bus: Arc<dyn EventBus>,
    /// Wakes the worker of this process.
    pub wake: Arc<Notify>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
}

impl SubmitRun {
    /// Accepts a task, once for a key. Once this returns, the run is stored and will end.
    pub async fn execute(
        &self,
        principal: &Principal,
        command: SubmitRunCommand,
        once: &Once<Run>,
    ) -> Result<Run, Refused> {
        let scope = principal.scope();
        if matches!(command.target, Target::Auto(_)) {
            self.selectors.ready(scope).await;
        }
        let mut tx = once.begin(&*self.store, &scope).await?;
        let id = RunId::from_uuid(self.ids.next());
        let run = self.accept(&mut *tx, principal, command, id, self.clock.now()).await?;
        once.commit(tx, &run).await?;
        self.announce(&scope, id).await;
        Ok(run)
    }

    /// Accepts a task in a transaction that somebody else commits, who has to announce the run then.
    pub(crate) async fn accept(
        &self,
        tx: &mut dyn TenantTx,
        principal: &Principal,
        command: SubmitRunCommand,
        id: RunId,
        now: DateTime<Utc>,
    ) -> Result<Run, Refused> {
        let SubmitRunCommand { task, mut target, formation, thread, placement } = command;
        placement.check(now).map_err(misplaced)?;
        let formation = form(tx, principal, formation, &mut target).await?;
        let (agent, selection) = match target {
            Target::Agent(agent) => named(tx, agent).await?,
            Target::Auto(wish) => self.choose(tx, principal, &task, &wish, id, now).await?,
        };
        permit::<access::CreateRun>(principal, agent.id(), "agent", true)?.redeem();
        let tenant = tx.tenant().await?.ok_or(Refused::NotFound("tenant"))?;
        let version = agent.runnable().ok_or(Refused::NotFound("agent"))?;
        let selection = match formation {
            Some(formation) => Selection { formation: Some(formation), ..selection },
            None => selection.after(version.definition.formation.as_ref()),
        };
        let limits = version.definition.limits.narrowed_by(&plan_limits(&tenant.plan().limits()));
        let placement = Placement { agent_limit: version.definition.max_concurrent_runs, ..placement };
        let run = Run::accept(id, principal.user_id(), task, selection, limits, now)
            .placed(placement)
            .admitted_as(principal.role());
        let run = match thread {
            Some(thread) => run.in_thread(threads::join(tx, principal, thread, id, now).await?),
            None => run,
        };
        tx.runs().add(&run).await?;
        Ok(run)
    }

    /// Chooses among the agents that the caller may use, and whose tools and formations are there, passing over those whose own budget is used up
    /// while there is another.
    async fn choose(
        &self,
        tx: &mut dyn TenantTx,
        principal: &Principal,
        task: &Task,
        wish: &Wish,
        id: RunId,
        now: DateTime<Utc>,
    ) -> Result<(Agent, Selection), Refused> {
        let mut agents = tx.agents().runnable(MAX_CANDIDATES).await?;
        let selector = tx.selection().read().await?;
        let asked = Asked { scope: principal.scope(), selector: &selector, agents: &agents, now };
        let trained = self.selectors.trained(&asked);
        let listed = agents.iter().filter_map(Agent::runnable).flat_map(|version| &version.definition.tools);
        let names = tools::declared_names(listed, |name| self.tools.contains(name));
        let declared = if names.is_empty() { Vec::new() } else { tx.tools().named(&names).await? };
        let is_there = |tool: &String| tools::missing(tool, &self.tools, &declared).is_none();
        agents.retain(|agent| principal.permit::<access::CreateRun>(agent.id()).is_ok());
        let names: BTreeSet<AgentName> = agents.iter().map(|agent| agent.name().clone()).collect();
        agents.retain(|agent| {
            agent.runnable().is_some_and(|PublishedVersion { definition, .. }| {
                let mut before = definition.formation.iter().flat_map(Formation::agents);
                definition.tools.iter().all(is_there) && before.all(|name| names.contains(name))
            })
        });
        let draw = selection::draw(id);
        let knowledge = Knowledge { selector: &selector, trained: trained.as_deref(), now, draw };
        let mut first = None;
        loop {
            match (selection::choose(task.as_str(), &agents, wish, knowledge), first.take()) {
                (Ok(selection), before) => {
                    let index = agents.iter().position(|agent| agent.id() == selection.agent);
                    let agent = agents.remove(index.ok_or(Refused::NotFound("agent"))?);
                    if !is_used_up(tx, agent.id(), now).await? {
                        return Ok((agent, selection));
                    }
                    first = before.or(Some((agent, selection)));
                }
                // All are used up: whoever fits best says so, when it calls its model.
                (Err(_), Some(first)) => return Ok(first),
                (Err(error), None) => return Err(Refused::conflict("no_agent", error)),
            }
        }
    }

    /// Tells who watches, and the worker of this process, of a run that was stored.
    pub(crate) async fn announce(&self, scope: &TenantScope, run: RunId) {
        run_submitted();
        self.bus.publish(scope, RunNews { run, seq: 1 }).await;
        self.wake.notify_one();
    }
}

/// Refuses a named agent that is not there.
pub(crate) async fn check_target(tx: &mut dyn TenantTx, target: &Target) -> Result<(), Refused> {
    match target {
        Target::Agent(id) if tx.agents().find(*id).await?.is_none() => Err(Refused::NotFound("agent")),
        Target::Agent(_) | Target::Auto(_) => Ok(()),
    }
}

/// The agents that work before the chosen one. All of a formation must be there, published and the caller's to run; the last
/// of a pipeline is the one that is chosen.
async fn form(
    tx: &mut dyn TenantTx,
    principal: &Principal,
    formation: Option<Formation>,
    target: &mut Target,
) -> Result<Option<Formation>, Refused> {
    let Some(formation) = formation else { return Ok(None) };
    let pointer = match formation {
        Formation::Team(_) => "/team",
        Formation::Pipeline(_) => "/pipeline",
    };
    let mut last = None;
    for (index, name) in formation.agents().iter().enumerate() {
        let refused = |why| Refused::invalid(format!("{pointer}/{index}"), why);
        let agent = tx.agents().find_by_name(name).await?.ok_or_else(|| refused("there is no such agent"))?;
        if agent.runnable().is_none() {
            return Err(refused("the agent has no published version"));
        }
        permit::<access::CreateRun>(principal, agent.id(), "agent", true)?.redeem();
        last = Some(agent.id());
    }
    match formation {
        Formation::Pipeline(mut agents) => {
            agents.pop();
            if let Some(last) = last {
                *target = Target::Agent(last);
            }
            Ok((!agents.is_empty()).then_some(Formation::Pipeline(agents)))
        }
        team @ Formation::Team(_) => Ok(Some(team)),
    }
}

async fn named(tx: &mut dyn TenantTx, id: AgentId) -> Result<(Agent, Selection), Refused> {
    let agent = tx.agents().find(id).await?.ok_or(Refused::NotFound("agent"))?;
    let version = agent
        .runnable()
        .ok_or_else(|| Refused::conflict("agent_not_published", "the agent has no published version"))?;
    let selection = selection::named(id, version.number);
    Ok((agent, selection))
}

/// Whether a budget of the agent's own has nothing left for a call.
async fn is_used_up(tx: &mut dyn TenantTx, agent: AgentId, now: DateTime<Utc>) -> Result<bool, Refused> {
    let scope = BudgetScope::Agent(agent);
    if tx.budgets().of_scope(scope).await? == 0 {
        return Ok(false);
    }
    let limit = Limit::new(Limit::MAX).unwrap_or_default();
    let mut after = None;
    loop {
        let page = tx.budgets().list(after, limit).await?;
        for budget in page.items.iter().filter(|budget| budget.scope == scope) {
            let (micros, tokens) = budget.left(tx.budgets().spending(budget.window(now)).await?);
            if micros == 0 || tokens < LEAST_OUTPUT.into() {
                return Ok(true);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(false);
        }
    }
}

fn misplaced(error: InvalidPlacement) -> Refused {
    let pointer = match error {
        InvalidPlacement::TooFar => "/not_before",
        InvalidPlacement::Passed | InvalidPlacement::NoTime => "/deadline",
    };
    Refused::invalid(pointer, error)
}

fn plan_limits(plan: &PlanLimits) -> RunLimits {
    RunLimits {
        steps: plan.max_run_steps,
        tokens: plan.max_run_tokens,
        cost_micros: 0,
        wall_clock: Duration::from_secs(plan.max_run_seconds.into()),
    }
}
