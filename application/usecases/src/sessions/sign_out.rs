//! Signing out.

use std::sync::Arc;

use powerhouse_domain::access::Principal;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::platform::PlatformStore;

use crate::Refused;

/// Signs people out.
#[derive(Clone)]
pub struct SignOut {
    /// Where sessions are.
    pub platform: Arc<dyn PlatformStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl SignOut {
    /// Ends the caller's session: its tokens work no more.
    pub async fn execute(&self, principal: &Principal) -> Result<(), Refused> {
        Ok(self.platform.end_session(principal.session_id(), self.clock.now()).await?)
    }
}
