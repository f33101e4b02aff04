//! Knowledge: collections of documents, which people put and agents search.
//!
//! Start reading at [`AddDocument`], which makes of a document what can be found, and at [`Searcher`], which finds it.

mod collections;
mod documents;
mod search;
mod tool;

pub use collections::{CreateCollection, DeleteCollection, ListCollections, ReadCollection};
pub use documents::{AddDocument, DeleteDocument, ListDocuments, ReadDocument};
pub use search::{Found, Hit, Query, SearchKnowledge, Searcher};
pub use tool::KnowledgeSearch;

use powerhouse_domain::access::{self, Permit, Principal};
use powerhouse_domain::knowledge::{BadDocument, CollectionName};

use crate::{Refused, permit};

const NO_COLLECTION: Refused = Refused::NotFound("collection");
const NO_DOCUMENT: Refused = Refused::NotFound("document");

impl From<BadDocument> for Refused {
    fn from(bad: BadDocument) -> Self {
        Self::invalid(bad.pointer, bad.reason)
    }
}

fn reading(principal: &Principal, name: CollectionName) -> Result<Permit<access::ReadCollection>, Refused> {
    permit::<access::ReadCollection>(principal, name, "collection", false)
}

fn changing(
    principal: &Principal,
    name: CollectionName,
) -> Result<Permit<access::UpdateCollection>, Refused> {
    let visible = principal.permit::<access::ReadCollection>(name.clone()).is_ok();
    permit::<access::UpdateCollection>(principal, name, "collection", visible)
}

/// How a collection is named where ids are.
fn resource(name: &CollectionName) -> String {
    format!("collection_{name}")
}
