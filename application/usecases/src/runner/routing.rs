//! Who answers a drive's model calls, and what is to be set aside for them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use powerhouse_domain::effects::{EffectKey, EffectRequest, Issued};
use powerhouse_domain::model::ModelRequest;
use powerhouse_ports::store::StoreError;

use super::drive::Drive;
use crate::models::Route;

impl Drive {
    /// Has something set aside with the next write, where the effect has a model consume anything.
    pub(super) fn want(&mut self, key: &EffectKey, performed: &EffectRequest, now: DateTime<Utc>) {
        match performed {
            EffectRequest::Model(request) => {
                let route = self.route(request);
                self.purse.want(key, request, route, now);
            }
            EffectRequest::Tool(request) => {
                let tool = self.allowed.tools.get(&request.name);
                if let Some(most) = tool.and_then(|tool| tool.worst_case(&request.arguments)) {
                    self.purse.want_tool(key, most, now);
                }
            }
            EffectRequest::Run(_) => {}
        }
    }

    /// Who answers a model call now.
    fn route(&self, request: &ModelRequest) -> Arc<Route> {
        let model = request.model.as_deref().or(self.allowed.model.as_deref());
        self.workshop.models.route(&self.lease.scope(), model)
    }

    /// Reads the tenant's providers of models anew, where a call is to be made and they were read too long ago.
    pub(super) async fn refresh_models(&mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let asks = |issued: &Issued| matches!(issued.request, EffectRequest::Model(_));
        let (models, scope) = (&self.workshop.models, self.lease.scope());
        if !self.ledger.is_paused && self.undone.iter().any(asks) && models.is_stale(&scope, now) {
            let mut view = self.workshop.store.read(&scope).await?;
            models.refresh(&scope, &mut *view, now).await?;
        }
        Ok(())
    }
}
