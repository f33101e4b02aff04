//! A box that shows what it was given.

use powerhouse_domain::access::TenantScope;
use powerhouse_ports::secrets::{OpenFailed, SealFailed, SecretBox};
use zeroize::Zeroizing;

/// Seals what it is given under its name, without hiding it.
#[derive(Clone, Copy, Debug)]
pub struct Labelled;

impl SecretBox for Labelled {
    fn seal(&self, scope: &TenantScope, name: &str, secret: &[u8]) -> Result<Vec<u8>, SealFailed> {
        Ok([format!("{}:{name}:", scope.tenant_id()).as_bytes(), secret].concat())
    }

    fn open(&self, scope: &TenantScope, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenFailed> {
        let label = format!("{}:{name}:", scope.tenant_id());
        let opened = sealed.strip_prefix(label.as_bytes()).ok_or(OpenFailed)?;
        Ok(Zeroizing::new(opened.to_vec()))
    }
}
