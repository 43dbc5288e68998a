//! Kullback-Leibler divergence from the teacher's distribution over a group to the student's.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::masked;

/// Divergence of the student's softmax from the teacher's, the mean over groups.
///
/// # Formula
/// ```text
/// p = softmax(t / τ_t),  q = softmax(s / τ),  L = 1/|Q| Σ_q Σ_d p_qd (log p_qd - log q_qd)
/// ```
///
/// Its gradient is that of the soft cross-entropy `-Σ p log q`.
///
/// # Source
/// Hinton, Vinyals and Dean 2015, section 2. Differs: the factor τ² is left to the term's weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KlDivergence {
    /// The student's τ; above 0.
    pub temperature: f64,
    /// The teacher's τ; above 0.
    pub teacher_temperature: f64,
}

impl Default for KlDivergence {
    fn default() -> Self {
        Self { temperature: 1.0, teacher_temperature: 1.0 }
    }
}

impl KlDivergence {
    /// Returns the mean over groups that have a candidate: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let mask = input.mask();
        let teacher = (input.teacher_scores() / self.teacher_temperature).detach();
        let log_p = masked::log_softmax(teacher, mask.clone());
        let log_q = masked::log_softmax(input.scores() / self.temperature, mask.clone());
        let terms = log_p.clone().exp() * (log_p - log_q);
        let present = mask.clone().float().sum_dim(1).greater_elem(0.0);
        let per_group = terms.mask_fill(mask.bool_not(), 0.0).sum_dim(1);
        masked::mean(per_group, present)
    }
}
