//! Pearson: one less the linear correlation of scores and labels in a group.

use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::masked;

/// One less Pearson's correlation, the mean over groups whose labels are not all equal.
///
/// # Formula
/// ```text
/// L = 1/|Q| Σ_q ( 1 - Σ_d ŝ_d ŷ_d ),  x̂ = (x - mean x) / √(Σ (x - mean x)² + ε)
/// ```
///
/// # Source
/// Pearson 1895; as a loss in lightning-ir's `PearsonCorrelation`. ε is 1e-6, so that equal scores have
/// a gradient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pearson {}

impl Pearson {
    /// Returns the mean over groups: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let mask = input.mask();
        let labels = centred(input.labels(), mask.clone());
        let spread = labels.clone().square().sum_dim(1);
        let counted = spread.clone().greater_elem(1e-12);
        let spread = spread.mask_fill(counted.clone().bool_not(), 1.0);
        let scores = centred(input.candidate_scores(), mask);
        let length = (scores.clone().square().sum_dim(1) + 1e-6).sqrt();
        let correlation = (scores * labels).sum_dim(1) / (length * spread.sqrt());
        masked::mean(correlation.neg() + 1.0, counted)
    }
}

/// Values less their mean in the group; 0 where there is no candidate.
fn centred(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<2> {
    let absent = mask.clone().bool_not();
    let values = values.mask_fill(absent.clone(), 0.0);
    let n = mask.float().sum_dim(1).clamp_min(1.0);
    let mean = values.clone().sum_dim(1) / n;
    (values - mean).mask_fill(absent, 0.0)
}
