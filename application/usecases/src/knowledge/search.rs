//! Finds chunks by their words and by their vectors, and puts what both found into one order.

use std::collections::BTreeMap;
use std::sync::Arc;

use powerhouse_domain::access::{Principal, TenantScope};
use powerhouse_domain::ids::DocumentId;
use powerhouse_domain::knowledge::{
    BadDocument, Chunk, Collection, CollectionName, Document, MAX_HITS, MAX_QUERY, Place, query_words, rank,
};
use powerhouse_domain::retrieval::{Fused, fuse};
use powerhouse_domain::tools::ModelUsed;
use powerhouse_ports::store::{StoreError, TenantStore, TenantView};
use tokio::sync::Semaphore;

use super::{NO_COLLECTION, reading};
use crate::embedding::{NotAsked, Payer};
use crate::{Embedding, Refused};

/// How many of the best by words, and by vectors, are put into one order.
const CANDIDATES: usize = 50;
/// How many searches of a process have vectors compared at the same time; others wait.
const SCANS: usize = 3;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    text: String,
    collections: Vec<CollectionName>,
    limit: u32,
}

impl Query {
    /// What is looked for in these collections, in all when none is named; and how many chunks are wanted, 1 to
    /// [`MAX_HITS`].
    pub fn new(text: &str, collections: Vec<CollectionName>, limit: u32) -> Result<Self, BadDocument> {
        let bad = |pointer, reason: String| Err(BadDocument { pointer, reason });
        if text.trim().is_empty() || text.chars().nth(MAX_QUERY).is_some() {
            return bad("/query", format!("has 1 to {MAX_QUERY} characters"));
        }
        if !(1..=MAX_HITS).contains(&limit) {
            return bad("/limit", format!("is 1 to {MAX_HITS}"));
        }
        Ok(Self { text: text.trim().to_owned(), collections, limit })
    }
}

/// A chunk that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Where it is.
    pub place: Place,
    /// Its document.
    pub document: Document,
    /// The chunk.
    pub chunk: Chunk,
    /// How high it stands, by reciprocal rank fusion.
    pub score: f64,
    /// What it scores by its words (BM25), where it is among the best by these.
    pub bm25: Option<f64>,
    /// How alike it is to what is looked for (the cosine of their vectors), where it is among the best by this.
    pub cosine: Option<f32>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The best first.
    pub hits: Vec<Hit>,
    /// The embedder whose vectors were compared; nothing, when it was looked for by words alone: nobody makes vectors, or
    /// whoever does did not answer.
    pub embedder: Option<String>,
    /// What that used.
    pub used: Option<ModelUsed>,
}

/// Why nothing was looked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum SearchFailed {
    #[error("there is no collection `{0}`")]
    NoCollection(CollectionName),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("no vector was asked for")]
    NotAsked(#[from] NotAsked),
}

/// Searches a tenant's documents.
#[derive(Clone)]
pub struct Searcher {
    store: Arc<dyn TenantStore>,
    embedding: Option<Embedding>,
    scans: Arc<Semaphore>,
}

impl Searcher {
    /// Searches in this store, with vectors by this embedder, if there is one.
    pub fn new(store: Arc<dyn TenantStore>, embedding: Option<Embedding>) -> Self {
        Self { store, embedding, scans: Arc::new(Semaphore::new(SCANS)) }
    }

    /// The most that the vector of what is looked for uses; nothing, where nobody makes it.
    pub(super) fn worst_case(&self, query: &Query) -> Option<ModelUsed> {
        self.embedding.as_ref().map(|embedding| embedding.worst_case([query.text.as_str()]))
    }

    pub(super) async fn search(
        &self,
        scope: &TenantScope,
        payer: Payer,
        query: &Query,
    ) -> Result<Found, SearchFailed> {
        // Before the vector, which is paid for.
        let mut view = self.store.read(scope).await?;
        let searched = searched(view.knowledge().collections().await?, &query.collections)?;
        drop(view);
        let (embedded, used) = self.embedded(payer, &query.text).await?;
        let _turn = match &embedded {
            Some(_) => self.scans.acquire().await.ok(),
            None => None,
        };
        let mut view = self.store.read(scope).await?;
        let names: Vec<_> = searched.iter().map(|collection| collection.name.clone()).collect();
        let by_words = by_words(&mut *view, &searched, &names, &query.text).await?;
        let by_vectors = match &embedded {
            Some((vector, model)) => view.knowledge().nearest(&names, model, vector, CANDIDATES).await?,
            None => Vec::new(),
        };
        let mut fused = fuse(&[places(&by_words), places(&by_vectors)]);
        fused.truncate(usize::try_from(query.limit).unwrap_or_default());
        let hits = told(&mut *view, fused, &by_words, &by_vectors).await?;
        Ok(Found { hits, embedder: embedded.map(|(_, model)| model), used })
    }

    /// The vector of a text and its model, if somebody makes one; and what that used.
    async fn embedded(
        &self,
        payer: Payer,
        text: &str,
    ) -> Result<(Option<(Vec<f32>, String)>, Option<ModelUsed>), NotAsked> {
        let Some(embedding) = &self.embedding else { return Ok((None, None)) };
        let (made, used) = embedding.if_soon(payer, vec![text.to_owned()]).await?;
        Ok((made.and_then(|mut made| Some((made.vectors.pop()?, made.model))), used))
    }
}

/// The collections that are meant, where there is something in them.
fn searched(all: Vec<Collection>, named: &[CollectionName]) -> Result<Vec<Collection>, SearchFailed> {
    if let Some(missing) = named.iter().find(|name| !all.iter().any(|one| one.name == **name)) {
        return Err(SearchFailed::NoCollection(missing.clone()));
    }
    let is_meant = |one: &Collection| one.documents > 0 && (named.is_empty() || named.contains(&one.name));
    Ok(all.into_iter().filter(is_meant).collect())
}

async fn by_words(
    view: &mut dyn TenantView,
    searched: &[Collection],
    names: &[CollectionName],
    text: &str,
) -> Result<Vec<(Place, f64)>, StoreError> {
    let postings = view.knowledge().postings(names, &query_words(text)).await?;
    let chunks = searched.iter().map(|collection| collection.chunks).sum();
    let words = searched.iter().map(|collection| collection.words).sum();
    Ok(rank(&postings, chunks, words, CANDIDATES))
}

fn places<S>(found: &[(Place, S)]) -> Vec<Place> {
    found.iter().map(|(place, _)| place.clone()).collect()
}

fn score_of<S: Copy>(found: &[(Place, S)], place: &Place) -> Option<S> {
    found.iter().find(|(one, _)| one == place).map(|(_, score)| *score)
}

async fn told(
    view: &mut dyn TenantView,
    fused: Vec<Fused<Place>>,
    by_words: &[(Place, f64)],
    by_vectors: &[(Place, f32)],
) -> Result<Vec<Hit>, StoreError> {
    let places: Vec<_> = fused.iter().map(|found| found.item.clone()).collect();
    let chunks = view.knowledge().found(&places).await?;
    let mut chunks: BTreeMap<Place, Chunk> =
        chunks.into_iter().map(|found| (found.place, found.chunk)).collect();
    let documents = view.knowledge().documents_of(&places).await?;
    let documents: BTreeMap<(CollectionName, DocumentId), Document> = documents
        .into_iter()
        .map(|document| ((document.collection.clone(), document.id), document))
        .collect();
    let hit = |Fused { item: place, score: fused }: Fused<Place>| {
        let document = documents.get(&(place.collection.clone(), place.document))?.clone();
        let chunk = chunks.remove(&place)?;
        let (bm25, cosine) = (score_of(by_words, &place), score_of(by_vectors, &place));
        Some(Hit { place, document, chunk, score: fused, bm25, cosine })
    };
    Ok(fused.into_iter().filter_map(hit).collect())
}

/// Searches for people.
#[derive(Clone)]
pub struct SearchKnowledge {
    /// Searches.
    pub searcher: Searcher,
}

impl SearchKnowledge {
    /// Searches a collection of the caller's tenant, and no other, whatever the query names.
    pub async fn execute(
        &self,
        principal: &Principal,
        collection: CollectionName,
        mut query: Query,
    ) -> Result<Found, Refused> {
        let permit = reading(principal, collection)?;
        let scope = permit.scope();
        query.collections = vec![permit.redeem()];
        let payer = Payer::of(principal, None);
        self.searcher.search(&scope, payer, &query).await.map_err(|failed| match failed {
            SearchFailed::NoCollection(_) => NO_COLLECTION,
            SearchFailed::Store(error) => error.into(),
            SearchFailed::NotAsked(error) => error.into(),
        })
    }
}
