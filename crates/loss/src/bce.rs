//! Binary cross-entropy of every candidate by itself.

use burn::tensor::{Tensor, activation::log_sigmoid};
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::masked;

/// Binary cross-entropy with logits, the mean over candidates. Labels are in `[0, 1]`.
///
/// # Formula
/// ```text
/// L = -1/N Σ ( w · y · log σ(s) + (1 - y) · log(1 - σ(s)) )
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bce {
    /// The weight `w` of the positive part; the number of negatives per positive balances the two.
    pub pos_weight: f64,
}

impl Default for Bce {
    fn default() -> Self {
        Self { pos_weight: 1.0 }
    }
}

impl Bce {
    /// Returns the mean over candidates: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let (scores, labels) = (input.scores(), input.labels());
        let positive = labels.clone() * log_sigmoid(scores.clone()) * self.pos_weight;
        let negative = (labels.neg() + 1.0) * log_sigmoid(scores.neg());
        masked::mean((positive + negative).neg(), input.mask())
    }
}
