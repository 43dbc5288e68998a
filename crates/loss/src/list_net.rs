//! ListNet: cross-entropy between the softmax of the labels and that of the scores.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::masked;

/// Top-one cross-entropy, the mean over groups that have a candidate.
///
/// # Formula
/// ```text
/// p = softmax(y / τ_y),  L = -1/|Q| Σ_q Σ_d p_qd log softmax(s_q / τ)_d
/// ```
///
/// # Source
/// Cao, Qin, Liu, Tsai and Li 2007, "Learning to Rank: From Pairwise Approach to Listwise Approach",
/// section 4.2. With `positives_only` it is `listwise_ce` of RAG-Retrieval's later revision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListNet {
    /// The scores' τ; above 0.
    pub temperature: f64,
    /// The labels' τ; above 0.
    pub label_temperature: f64,
    /// Whether candidates with label 0 get no part of the target.
    pub positives_only: bool,
}

impl Default for ListNet {
    fn default() -> Self {
        Self { temperature: 1.0, label_temperature: 1.0, positives_only: false }
    }
}

impl ListNet {
    /// Returns the mean over groups: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let mask = input.mask();
        let targeted = if self.positives_only {
            input.labels().not_equal_elem(0.0).bool_and(mask.clone())
        } else {
            mask.clone()
        };
        let log_target =
            masked::log_softmax(input.labels() / self.label_temperature, targeted.clone());
        let target = log_target.exp().mask_fill(targeted.clone().bool_not(), 0.0);
        let log_probabilities = masked::log_softmax(input.scores() / self.temperature, mask);
        let present = targeted.float().sum_dim(1).greater_elem(0.0);
        masked::mean((target * log_probabilities).sum_dim(1).neg(), present)
    }
}
