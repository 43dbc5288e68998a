//! ApproxMRR: one less the reciprocal rank of the best positive, with smooth ranks.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::{masked, pairs};

/// Approximate reciprocal rank, the mean over groups that have a positive.
///
/// # Formula
/// ```text
/// r_i = 1 + Σ_{j ≠ i} σ((s_j - s_i) / τ),  L = 1/|Q| Σ_q ( 1 - max over positives p of 1 / r_p )
/// ```
///
/// # Source
/// The smooth ranks of Qin, Liu and Li 2010, section 4, in the reciprocal rank, as lightning-ir does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApproxMrr {
    /// τ: the lower, the closer ranks are to whole numbers; above 0.
    pub temperature: f64,
}

impl Default for ApproxMrr {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl ApproxMrr {
    /// Returns the mean over groups: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let positives = input.positives();
        let sharpness = 1.0 / self.temperature;
        let ranks = pairs::smooth_ranks(input.candidate_scores(), input.mask(), sharpness);
        let reciprocal = ranks.recip().mask_fill(positives.clone().bool_not(), 0.0);
        let counted = positives.float().sum_dim(1).greater_elem(0.0);
        masked::mean(reciprocal.max_dim(1).neg() + 1.0, counted)
    }
}
