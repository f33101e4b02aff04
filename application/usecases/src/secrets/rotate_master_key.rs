//! Every tenant's data keys wrapped by the master key that wraps now, while everything goes on.

use std::sync::Arc;

use powerhouse_ports::clock::Clock;
use powerhouse_ports::platform::PlatformStore;
use powerhouse_ports::secrets::{KeyManagement, KeyManagementError};
use powerhouse_ports::store::StoreError;

/// Data keys that are read at a time.
const AT_ONCE: u32 = 100;

/// Why not every data key was wrapped anew. Those that were stay so; it can be begun again.
#[derive(Debug, thiserror::Error)]
pub enum RotateFailed {
    /// The store failed.
    #[error("the data keys cannot be read or written")]
    Store(#[from] StoreError),
    /// A master key did not serve.
    #[error("a data key cannot be wrapped anew")]
    Key(#[from] KeyManagementError),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The master key that wraps now.
    pub master: String,
    /// How many data keys it wraps that another one had wrapped.
    pub rewrapped: u64,
    /// How many data keys there are.
    pub all: u64,
}

/// Wraps data keys anew.
#[derive(Clone)]
pub struct RotateMasterKey {
    /// Where data keys are.
    pub platform: Arc<dyn PlatformStore>,
    /// Keeps the master keys: the new one and those before.
    pub masters: Arc<dyn KeyManagement>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl RotateMasterKey {
    /// Wraps each data key by the current master key, one after the other, each in a transaction of its own. Secrets stay
    /// as they are, and can be used and changed meanwhile.
    pub async fn execute(&self) -> Result<Rotated, RotateFailed> {
        let master = self.masters.current().await?;
        let mut done = Rotated { master, rewrapped: 0, all: 0 };
        let mut after = None;
        loop {
            let page = self.platform.data_keys(after, AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(done) };
            after = Some((last.tenant, last.id));
            for before in &page {
                done.all += 1;
                if before.key.master == done.master {
                    continue;
                }
                let key = self.masters.unwrap(before.tenant, before.id, &before.key).await?;
                let wrapped = self.masters.wrap(before.tenant, before.id, &key).await?;
                if self.platform.rewrap(before, &wrapped, self.clock.now()).await? {
                    done.rewrapped += 1;
                }
            }
        }
    }
}
