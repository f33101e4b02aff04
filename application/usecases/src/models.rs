//! Models: who answers a call, in which order, and who is left alone for a while.

mod circuits;
mod race;
mod route;

use std::sync::Arc;

use chrono::TimeDelta;
use powerhouse_domain::breaker::BreakerSettings;
use powerhouse_ports::models::ModelProvider;

use circuits::Circuits;
use route::Choice;

pub use route::Route;

/// What answers where a tenant has nothing else.
pub struct Platform {
    /// Who serves it.
    pub provider: Arc<dyn ModelProvider>,
    /// The model of agents that name none.
    pub default_model: String,
    /// What answers while a model cannot, in this order.
    pub fallbacks: Vec<String>,
    /// Whether a call may be made twice when its answer is late.
    pub is_hedged: bool,
}

/// Finds who answers.
pub struct Models {
    platform: Platform,
    circuits: Circuits,
}

impl Models {
    /// With a breaker of these settings for each provider and model.
    pub fn new(platform: Platform, breaker: BreakerSettings) -> Self {
        Self { platform, circuits: Circuits::new(breaker) }
    }

    /// One provider, which is always asked, once.
    pub fn of(provider: Arc<dyn ModelProvider>, default_model: &str) -> Arc<Self> {
        let default_model = default_model.to_owned();
        let platform = Platform { provider, default_model, fallbacks: Vec::new(), is_hedged: false };
        let never = BreakerSettings { failures: 0, window: TimeDelta::zero(), cool_down: TimeDelta::zero() };
        Arc::new(Self::new(platform, never))
    }

    /// Measures what is now.
    pub fn observe(&self) {
        self.circuits.observe();
    }

    /// Who answers for a model of the platform's, or for its usual one.
    pub(crate) fn route(&self, model: Option<&str>) -> Arc<Route> {
        let Platform { provider, default_model, fallbacks, is_hedged } = &self.platform;
        let asked = model.unwrap_or(default_model);
        let others = fallbacks.iter().map(String::as_str).filter(|name| *name != asked);
        let choices = [asked].into_iter().chain(others).map(|name| Choice {
            model: name.to_owned(),
            owner: None,
            provider: Arc::clone(provider),
            circuit: self.circuits.of(None, name),
            context: None,
            max_output: None,
            turns: None,
        });
        Arc::new(Route { choices: choices.collect(), is_hedged: *is_hedged })
    }
}
