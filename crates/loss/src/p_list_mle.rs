//! Position-aware ListMLE: choices at the top weigh more.

use burn::tensor::{Tensor, activation::sigmoid};
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::list_mle::choices;
use crate::mse::Space;
use crate::{masked, pairs};

/// ListMLE with weights that fall with the position, the mean over groups that have a candidate.
///
/// # Formula
/// ```text
/// w_i = (2^(n-i) - 1) / Σ_j (2^(n-j) - 1),  L = -1/|Q| Σ_q Σ_i w_i ( s_π(i) - log Σ_{j ≥ i} exp s_π(j) )
/// ```
///
/// # Source
/// Lan, Zhu, Guo, Niu and Cheng 2014, "Position-Aware ListMLE: A Sequential Learning Process for
/// Ranking", section 4. Differs: the weights of a group sum to 1, as in sentence-transformers 6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PListMle {
    /// What stands for `s`: `logit` or `sigmoid`.
    pub space: Space,
}

impl PListMle {
    /// Returns the mean over groups: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let scores = match self.space {
            Space::Logit => input.candidate_scores(),
            Space::Sigmoid => sigmoid(input.candidate_scores()),
        };
        let mask = input.mask();
        let position = pairs::ranks(input.labels(), mask.clone());
        let n = mask.clone().float().sum_dim(1);
        // Both divided by 2^n, which overflows for long lists.
        let last = pairs::exp2(n.clone().neg());
        let total = ((n + 1.0) * last.clone()).neg() + 1.0;
        // A list of one has no weight to give; lists of two have a total of 1/4.
        let weights = (pairs::exp2(position.neg()) - last) / total.clamp_min(0.1);
        let terms = choices(input, scores) * weights.mask_fill(mask.bool_not(), 0.0);
        masked::mean(terms.sum_dim(1), input.occupied())
    }
}
