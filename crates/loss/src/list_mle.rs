//! ListMLE: the likelihood of the order of the labels under Plackett and Luce's model.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::{masked, pairs};

/// Negative log-likelihood of the order of the labels, the mean over groups that have a candidate.
///
/// # Formula
/// ```text
/// L = -1/|Q| Σ_q Σ_i ( s_π(i) - log Σ_{j ≥ i} exp s_π(j) ),  π sorts by label, the highest first
/// ```
///
/// Equal labels keep the order of the candidates: with many ties [`ListNet`](crate::ListNet) is the
/// better choice.
///
/// # Source
/// Xia, Liu, Wang, Zhang and Li 2008, "Listwise Approach to Learning to Rank: Theory and Algorithm",
/// section 4.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListMle {}

impl ListMle {
    /// Returns the mean over groups: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let per_group = choices(input, input.candidate_scores()).sum_dim(1);
        masked::mean(per_group, input.occupied())
    }
}

/// The negative log-likelihood of choosing each candidate among those that are left: 0 where there is
/// no candidate, `[groups, candidates]`.
pub(crate) fn choices(input: &LossInput, scores: Tensor<2>) -> Tensor<2> {
    let mask = input.mask();
    // Left for `i`: itself and all that stand behind it.
    let left = pairs::behind(input.labels(), mask.clone()).bool_not();
    let left = left.bool_and(pairs::present(mask.clone()));
    let log_sums = masked::log_sum_exp(pairs::second(scores.clone()), left);
    (log_sums - scores).mask_fill(mask.bool_not(), 0.0)
}
