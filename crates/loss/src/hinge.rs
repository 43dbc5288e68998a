//! Pairwise hinge: a candidate with a higher label stands above by a margin.

use burn::tensor::{Tensor, activation::relu};
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::{masked, pairs};

/// Pairwise hinge, the mean over all pairs of the batch whose labels differ.
///
/// # Formula
/// ```text
/// L = mean over (i, j) with y_i > y_j of  max(0, margin - (s_i - s_j))
/// ```
///
/// # Source
/// Herbrich, Graepel and Obermayer 2000, "Large Margin Rank Boundaries for Ordinal Regression";
/// `torch.nn.MarginRankingLoss`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hinge {
    /// The distance that is enough; 0 or above.
    pub margin: f64,
}

impl Default for Hinge {
    fn default() -> Self {
        Self { margin: 1.0 }
    }
}

impl Hinge {
    /// Returns the mean over pairs: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let gap = pairs::difference(input.candidate_scores());
        masked::mean(relu(gap.neg() + self.margin), pairs::preferred(input))
    }
}
