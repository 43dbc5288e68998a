//! The only arithmetic with masks: means, log-softmax and log-sum-exp over the candidates that exist.

use burn::tensor::{Bool, Tensor, activation};

/// Below every logit, far from the edge of `f32`, and `exp` of it is 0.
const FLOOR: f64 = -1e30;

/// The log-softmax of each group over its candidates; 0 elsewhere.
///
/// # Shapes
/// - all: `[groups, candidates]`
pub(crate) fn log_softmax(scores: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<2> {
    let absent = mask.bool_not();
    let filled = scores.mask_fill(absent.clone(), FLOOR);
    activation::log_softmax(filled, 1).mask_fill(absent, 0.0)
}

/// The logarithm of the sum of exponentials over `j`, where the mask is set: `[groups, i]`.
///
/// # Shapes
/// - `values`, `mask`: `[groups, i, j]`
pub(crate) fn log_sum_exp(values: Tensor<3>, mask: Tensor<3, Bool>) -> Tensor<2> {
    let [n_groups, n, _] = values.dims();
    let absent = mask.bool_not();
    let filled = values.mask_fill(absent.clone(), FLOOR);
    // Where nothing is set the floor is the maximum too, and the sum is its logarithm.
    let highest = filled.clone().detach().max_dim(2);
    let sum = (filled - highest.clone()).exp().sum_dim(2);
    (sum.log() + highest).reshape([n_groups, n])
}

/// The mean of the values where the mask is set; 0 when it is set nowhere.
pub(crate) fn mean<const D: usize>(values: Tensor<D>, mask: Tensor<D, Bool>) -> Tensor<1> {
    let count = mask.clone().float().sum().clamp_min(1.0);
    // A fill and not a product: what stands in a masked place may be infinite.
    values.mask_fill(mask.bool_not(), 0.0).sum() / count
}
