//! Normalisation by the root mean square.

use burn::tensor::{DType, Tensor};

use crate::extension::{RerankOps, Routed, has_kernels};
use crate::single::in_f32;

/// Divides every row of `x` by `sqrt(mean(x²) + epsilon)` and scales it by `gamma`.
///
/// # Shapes
/// - `x` and the result: `[rows, hidden]`
/// - `gamma`: `[hidden]`
///
/// # Source
/// Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", section 3; the constant is that
/// of Llama's code.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tamis_ops::rms_norm;
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[3.0, 4.0]], &device);
/// let y = rms_norm(x, Tensor::ones([2], &device), 0.0);
/// // The root mean square of 3 and 4 is sqrt(12.5).
/// let expected = Tensor::<2>::from_floats([[0.848_528, 1.131_371]], &device);
/// assert!((y - expected).abs().max().into_scalar::<f32>() < 1e-5);
/// ```
#[must_use]
pub fn rms_norm(x: Tensor<2>, gamma: Tensor<1>, epsilon: f32) -> Tensor<2> {
    if has_kernels(&x.device(), x.dtype()) {
        let (x, gamma) = (x.into_dispatch(), gamma.into_dispatch());
        return Tensor::from_dispatch(Routed::tamis_rms_norm(x, gamma, epsilon));
    }
    in_f32(x, |x| composed(x, gamma.cast(DType::F32), epsilon))
}

fn composed(x: Tensor<2>, gamma: Tensor<1>, epsilon: f32) -> Tensor<2> {
    let mean_square = x.clone().square().mean_dim(1);
    x / (mean_square + epsilon).sqrt() * gamma.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    #[test]
    fn kernel_and_its_gradient_equal_the_composition() {
        assert_same(
            [random([150, 37], 1), random([1, 37], 2)],
            |[x, gamma]| rms_norm(x, gamma.squeeze_dim(0), 1e-6),
            |[x, gamma]| composed(x, gamma.squeeze_dim(0), 1e-6),
            2e-5,
        );
    }
}
