//! Texts as vectors, however many there are.

use std::sync::Arc;
use std::time::Duration;

use powerhouse_domain::model::Usage;
use powerhouse_ports::Chain;
use powerhouse_ports::embeddings::{Embedder, Embeddings, MAX_TEXTS};
use powerhouse_ports::models::ModelError;

use crate::measure::embedded;

/// The most bytes of texts that are sent at once: some hundred thousand tokens, which every API takes.
const MAX_BATCH: usize = 384 * 1024;
/// How long vectors may take where words can do without them.
const PATIENCE: Duration = Duration::from_secs(15);

/// Makes vectors by the platform's embedder, with its model. A call is tried again as calls of models are.
#[derive(Clone)]
pub struct Embedding {
    embedder: Arc<dyn Embedder>,
    model: String,
}

impl Embedding {
    /// Vectors of this model.
    pub fn new(embedder: Arc<dyn Embedder>, model: impl Into<String>) -> Self {
        Self { embedder, model: model.into() }
    }

    /// A vector of each text, in their order, and what all of it used; in as few calls as go. No text is blank or longer than
    /// [`MAX_TEXT`](powerhouse_ports::embeddings::MAX_TEXT).
    pub async fn of(&self, texts: &[String]) -> Result<Embeddings, ModelError> {
        let mut all: Option<Embeddings> = None;
        for batch in batches(texts) {
            let made = self.embedder.embed(&self.model, batch).await?;
            embedded(made.usage.input_tokens);
            match &mut all {
                None => all = Some(made),
                Some(all) => {
                    let is_other = all.model != made.model
                        || all.vectors.first().map(Vec::len) != made.vectors.first().map(Vec::len);
                    if is_other {
                        return Err(ModelError::Malformed(
                            "the embedder changed its model between calls".into(),
                        ));
                    }
                    all.usage = all.usage.plus(made.usage);
                    all.vectors.extend(made.vectors);
                }
            }
        }
        let none = || Embeddings { vectors: Vec::new(), usage: Usage::default(), model: self.model.clone() };
        Ok(all.unwrap_or_else(none))
    }

    /// The same for what can do without vectors: nothing, when they cannot be made, or not soon. Then words have to do.
    pub(crate) async fn if_soon(&self, texts: &[String]) -> Option<Embeddings> {
        match tokio::time::timeout(PATIENCE, self.of(texts)).await {
            Ok(Ok(made)) => Some(made),
            Ok(Err(error)) => {
                tracing::warn!(error = %Chain(&error), "words alone are compared: no vector could be made");
                None
            }
            Err(_) => {
                tracing::warn!("words alone are compared: the vector took too long");
                None
            }
        }
    }
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
mod tests {
    use powerhouse_ports::embeddings::MockEmbedder;

    use super::*;

    fn lengths(texts: &[String]) -> Vec<usize> {
        batches(texts).map(<[_]>::len).collect()
    }

    #[test]
    fn batches_are_bounded_by_number_and_bytes() {
        let texts = |number, bytes| vec!["x".repeat(bytes); number];
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&texts(MAX_TEXTS + 1, 1)), [MAX_TEXTS, 1]);
        assert_eq!(lengths(&texts(13, 64 * 1024)), [6, 6, 1]);
        assert_eq!(lengths(&texts(2, MAX_BATCH + 1)), [1, 1], "the embedder refuses it, not we");
    }

    fn answering(models: [&'static str; 2]) -> Embedding {
        let mut embedder = MockEmbedder::new();
        let mut models = models.into_iter();
        embedder.expect_embed().withf(|model, _| model == "m").times(2).returning(move |_, texts| {
            #[expect(clippy::cast_precision_loss, reason = "few letters")]
            let vectors = texts.iter().map(|text| vec![text.len() as f32]).collect();
            let model = models.next().unwrap().to_owned();
            Ok(Embeddings { vectors, usage: Usage::of_tokens(texts.len() as u64, 0), model })
        });
        Embedding::new(Arc::new(embedder), "m")
    }

    #[tokio::test]
    async fn vectors_of_several_calls_are_in_the_order_of_the_texts() {
        let texts: Vec<_> = (1..=MAX_TEXTS + 2).map(|length| "x".repeat(length)).collect();
        let made = answering(["m-1", "m-1"]).of(&texts).await.unwrap();
        assert_eq!(made.vectors.len(), texts.len());
        assert!(made.vectors.iter().enumerate().all(|(index, vector)| {
            (f64::from(vector[0]) - f64::from(u32::try_from(index + 1).unwrap())).abs() < 1e-6
        }));
        assert_eq!((made.usage, made.model.as_str()), (Usage::of_tokens(texts.len() as u64, 0), "m-1"));
        let error = answering(["m-1", "m-2"]).of(&texts).await.unwrap_err();
        assert!(matches!(error, ModelError::Malformed(_)));
    }

    struct Silent;

    #[async_trait::async_trait]
    impl Embedder for Silent {
        async fn embed(&self, _: &str, _: &[String]) -> Result<Embeddings, ModelError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn words_do_where_vectors_fail_or_take_too_long() {
        let began = tokio::time::Instant::now();
        assert_eq!(Embedding::new(Arc::new(Silent), "m").if_soon(&["x".to_owned()]).await, None);
        assert_eq!(began.elapsed(), PATIENCE);
        let mut embedder = MockEmbedder::new();
        embedder.expect_embed().returning(|_, _| Err(ModelError::Rejected("no".into())));
        assert_eq!(Embedding::new(Arc::new(embedder), "m").if_soon(&["x".to_owned()]).await, None);
    }

    #[tokio::test]
    async fn nothing_is_asked_for_no_texts() {
        let made = Embedding::new(Arc::new(MockEmbedder::new()), "m").of(&[]).await.unwrap();
        assert!(made.vectors.is_empty());
    }
}
