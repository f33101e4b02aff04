//! Signing out.

use std::sync::Arc;

use powerhouse_domain::access::Principal;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::platform::PlatformStore;

use super::Callers;
use crate::Refused;

/// Signs people out.
#[derive(Clone)]
pub struct SignOut {
    /// Where sessions are.
    pub platform: Arc<dyn PlatformStore>,
    /// Is told of sessions that end.
    pub callers: Callers,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl SignOut {
    /// Ends the caller's session: its tokens work no more.
    pub async fn execute(&self, principal: &Principal) -> Result<(), Refused> {
        self.platform.end_session(principal.session_id(), self.clock.now()).await?;
        self.callers.session_ended(principal).await;
        Ok(())
    }
}
