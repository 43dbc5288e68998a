//! Margin-MSE: the student keeps the teacher's distances between positives and negatives.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::masked;

/// Margin mean squared error, the mean over all pairs of a positive and another candidate of its
/// group.
///
/// # Formula
/// ```text
/// L = mean over (p, n) of ( (s_p - s_n) - (t_p - t_n) )²
/// ```
///
/// # Source
/// Hofstätter, Althammer, Schröder, Sertkan and Hanbury 2020, section 3.1. Differs: a group may have
/// any number of positives and negatives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarginMse {}

impl MarginMse {
    /// Returns the mean over pairs: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let absent = input.mask().bool_not();
        let gap = (input.scores() - input.teacher_scores()).mask_fill(absent, 0.0);
        // The difference of margins of a pair is the difference of the two gaps.
        let error = gap.clone().unsqueeze_dim::<3>(2) - gap.unsqueeze_dim::<3>(1);
        let positives = input.positives();
        let others = positives.clone().bool_not().bool_and(input.mask());
        let [n_groups, n_candidates] = positives.dims();
        let cube = [n_groups, n_candidates, n_candidates];
        let pairs = positives
            .unsqueeze_dim::<3>(2)
            .expand(cube)
            .bool_and(others.unsqueeze_dim::<3>(1).expand(cube));
        masked::mean(error.square(), pairs)
    }
}
