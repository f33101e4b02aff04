//! `powerhouse secrets rotate-master-key`: another master key for every tenant's secrets, while servers work.

use std::sync::Arc;

use anyhow::Context as _;
use powerhouse_auth::LocalMasterKeys;
use powerhouse_memory::SystemClock;
use powerhouse_usecases::secrets::{RotateMasterKey, Rotated};

use crate::cli::say;
use crate::settings::Settings;
use crate::wiring;

/// Makes a new master key, unless the settings name one, and wraps every data key by it.
pub(crate) async fn rotate_master_key(settings: &Settings) -> anyhow::Result<()> {
    let stores = wiring::open_stores(settings).await?;
    let file = settings.master_keys();
    // The keys that there are come first: a new one alone would open nothing.
    wiring::master_keys(settings)?;
    let (place, old) = if settings.master_key.is_some() {
        ("secrets.master_key".to_owned(), "secrets.old_master_keys".to_owned())
    } else {
        LocalMasterKeys::add_to_file(&file)
            .with_context(|| format!("no key could be added to {}", file.display()))?;
        (format!("the first line of {}", file.display()), format!("the other lines of {}", file.display()))
    };
    let rotate = RotateMasterKey {
        platform: Arc::clone(&stores.platform),
        masters: Arc::new(wiring::master_keys(settings)?),
        clock: Arc::new(SystemClock),
    };
    let Rotated { master, rewrapped, all } = rotate.execute().await.context(
        "not every data key is wrapped by the new master key: mend what is wrong, and run this again",
    )?;
    say(format!("{rewrapped} of {all} data keys were wrapped anew, by {master}: {place}."));
    say(format!("Nothing needs {old} any more, once every replica has the new key."));
    Ok(())
}
