//! Texts as vectors, however many there are: masked as the tenant wants it, and paid for.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::access::{Principal, TenantScope};
use powerhouse_domain::ids::{AgentId, UserId};
use powerhouse_domain::masking::{Classes, mask};
use powerhouse_domain::model::Usage;
use powerhouse_domain::money::{BudgetRefusal, texts_bound};
use powerhouse_domain::tools::ModelUsed;
use powerhouse_ports::Chain;
use powerhouse_ports::clock::Clock;
use powerhouse_ports::embeddings::{Embedder, Embeddings, MAX_TEXTS};
use powerhouse_ports::models::ModelError;
use powerhouse_ports::store::{StoreError, TenantStore};

use crate::Refused;
use crate::measure::embedded;
use crate::runner::{Prepaid, give_back, pay_in_advance};

/// The most bytes of texts that are sent at once: some hundred thousand tokens, which every API takes.
const MAX_BATCH: usize = 384 * 1024;
/// How long vectors may take where words can do without them.
const PATIENCE: Duration = Duration::from_secs(15);

/// Who pays for vectors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payer {
    /// A run of this tenant: its worker has set aside what they cost at most, and settles it.
    Run(TenantScope),
    /// Somebody who has them made over HTTP; with the agent that they are for, if they are for one.
    User { scope: TenantScope, user: UserId, agent: Option<AgentId> },
}

impl Payer {
    /// Whoever asks, for an agent of theirs or for none.
    pub(crate) fn of(principal: &Principal, agent: Option<AgentId>) -> Self {
        Self::User { scope: principal.scope(), user: principal.user_id(), agent }
    }

    const fn scope(&self) -> &TenantScope {
        match self {
            Self::Run(scope) | Self::User { scope, .. } => scope,
        }
    }
}

/// Why nobody was asked for vectors, or what came of it is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAsked {
    #[error("a budget refuses it")]
    Refused(#[from] BudgetRefusal),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the call ended unexpectedly")]
    Broken(#[from] tokio::task::JoinError),
}

impl From<NotAsked> for Refused {
    fn from(error: NotAsked) -> Self {
        match error {
            NotAsked::Refused(refusal) => {
                Self::conflict("limit_reached", format!("nothing was done: {refusal}"))
            }
            NotAsked::Store(error) => error.into(),
            NotAsked::Broken(error) => Self::Internal(error.to_string()),
        }
    }
}

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoVectors {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("it took too long")]
    TooLong,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) made: Result<Embeddings, NoVectors>,
    /// What it used; at its price, unless a run pays. Nothing, where it used nothing.
    pub(crate) used: Option<ModelUsed>,
}

/// Makes vectors by the platform's embedder, with its model. A call is tried again as calls of models are.
#[derive(Clone)]
pub struct Embedding {
    embedder: Arc<dyn Embedder>,
    model: String,
    store: Arc<dyn TenantStore>,
    clock: Arc<dyn Clock>,
}

impl Embedding {
    /// Vectors of this model; what is masked, and what budgets have left, this store knows.
    pub fn new(
        embedder: Arc<dyn Embedder>,
        model: impl Into<String>,
        store: Arc<dyn TenantStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { embedder, model: model.into(), store, clock }
    }

    /// What no embedder is told of a tenant's texts, as of now.
    pub(crate) async fn masked(&self, scope: &TenantScope) -> Result<Classes, StoreError> {
        let mut view = self.store.read(scope).await?;
        Ok(view.model_providers().masking().await?.classes)
    }

    /// The most that vectors of these texts use.
    pub(crate) fn worst_case<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> ModelUsed {
        ModelUsed { model: self.model.clone(), usage: Usage::of_tokens(texts_bound(texts), 0) }
    }

    /// A vector of each text, in their order; in as few calls as go, and within this time. No text is blank or longer than
    /// [`MAX_TEXT`](powerhouse_ports::embeddings::MAX_TEXT). What the tenant has masked is replaced by what kind of thing it is,
    /// the same in each text: a text and a question about it still meet.
    pub(crate) async fn of(
        &self,
        payer: Payer,
        texts: Vec<String>,
        patience: Duration,
    ) -> Result<Embedded, NotAsked> {
        if texts.is_empty() {
            return Ok(Embedded { made: Ok(self.nothing()), used: None });
        }
        let classes = self.masked(payer.scope()).await?;
        let texts = masked(texts, classes).await?;
        let this = self.clone();
        match payer {
            Payer::Run(_) => {
                let (made, mut spent) = this.timed(&texts, patience).await;
                let used = spent.told();
                Ok(Embedded { made, used })
            }
            // Whoever asked may go away: what was begun is paid for all the same.
            Payer::User { scope, user, agent } => {
                tokio::spawn(async move { this.paid(&scope, (user, agent), &texts, patience).await }).await?
            }
        }
    }

    /// The same for what can do without vectors: none, when they cannot be made, or not soon. Then words have to do. And what was
    /// used for them.
    pub(crate) async fn if_soon(
        &self,
        payer: Payer,
        texts: Vec<String>,
    ) -> Result<(Option<Embeddings>, Option<ModelUsed>), NotAsked> {
        let Embedded { made, used } = self.of(payer, texts, PATIENCE).await?;
        let made = made.inspect_err(|error| {
            tracing::warn!(error = %Chain(error), "words alone are compared: no vector could be made");
        });
        Ok((made.ok(), used))
    }

    /// Pays in advance, and has what was not used given back.
    async fn paid(
        &self,
        scope: &TenantScope,
        payer: (UserId, Option<AgentId>),
        texts: &[String],
        patience: Duration,
    ) -> Result<Embedded, NotAsked> {
        let most = self.worst_case(texts.iter().map(String::as_str));
        let paid = self.pay(scope, payer, &most).await??;
        let (made, mut spent) = self.timed(texts, patience).await;
        let calls = spent.calls;
        let mut used = spent.told();
        let mut nothing = ModelUsed { model: self.model.clone(), usage: Usage::default() };
        let mut tx = self.store.begin(scope).await?;
        give_back(&mut *tx, payer, paid, calls, used.as_mut().unwrap_or(&mut nothing)).await?;
        tx.commit().await?;
        Ok(Embedded { made, used })
    }

    async fn pay(
        &self,
        scope: &TenantScope,
        payer: (UserId, Option<AgentId>),
        most: &ModelUsed,
    ) -> Result<Result<Prepaid, BudgetRefusal>, StoreError> {
        let mut tx = self.store.begin(scope).await?;
        let paid = pay_in_advance(&mut *tx, payer, most, self.clock.now()).await?;
        if paid.is_ok() {
            tx.commit().await?;
        }
        Ok(paid)
    }

    async fn timed(&self, texts: &[String], patience: Duration) -> (Result<Embeddings, NoVectors>, Spent) {
        let mut spent = Spent { model: self.model.clone(), ..Spent::default() };
        let made = tokio::time::timeout(patience, self.all(texts, &mut spent)).await;
        (made.unwrap_or(Err(NoVectors::TooLong)), spent)
    }

    async fn all(&self, texts: &[String], spent: &mut Spent) -> Result<Embeddings, NoVectors> {
        let mut all: Option<Embeddings> = None;
        for batch in batches(texts) {
            spent.begin(self.worst_case(batch.iter().map(String::as_str)).usage);
            let made = match self.embedder.embed(&self.model, batch).await {
                Ok(made) => made,
                Err(error) => {
                    // What was answered was billed, whatever it was.
                    if !matches!(error, ModelError::Malformed(_)) {
                        spent.take_back();
                    }
                    return Err(error.into());
                }
            };
            spent.end(&made);
            embedded(made.usage.input_tokens);
            match &mut all {
                None => all = Some(made),
                Some(all) => {
                    let is_other = all.model != made.model
                        || all.vectors.first().map(Vec::len) != made.vectors.first().map(Vec::len);
                    if is_other {
                        let reason = "the embedder changed its model between calls";
                        return Err(ModelError::Malformed(reason.into()).into());
                    }
                    all.usage = all.usage.plus(made.usage);
                    all.vectors.extend(made.vectors);
                }
            }
        }
        Ok(all.unwrap_or_else(|| self.nothing()))
    }

    fn nothing(&self) -> Embeddings {
        Embeddings { vectors: Vec::new(), usage: Usage::default(), model: self.model.clone() }
    }
}

/// What was used so far, and what a call that has begun may use.
#[derive(Default)]
struct Spent {
    model: String,
    used: Usage,
    under_way: Usage,
    calls: u64,
}

impl Spent {
    fn begin(&mut self, most: Usage) {
        self.under_way = most;
        self.calls += 1;
    }

    fn take_back(&mut self) {
        self.under_way = Usage::default();
        self.calls -= 1;
    }

    fn end(&mut self, made: &Embeddings) {
        self.under_way = Usage::default();
        self.used = self.used.plus(made.usage);
        self.model.clone_from(&made.model);
    }

    /// All of it; nothing, where no call counts.
    fn told(&mut self) -> Option<ModelUsed> {
        let usage = self.used.plus(self.under_way);
        (self.calls > 0).then(|| ModelUsed { model: std::mem::take(&mut self.model), usage })
    }
}

/// The texts as they may leave. A long one keeps a processor busy: not on a thread that serves others.
async fn masked(texts: Vec<String>, classes: Classes) -> Result<Vec<String>, tokio::task::JoinError> {
    if classes.is_empty() {
        return Ok(texts);
    }
    let masked = move |text: String| match mask(&text, classes) {
        Cow::Owned(masked) => masked,
        Cow::Borrowed(_) => text,
    };
    tokio::task::spawn_blocking(move || texts.into_iter().map(masked).collect()).await
}

/// The texts in their order, as many at once as may be.
fn batches(mut texts: &[String]) -> impl Iterator<Item = &[String]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |text: &&String| {
            bytes += text.len();
            bytes <= MAX_BATCH
        };
        let fitting = texts.iter().take(MAX_TEXTS).take_while(fits).count().max(1);
        let (batch, rest) = texts.split_at_checked(fitting)?;
        texts = rest;
        Some(batch)
    })
}

#[cfg(test)]
mod tests;
