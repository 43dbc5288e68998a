//! Localised contrastive estimation: softmax cross-entropy over the candidates of a group.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::masked;

/// Localised contrastive estimation.
///
/// The target is the uniform distribution over the positives of the group. With one positive, as
/// the paper has it, that is the negative log-likelihood of the positive. The loss is the mean over
/// the groups that have a positive.
///
/// # Formula
/// ```text
/// L = -1/|Q| Σ_q 1/|P_q| Σ_{p in P_q} log( exp(s_qp / τ) / Σ_{d in G_q} exp(s_qd / τ) )
/// ```
///
/// # Source
/// Gao, Dai and Callan 2021, "Rethink Training of BERT Rerankers in Multi-Stage Retrieval
/// Pipeline", section 3. Differs: the temperature τ holds under gradient caching too, where the
/// authors' code forgets it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lce {
    /// Scores are divided by it in the loss only; above 0.
    pub temperature: f64,
}

impl Default for Lce {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Lce {
    /// Returns the mean over groups: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let log_probabilities =
            masked::log_softmax(input.scores() / self.temperature, input.mask());
        let positives = input.positives().float();
        let n_positives = positives.clone().sum_dim(1);
        let target = positives / n_positives.clone().clamp_min(1.0);
        let per_group = (log_probabilities * target).sum_dim(1).neg();
        masked::mean(per_group, n_positives.greater_elem(0.0))
    }
}
