//! The only arithmetic with pairs: every candidate of a group beside every other one, and ranks.
//!
//! Cubes are `[groups, i, j]`. Ranks are counted instead of sorted, so nothing leaves the device.

use burn::tensor::{Bool, Tensor, TensorData};

use crate::input::LossInput;

/// The value of `i` in every place `(i, j)`.
pub(crate) fn first(values: Tensor<2>) -> Tensor<3> {
    let [n_groups, n] = values.dims();
    values.unsqueeze_dim::<3>(2).expand([n_groups, n, n])
}

/// The value of `j` in every place `(i, j)`.
pub(crate) fn second(values: Tensor<2>) -> Tensor<3> {
    let [n_groups, n] = values.dims();
    values.unsqueeze_dim::<3>(1).expand([n_groups, n, n])
}

/// The value of `i` less that of `j`.
pub(crate) fn difference(values: Tensor<2>) -> Tensor<3> {
    first(values.clone()) - second(values)
}

/// Whether `i` and `j` are candidates; `i` may be `j`.
pub(crate) fn present(mask: Tensor<2, Bool>) -> Tensor<3, Bool> {
    let [n_groups, n] = mask.dims();
    let cube = [n_groups, n, n];
    let i = mask.clone().unsqueeze_dim::<3>(2).expand(cube);
    i.bool_and(mask.unsqueeze_dim::<3>(1).expand(cube))
}

/// Whether `i` and `j` are two different candidates.
pub(crate) fn distinct(mask: Tensor<2, Bool>) -> Tensor<3, Bool> {
    let same = places(&mask, |i, j| i == j);
    present(mask).bool_and(same.bool_not())
}

/// Whether the label of `i` is above that of `j`.
pub(crate) fn preferred(input: &LossInput) -> Tensor<3, Bool> {
    let labels = input.labels();
    first(labels.clone()).greater(second(labels)).bool_and(present(input.mask()))
}

/// Whether `j` stands before `i` when candidates are sorted by value, the highest first; equal values
/// keep their order.
pub(crate) fn behind(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<3, Bool> {
    let earlier = places(&mask, |i, j| j < i);
    let (i, j) = (first(values.clone()), second(values));
    let tied = j.clone().equal(i.clone()).bool_and(earlier);
    j.greater(i).bool_or(tied).bool_and(present(mask))
}

/// The rank of every candidate by value, from 1, the highest first; equal values keep their order.
/// It has no gradient.
pub(crate) fn ranks(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<2> {
    let [n_groups, n] = values.dims();
    let before = behind(values.detach(), mask).float();
    before.sum_dim(2).reshape([n_groups, n]) + 1.0
}

/// Smooth ranks: `1 + Σ_j σ((s_j - s_i) · sharpness)` over the other candidates.
///
/// # Source
/// Qin, Liu and Li 2010, "A general approximation framework for direct optimization of information
/// retrieval measures", equation 12.
pub(crate) fn smooth_ranks(scores: Tensor<2>, mask: Tensor<2, Bool>, sharpness: f64) -> Tensor<2> {
    let [n_groups, n] = scores.dims();
    let others = distinct(mask);
    let above = burn::tensor::activation::sigmoid(difference(scores).neg() * sharpness);
    above.mask_fill(others.bool_not(), 0.0).sum_dim(2).reshape([n_groups, n]) + 1.0
}

/// Sums a cube over `j`.
pub(crate) fn sum_second(cube: Tensor<3>) -> Tensor<2> {
    let [n_groups, n, _] = cube.dims();
    cube.sum_dim(2).reshape([n_groups, n])
}

/// `2^x`
pub(crate) fn exp2(values: Tensor<2>) -> Tensor<2> {
    (values * std::f64::consts::LN_2).exp()
}

/// `1 / log2(1 + rank)`
pub(crate) fn discount<const D: usize>(ranks: Tensor<D>) -> Tensor<D> {
    (ranks + 1.0).log().recip() * std::f64::consts::LN_2
}

/// A relation of places, the same in every group.
fn places(mask: &Tensor<2, Bool>, relation: fn(usize, usize) -> bool) -> Tensor<3, Bool> {
    let [n_groups, n] = mask.dims();
    let values: Vec<bool> = (0..n * n).map(|place| relation(place / n, place % n)).collect();
    let one = Tensor::<3, Bool>::from_data(TensorData::new(values, [1, n, n]), &mask.device());
    one.expand([n_groups, n, n])
}
