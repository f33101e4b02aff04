//! The first tenant of an embedded server, so that somebody can sign in: its owner's password is random, and in a
//! file that only the server's user can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use powerhouse_domain::tenants::Plan;
use powerhouse_usecases::Refused;
use powerhouse_usecases::tenants::{SignUp, SignUpCommand};
use zeroize::Zeroizing;

use crate::settings::Settings;

/// The first tenant's slug.
pub(crate) const TENANT: &str = "home";
/// Its owner's address.
pub(crate) const EMAIL: &str = "owner@localhost";

/// Signs the first tenant up if the database is new, or if an earlier start was cut off after it had promised one.
pub(crate) async fn welcome(settings: &Settings, sign_up: &SignUp, is_new: bool) -> anyhow::Result<()> {
    let file = settings.owner_password();
    if is_new {
        promise(&file).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    let Some(password) = password(settings) else { return Ok(()) };
    let (slug, email) = (TENANT.parse()?, EMAIL.parse()?);
    if sign_up.platform.credentials(&slug, &email).await?.is_some() {
        return Ok(());
    }
    let command = SignUpCommand {
        slug,
        name: "Home".parse()?,
        email,
        display_name: "Owner".parse()?,
        password: password.to_string(),
    };
    let sign_up = SignUp { plan: Plan::Enterprise, ..sign_up.clone() };
    match sign_up.execute(command).await {
        // The tenant is there, and its owner has another address by now.
        Ok(_) | Err(Refused::Conflict { .. }) => Ok(()),
        Err(refused) => Err(refused).context("the first tenant could not be made"),
    }
}

/// The first owner's password, while its file is there.
pub(crate) fn password(settings: &Settings) -> Option<Zeroizing<String>> {
    let text = Zeroizing::new(fs::read_to_string(settings.owner_password()).ok()?);
    Some(Zeroizing::new(text.trim().to_owned()))
}

/// Writes a new password, whole or not at all.
fn promise(path: &Path) -> io::Result<()> {
    // 122 random bits.
    let password = Zeroizing::new(uuid::Uuid::new_v4().simple().to_string());
    let draft = path.with_extension("draft");
    let mut file = private(&draft)?;
    writeln!(file, "{}", password.as_str())?;
    file.sync_all()?;
    fs::rename(draft, path)
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
