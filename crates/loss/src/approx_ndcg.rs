//! ApproxNDCG: one less nDCG, with smooth ranks.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::{masked, pairs};

/// What a label is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gain {
    /// `2^y - 1`
    #[default]
    Exponential,
    /// `y`
    Linear,
}

/// Approximate nDCG, the mean over groups that have a label above 0.
///
/// # Formula
/// ```text
/// r_i = 1 + Σ_{j ≠ i} σ((s_j - s_i) / τ),  L = 1/|Q| Σ_q ( 1 - 1/maxDCG Σ_i g(y_i) / log2(1 + r_i) )
/// ```
///
/// # Source
/// Qin, Liu and Li 2010, "A general approximation framework for direct optimization of information
/// retrieval measures", section 4; Bruch, Zoghi, Bendersky and Najork 2019.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApproxNdcg {
    /// τ: the lower, the closer ranks are to whole numbers; above 0.
    pub temperature: f64,
    /// `exponential` or `linear`.
    pub gain: Gain,
}

impl Default for ApproxNdcg {
    fn default() -> Self {
        Self { temperature: 1.0, gain: Gain::default() }
    }
}

impl ApproxNdcg {
    /// Returns the mean over groups: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let (scores, mask) = (input.candidate_scores(), input.mask());
        let labels = input.labels().clamp_min(0.0);
        let gains = match self.gain {
            Gain::Exponential => pairs::exp2(labels.clone()) - 1.0,
            Gain::Linear => labels.clone(),
        };
        let ideal = gains.clone() * pairs::discount(pairs::ranks(labels, mask.clone()));
        let ideal = ideal.sum_dim(1);
        let counted = ideal.clone().greater_elem(0.0);
        let ideal = ideal.mask_fill(counted.clone().bool_not(), 1.0);
        let ranks = pairs::smooth_ranks(scores, mask, 1.0 / self.temperature);
        let per_group = ((gains * pairs::discount(ranks)).sum_dim(1) / ideal).neg() + 1.0;
        masked::mean(per_group, counted)
    }
}
