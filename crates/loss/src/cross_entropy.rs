//! Softmax cross-entropy with any target distribution: multi-class labels and soft labels.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::masked;

/// Cross-entropy with a target distribution, the mean over groups that have a label above 0.
///
/// A head with several labels is expressed as groups too: one group per row, one candidate per class,
/// `scores[row, class]` its logit, and label 1 for the right class (or a probability for each).
///
/// # Formula
/// ```text
/// p_d = (1 - ε) y_d / Σ y + ε / n,  L = -1/|Q| Σ_q Σ_d p_qd log softmax(s_q)_d
/// ```
///
/// # Source
/// `torch.nn.CrossEntropyLoss`; smoothing ε after Szegedy et al. 2016, section 7.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossEntropy {
    /// The part ε of the target that is spread over all candidates; 0 to below 1.
    pub label_smoothing: f64,
}

impl CrossEntropy {
    /// Returns the mean over groups: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let present = input.mask().float();
        let labels = input.labels().clamp_min(0.0);
        let total = labels.clone().sum_dim(1);
        let given = total.clone().greater_elem(0.0);
        // The sum itself where it is above 0, however small; 1 elsewhere.
        let total = total.mask_fill(given.clone().bool_not(), 1.0);
        let uniform = present.clone() / present.sum_dim(1).clamp_min(1.0);
        let target = labels / total * (1.0 - self.label_smoothing) + uniform * self.label_smoothing;
        let log_probabilities = masked::log_softmax(input.scores(), input.mask());
        masked::mean((log_probabilities * target).sum_dim(1).neg(), given)
    }
}
