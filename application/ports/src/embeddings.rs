//! Texts as vectors, for finding those that mean alike.

use async_trait::async_trait;
use powerhouse_domain::model::Usage;

use crate::models::ModelError;

/// The most texts that are turned into vectors at once.
pub const MAX_TEXTS: usize = 256;
/// The longest of them, in bytes: more than any model reads.
pub const MAX_TEXT: usize = 64 * 1024;

/// Texts as vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// One for each text, in their order. All have the same length, which is not zero, and Euclidean norm 1.
    pub vectors: Vec<Vec<f32>>,
    /// What it consumed: tokens read.
    pub usage: Usage,
    /// The model that made them, as its provider names it. Only vectors of the same model can be compared.
    pub model: String,
}

/// Makes vectors of texts. Dropping the future closes the connection.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Makes a vector of each text: [`ModelError::Rejected`] when there is none, or more than [`MAX_TEXTS`], or one that is
    /// blank or longer than [`MAX_TEXT`].
    async fn embed(&self, model: &str, texts: &[String]) -> Result<Embeddings, ModelError>;
}

/// Whether texts are within the bounds of [`Embedder::embed`].
pub fn check(texts: &[String]) -> Result<(), ModelError> {
    let mistake = if texts.is_empty() || texts.len() > MAX_TEXTS {
        format!("1 to {MAX_TEXTS} texts are turned into vectors at once")
    } else if texts.iter().any(|text| text.trim().is_empty() || text.len() > MAX_TEXT) {
        format!("a text to be turned into a vector is not blank, and has at most {MAX_TEXT} bytes")
    } else {
        return Ok(());
    };
    Err(ModelError::Rejected(mistake.into()))
}

/// Vectors of norm 1: nothing when there are not so many, when their lengths differ, or when one is no direction.
pub fn normalised(vectors: Vec<Vec<f32>>, count: usize) -> Option<Vec<Vec<f32>>> {
    let length = vectors.first().map_or(0, Vec::len);
    if vectors.len() != count || length == 0 {
        return None;
    }
    vectors
        .into_iter()
        .map(|vector| {
            let norm = vector.iter().map(|part| f64::from(*part).powi(2)).sum::<f64>().sqrt();
            if vector.len() != length || !norm.is_normal() {
                return None;
            }
            #[expect(clippy::cast_possible_truncation, reason = "a part of a vector of norm 1 is at most 1")]
            Some(vector.into_iter().map(|part| (f64::from(part) / norm) as f32).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directions_of_one_length_are_vectors() {
        assert_eq!(normalised(vec![vec![3.0, 4.0]], 1), Some(vec![vec![0.6, 0.8]]));
        let bad = [
            (vec![], 0),
            (vec![vec![]], 1),
            (vec![vec![1.0]], 2),
            (vec![vec![1.0], vec![1.0, 0.0]], 2),
            (vec![vec![0.0, 0.0]], 1),
            (vec![vec![f32::NAN]], 1),
            (vec![vec![f32::INFINITY]], 1),
        ];
        for (vectors, count) in bad {
            assert_eq!(normalised(vectors.clone(), count), None, "{vectors:?}");
        }
    }
}
