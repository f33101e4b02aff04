//! Making, reading and removing collections.

use std::sync::Arc;

use powerhouse_domain::access::{self, Principal};
use powerhouse_domain::audit::{AuditAction, Entry};
use powerhouse_domain::knowledge::{Collection, CollectionName, MAX_COLLECTIONS};
use powerhouse_ports::clock::Clock;
use powerhouse_ports::store::TenantStore;

use super::{NO_COLLECTION, changing, reading, resource};
use crate::{Once, Refused, audited, permit};

/// Makes collections.
#[derive(Clone)]
pub struct CreateCollection {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl CreateCollection {
    /// Makes an empty collection, under a name that no other one of the tenant has.
    pub async fn execute(
        &self,
        principal: &Principal,
        name: CollectionName,
        description: String,
        once: &Once<Collection>,
    ) -> Result<Collection, Refused> {
        let permit =
            permit::<access::CreateCollection>(principal, principal.tenant_id(), "collections", true)?;
        let collection = Collection::new(name, description, permit.granted_to(), self.clock.now())?;
        let mut tx = once.begin(&*self.store, &permit.scope()).await?;
        if tx.knowledge().collections().await?.len() >= MAX_COLLECTIONS {
            let reason = format!("a tenant has at most {MAX_COLLECTIONS} collections");
            return Err(Refused::conflict("too_many_collections", reason));
        }
        let taken = Refused::taken("collection_name_taken", "a collection with this name exists");
        tx.knowledge().add_collection(&collection).await.map_err(taken)?;
        let action = AuditAction::CollectionCreated;
        let entry = Entry::by(principal, action, resource(&collection.name), collection.created_at);
        once.commit_audited(tx, &collection, entry).await?;
        permit.redeem();
        Ok(collection)
    }
}

/// Lists collections.
#[derive(Clone)]
pub struct ListCollections {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ListCollections {
    /// All collections, in the order of their names.
    pub async fn execute(&self, principal: &Principal) -> Result<Vec<Collection>, Refused> {
        let permit =
            permit::<access::ListCollections>(principal, principal.tenant_id(), "collections", true)?;
        let mut view = self.store.read(&permit.scope()).await?;
        Ok(view.knowledge().collections().await?)
    }
}

/// Reads a collection.
#[derive(Clone)]
pub struct ReadCollection {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
}

impl ReadCollection {
    /// A collection of the caller's tenant.
    pub async fn execute(&self, principal: &Principal, name: CollectionName) -> Result<Collection, Refused> {
        let permit = reading(principal, name)?;
        let mut view = self.store.read(&permit.scope()).await?;
        view.knowledge().collection(&permit.redeem()).await?.ok_or(NO_COLLECTION)
    }
}

/// Removes collections.
#[derive(Clone)]
pub struct DeleteCollection {
    /// Where they are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
}

impl DeleteCollection {
    /// Removes a collection with all its documents.
    pub async fn execute(&self, principal: &Principal, name: CollectionName) -> Result<(), Refused> {
        let permit = changing(principal, name)?;
        let mut tx = self.store.begin(&permit.scope()).await?;
        let collection = tx.knowledge().collection(&permit.redeem()).await?.ok_or(NO_COLLECTION)?;
        if !tx.knowledge().remove_collection(&collection.name).await? {
            return Err(NO_COLLECTION);
        }
        let action = AuditAction::CollectionRemoved;
        let entry = Entry::by(principal, action, resource(&collection.name), self.clock.now());
        audited::commit(tx, entry.with("documents", collection.documents)).await?;
        Ok(())
    }
}
