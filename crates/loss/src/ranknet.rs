//! RankNet: the logistic loss of every pair whose labels differ.

use burn::tensor::{Tensor, activation::log_sigmoid};
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::{masked, pairs};

/// Logistic loss of pairs, the mean over all pairs of the batch whose labels differ.
///
/// # Formula
/// ```text
/// L = mean over (i, j) with y_i > y_j of  w_ij log(1 + exp(-σ (s_i - s_j))),  w_ij = 1 or y_i - y_j
/// ```
///
/// # Source
/// Burges et al. 2005, "Learning to Rank using Gradient Descent", section 3. Differs: only pairs with
/// different labels count. sentence-transformers' `RankNetLoss` takes the logarithm to base 2, which
/// is `weight = 1.4426950408889634` here; RAG-Retrieval's `pairwise_ranknet` weighs by the gap.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RankNet {
    /// Steepness σ of the logistic function; above 0.
    pub sigma: f64,
    /// Only pairs with one of the two among the `k` highest scores; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// Whether a pair weighs as much as its labels differ.
    pub weigh_by_gap: bool,
}

impl Default for RankNet {
    fn default() -> Self {
        Self { sigma: 1.0, k: None, weigh_by_gap: false }
    }
}

impl RankNet {
    /// Returns the mean over pairs: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let scores = input.candidate_scores();
        let mut counted = pairs::preferred(input);
        if let Some(k) = self.k {
            let ranks = pairs::ranks(scores.clone(), input.mask());
            let (i, j) = (pairs::first(ranks.clone()), pairs::second(ranks));
            let top = i.lower_equal_elem(k as f64).bool_or(j.lower_equal_elem(k as f64));
            counted = counted.bool_and(top);
        }
        let mut terms = log_sigmoid(pairs::difference(scores) * self.sigma).neg();
        if self.weigh_by_gap {
            terms = terms * pairs::difference(input.labels());
        }
        masked::mean(terms, counted)
    }
}
