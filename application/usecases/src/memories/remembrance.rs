//! Searching and changing what an agent remembers, whoever asks for it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use powerhouse_domain::access::TenantScope;
use powerhouse_domain::ids::{MemoryId, RunId};
use powerhouse_domain::memory::{
    MAX_MEMORIES, Memory, MemoryChange, MemoryKind, MemoryVector, NewMemory, Ranked, Scoring, Wanted, Whose,
    Worth, least_valuable, rank,
};
use powerhouse_domain::tools::ModelUsed;
use powerhouse_ports::clock::{Clock, IdSource};
use powerhouse_ports::embeddings::Embeddings;
use powerhouse_ports::store::{StoreError, TenantStore, TenantTx};

use crate::Embedding;
use crate::embedding::{NotAsked, Payer};

/// What is looked for in what is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The question.
    pub query: String,
    /// How much is to be found, at most.
    pub most: usize,
    /// Of which kinds; of any, when there are none.
    pub kinds: Vec<MemoryKind>,
    /// How it is ranked.
    pub scoring: Scoring,
}

impl Search {
    /// The texts that are compared with what is remembered; none, where the newest are looked over, whatever they say.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self.scoring {
            Scoring::Recent => Vec::new(),
            Scoring::Relevance | Scoring::Weighted => vec![self.query.as_str()],
        }
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Added(MemoryId),
    Updated(MemoryId),
    Deleted(MemoryId),
    /// There is no such memory.
    Missing(MemoryId),
    Nothing,
}

/// What is remembered.
#[derive(Clone)]
pub struct Remembrance {
    /// Where memories are.
    pub store: Arc<dyn TenantStore>,
    /// Gives the time.
    pub clock: Arc<dyn Clock>,
    /// Gives ids.
    pub ids: Arc<dyn IdSource>,
    /// Turns texts into vectors; without it, words are compared.
    pub embedding: Option<Embedding>,
}

impl Remembrance {
    /// The most that vectors of these texts use; nothing, where nobody makes any.
    pub(super) fn worst_case(&self, texts: &[&str]) -> Option<ModelUsed> {
        let embedding = self.embedding.as_ref().filter(|_| !texts.is_empty())?;
        Some(embedding.worst_case(texts.iter().copied()))
    }

    /// What comes to mind of all that these remember, and what a model read for it. It counts as having come to mind now if it is `recalled`; not if it is
    /// only looked at, and not where the newest are looked over, whatever they say.
    pub(super) async fn search(
        &self,
        scope: &TenantScope,
        payer: Payer,
        whose: &[Whose],
        search: &Search,
        recalled: bool,
    ) -> Result<(Vec<Ranked>, Option<ModelUsed>), NotAsked> {
        let (vectors, used) = self.vectors(payer, &search.texts()).await?;
        let mut memories = Vec::new();
        let mut view = self.store.read(scope).await?;
        for whose in whose {
            memories.extend(view.memories().all(*whose).await?);
        }
        drop(view);
        memories.retain(|memory| search.kinds.is_empty() || search.kinds.contains(&memory.kind));
        let now = self.clock.now();
        let wanted = Wanted {
            text: &search.query,
            vector: vectors.first().and_then(Option::as_ref),
            scoring: search.scoring,
            most: search.most,
        };
        let ranked = rank(memories, &wanted, now);
        if recalled && search.scoring != Scoring::Recent && !ranked.is_empty() {
            let ids: Vec<_> = ranked.iter().map(|ranked| ranked.memory.id).collect();
            let mut tx = self.store.begin(scope).await?;
            tx.memories().touch(&ids, now).await?;
            tx.commit().await?;
        }
        Ok((ranked, used))
    }

    /// The directions of texts; none, where nothing makes vectors, or does not soon: words are compared then. And what a model
    /// read for them.
    pub(super) async fn vectors(
        &self,
        payer: Payer,
        texts: &[&str],
    ) -> Result<(Vec<Option<MemoryVector>>, Option<ModelUsed>), NotAsked> {
        let Some(embedding) = &self.embedding else { return Ok((vec![None; texts.len()], None)) };
        let owned = texts.iter().map(|text| (*text).to_owned()).collect();
        let (made, used) = embedding.if_soon(payer, owned).await?;
        let vectors = match made {
            Some(Embeddings { vectors, model, .. }) => {
                vectors.into_iter().map(|parts| MemoryVector::new(model.as_str(), parts)).collect()
            }
            None => vec![None; texts.len()],
        };
        Ok((vectors, used))
    }

    /// A new memory.
    pub(super) fn new_memory(
        &self,
        whose: Whose,
        new: NewMemory,
        vector: Option<MemoryVector>,
        run: Option<RunId>,
        now: DateTime<Utc>,
    ) -> Memory {
        let NewMemory { kind, text, importance } = new;
        let id = MemoryId::from_uuid(self.ids.next());
        Memory { id, whose, kind, text, importance, created_at: now, accessed_at: now, vector, run }
    }

    /// Makes these changes to what an agent remembers of a user, and of nobody else, with the vectors of their texts.
    pub(super) async fn change(
        &self,
        tx: &mut dyn TenantTx,
        whose: Whose,
        run: RunId,
        changes: Vec<(MemoryChange, Option<MemoryVector>)>,
    ) -> Result<Vec<Done>, StoreError> {
        let now = self.clock.now();
        let mut done = Vec::new();
        for (change, vector) in changes {
            done.push(match change {
                MemoryChange::Noop => Done::Nothing,
                MemoryChange::Add(new) => {
                    let memory = self.new_memory(whose, new, vector, Some(run), now);
                    add(tx, &memory, now).await?;
                    Done::Added(memory.id)
                }
                MemoryChange::Update { id, text, importance } => match own(tx, whose, id).await? {
                    Some(old) => {
                        let importance = importance.unwrap_or(old.importance);
                        let run = Some(run);
                        let new = Memory { text, importance, vector, accessed_at: now, run, ..old };
                        tx.memories().update(&new).await?;
                        Done::Updated(id)
                    }
                    None => Done::Missing(id),
                },
                MemoryChange::Delete(id) => match own(tx, whose, id).await? {
                    Some(_) => {
                        tx.memories().remove(id).await?;
                        Done::Deleted(id)
                    }
                    None => Done::Missing(id),
                },
            });
        }
        Ok(done)
    }
}

/// A memory, unless it is somebody else's.
async fn own(tx: &mut dyn TenantTx, whose: Whose, id: MemoryId) -> Result<Option<Memory>, StoreError> {
    Ok(tx.memories().find(id).await?.filter(|memory| memory.whose == whose))
}

/// Stores a memory; where there are as many as there may be, it takes the place of the least valuable.
pub(super) async fn add(
    tx: &mut dyn TenantTx,
    memory: &Memory,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut worth: Vec<Worth> = tx.memories().worth(memory.whose).await?;
    while worth.len() >= MAX_MEMORIES {
        let Some(least) = least_valuable(&worth, now) else { break };
        tx.memories().remove(least).await?;
        worth.retain(|worth| worth.id != least);
    }
    tx.memories().add(memory).await
}
