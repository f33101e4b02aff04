//! Who answers a drive's model calls.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use powerhouse_domain::effects::{EffectRequest, Issued};
use powerhouse_domain::model::ModelRequest;
use powerhouse_ports::store::StoreError;

use super::drive::Drive;
use crate::models::Route;

impl Drive {
    /// Who answers a model call now.
    pub(super) fn route(&self, request: &ModelRequest) -> Arc<Route> {
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
