//! Layer normalisation, alone or of a sum with a residual.

use burn::tensor::{DType, Tensor};

use crate::dropout::{Dropout, dropout};
use crate::extension::{RerankOps, Routed, has_kernels};
use crate::single::in_f32;

/// The learnt scale and shift, `[hidden]` each, and the constant under the root.
#[derive(Debug, Clone)]
pub struct LayerNormParams {
    /// Scale.
    pub gamma: Tensor<1>,
    /// Shift.
    pub beta: Tensor<1>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Normalises every row of `x` to mean 0 and variance 1, then scales and shifts it.
///
/// # Shapes
/// - `x` and the result: `[rows, hidden]`
///
/// # Source
/// Ba, Kiros and Hinton 2016, "Layer Normalization", section 3 (biased variance).
#[must_use]
pub fn layer_norm(x: Tensor<2>, params: LayerNormParams) -> Tensor<2> {
    let LayerNormParams { gamma, beta, epsilon } = params;
    if has_kernels(&x.device(), x.dtype()) {
        return Tensor::from_dispatch(Routed::tamis_layer_norm(
            x.into_dispatch(),
            gamma.into_dispatch(),
            beta.into_dispatch(),
            epsilon,
        ));
    }
    let single = |values: Tensor<1>| values.cast(DType::F32);
    in_f32(x, |x| {
        composed(x, LayerNormParams { gamma: single(gamma), beta: single(beta), epsilon })
    })
}

fn composed(x: Tensor<2>, params: LayerNormParams) -> Tensor<2> {
    let LayerNormParams { gamma, beta, epsilon } = params;
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    let normal = centred / (variance + epsilon).sqrt();
    normal * gamma.unsqueeze() + beta.unsqueeze()
}

/// Normalises `residual + dropout(x)`: the end of every block of a post-norm transformer.
///
/// # Shapes
/// - `x`, `residual` and the result: `[rows, hidden]`
#[must_use]
pub fn add_layer_norm(
    x: Tensor<2>,
    residual: Tensor<2>,
    drop: Dropout,
    params: LayerNormParams,
) -> Tensor<2> {
    let sum = if has_kernels(&x.device(), x.dtype()) {
        Tensor::from_dispatch(Routed::tamis_add_dropout(
            x.into_dispatch(),
            residual.into_dispatch(),
            drop,
        ))
    } else {
        residual + dropout(x, drop)
    };
    layer_norm(sum, params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    #[test]
    fn kernel_and_its_gradient_equal_the_composition() {
        let params = |gamma: Tensor<2>, beta: Tensor<2>| LayerNormParams {
            gamma: gamma.squeeze_dim(0),
            beta: beta.squeeze_dim(0),
            epsilon: 1e-12,
        };
        let inputs =
            || [random([150, 37], 1), random([150, 37], 2), random([1, 37], 3), random([1, 37], 4)];
        assert_same(
            inputs(),
            |[x, r, g, b]| add_layer_norm(x, r, Dropout::NONE, params(g, b)),
            |[x, r, g, b]| composed(x + r, params(g, b)),
            2e-5,
        );
        // With dropout the kernel must be the norm of a sum with a dropped input.
        let drop = Dropout { probability: 0.3, seed: 5 };
        assert_same(
            inputs(),
            |[x, r, g, b]| add_layer_norm(x, r, drop, params(g, b)),
            |[x, r, g, b]| composed(dropout(x, drop) + r, params(g, b)),
            2e-5,
        );
    }
}
