//! ADR-MSE: squared error between smooth ranks and the ranks of the labels, discounted by rank.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::{masked, pairs};

/// Approximate discounted rank mean squared error, the mean over candidates.
///
/// # Formula
/// ```text
/// r̂_i = 1 + Σ_{j ≠ i} σ(alpha (s_j - s_i)),  L = mean over i of (r_i - r̂_i)² / log2(1 + r_i)
/// ```
///
/// `r_i` is the rank by label; equal labels share the mean of their ranks.
///
/// # Source
/// Schlatt, Fröbe, Scells, Zhuang, Koopman, Zuccon, Stein, Potthast and Hagen 2025, "Rank-DistiLLM",
/// section 3.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdrMse {
    /// Steepness of the logistic function; above 0.
    pub alpha: f64,
}

impl Default for AdrMse {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

impl AdrMse {
    /// Returns the mean over candidates: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let (labels, mask) = (input.labels(), input.mask());
        let (i, j) = (pairs::first(labels.clone()), pairs::second(labels));
        let present = pairs::present(mask.clone());
        let above = j.clone().greater(i.clone()).bool_and(present.clone()).float();
        let level = j.equal(i).bool_and(present).float();
        // A candidate is level with itself, which makes 1/2 of the 1 that ranks start from.
        let ranks = pairs::sum_second(above) + pairs::sum_second(level) * 0.5 + 0.5;
        let smooth = pairs::smooth_ranks(input.candidate_scores(), mask.clone(), self.alpha);
        let terms = (ranks.clone() - smooth).square() * pairs::discount(ranks);
        masked::mean(terms, mask)
    }
}
