//! Steps: the effects of a run as people see them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::effects::{EffectKey, EffectOutcome, EffectRequest};
use crate::ids::{RunId, StepId};
use crate::model::Usage;

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepKind {
    /// A model call, named by its purpose.
    Model {
        /// Such as `plan` or `critique`.
        purpose: String,
    },
    /// A tool call.
    Tool {
        /// The tool.
        name: String,
    },
    /// A run of another agent.
    Run {
        /// The agent's name.
        agent: String,
    },
}

impl From<&EffectRequest> for StepKind {
    fn from(request: &EffectRequest) -> Self {
        match request {
            EffectRequest::Model(model) => Self::Model { purpose: model.purpose.clone() },
            EffectRequest::Tool(tool) => Self::Tool { name: tool.name.clone() },
            EffectRequest::Run(run) => Self::Run { agent: run.agent.clone() },
        }
    }
}

/// Where a step is.
#[derive(Clone, Debug, PartialEq)]
pub enum StepState {
    /// On its way.
    Running,
    /// It has its outcome.
    Ended {
        /// The outcome, failure included.
        outcome: EffectOutcome,
        /// When.
        ended_at: DateTime<Utc>,
    },
}

/// A step that has ended cannot end again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the step has ended")]
pub struct StepRefused {
    /// The step, unchanged.
    pub step: Box<Step>,
}

/// One effect of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    id: StepId,
    key: EffectKey,
    kind: StepKind,
    started_at: DateTime<Utc>,
    state: StepState,
}

impl Step {
    /// The effect is about to be performed.
    pub fn begin(id: StepId, key: EffectKey, request: &EffectRequest, now: DateTime<Utc>) -> Self {
        Self { id, key, kind: request.into(), started_at: now, state: StepState::Running }
    }

    /// Loads a step that was stored.
    pub fn restore(
        id: StepId,
        key: EffectKey,
        kind: StepKind,
        started_at: DateTime<Utc>,
        state: StepState,
    ) -> Self {
        Self { id, key, kind, started_at, state }
    }

    /// The effect has its outcome.
    pub fn end(self, outcome: EffectOutcome, now: DateTime<Utc>) -> Result<Self, StepRefused> {
        match self.state {
            StepState::Running => Ok(Self { state: StepState::Ended { outcome, ended_at: now }, ..self }),
            StepState::Ended { .. } => Err(StepRefused { step: Box::new(self) }),
        }
    }

    /// Ends it if it has not ended; what ended once stays as it was.
    pub(super) fn settle(&mut self, outcome: EffectOutcome, now: DateTime<Utc>) {
        if self.state == StepState::Running {
            self.state = StepState::Ended { outcome, ended_at: now };
        }
    }

    /// Its id.
    pub fn id(&self) -> StepId {
        self.id
    }

    /// The run that a step of the kind [`StepKind::Run`] is: it has the step's id.
    pub fn run(&self) -> RunId {
        RunId::from_uuid(self.id.as_uuid())
    }

    /// Where the strategy asked for it.
    pub fn key(&self) -> &EffectKey {
        &self.key
    }

    /// What it does.
    pub fn kind(&self) -> &StepKind {
        &self.kind
    }

    /// When it began.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// Where it is.
    pub fn state(&self) -> &StepState {
        &self.state
    }

    /// What it consumed.
    pub fn usage(&self) -> Usage {
        match &self.state {
            StepState::Ended { outcome, .. } => outcome.usage(),
            StepState::Running => Usage::default(),
        }
    }
}
