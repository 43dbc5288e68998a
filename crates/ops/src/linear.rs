//! An affine map of rows.

use burn::tensor::Tensor;

use crate::extension::{RerankOps, Routed, has_kernels};

/// Computes `x · weight + bias`.
///
/// # Shapes
/// - `x`: `[rows, in]`
/// - `weight`: `[in, out]`, burn's order (PyTorch's transposed)
/// - `bias`: `[out]`
/// - result: `[rows, out]`
#[must_use]
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    if has_kernels(&x.device(), x.dtype()) {
        return Tensor::from_dispatch(Routed::tamis_linear(
            x.into_dispatch(),
            weight.into_dispatch(),
            bias.into_dispatch(),
        ));
    }
    composed(x, weight, bias)
}

fn composed(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    x.matmul(weight) + bias.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    #[test]
    fn kernel_and_its_gradient_equal_the_composition() {
        let inputs = [random([300, 33], 1), random([33, 17], 2), random([1, 17], 3)];
        assert_same(
            inputs,
            |[x, w, b]| linear(x, w, b.squeeze_dim(0)),
            |[x, w, b]| composed(x, w, b.squeeze_dim(0)),
            1e-4,
        );
    }
}
