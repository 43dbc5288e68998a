//! Multiple-negatives ranking: the own positive against everything else in the batch.

use burn::tensor::{Tensor, activation::sigmoid};
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::lce::Lce;
use crate::mse::Space;

/// Multiple-negatives ranking, the mean over groups that have a positive.
///
/// A group holds its own candidates and documents of the other queries of the batch, which count as
/// negatives: `data.in_batch_negatives` of a recipe puts them there, since a cross-encoder has to score
/// every pair.
///
/// # Formula
/// ```text
/// a(s) = σ(s) or s,  L = -1/|Q| Σ_q log( exp(scale · a(s_q+)) / Σ_{d in G_q} exp(scale · a(s_qd)) )
/// ```
///
/// # Source
/// Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply", section
/// 4.4; scale and activation as in sentence-transformers' `MultipleNegativesRankingLoss` for
/// cross-encoders.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MultipleNegatives {
    /// Activated scores are multiplied by it; above 0.
    pub scale: f64,
    /// What `a` is: `sigmoid` or `logit`.
    pub space: Space,
}

impl Default for MultipleNegatives {
    fn default() -> Self {
        Self { scale: 10.0, space: Space::Sigmoid }
    }
}

impl MultipleNegatives {
    /// Returns the mean over groups: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let scores = match self.space {
            Space::Logit => input.candidate_scores(),
            Space::Sigmoid => sigmoid(input.candidate_scores()),
        };
        Lce { temperature: 1.0 / self.scale }.forward(&input.with_scores(scores))
    }
}
