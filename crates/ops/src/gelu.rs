//! The exact GELU.

use burn::tensor::Tensor;

use crate::extension::{RerankOps, Routed, has_kernels};
use crate::single::in_f32;

/// Applies `x · Φ(x)`, with Φ the normal distribution function, to every element.
///
/// The gradient is exact on every device: burn 0.22 differentiates the tanh approximation on GPUs,
/// so there the function is composed of `erf`.
///
/// # Source
/// Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2. On the CPU erf is the
/// rational approximation 7.1.26 of Abramowitz and Stegun (absolute error below 1.5e-7).
#[must_use]
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if has_kernels(&x.device(), x.dtype()) {
        return Tensor::from_dispatch(Routed::tamis_gelu(x.into_dispatch()));
    }
    in_f32(x, composed)
}

fn composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let cdf = ((x.clone() * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
    x * cdf
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    #[test]
    fn kernel_and_its_gradient_equal_the_composition() {
        let x = random([40, 70], 1) * 4.0;
        assert_same([x], |[x]| gelu(x), |[x]| composed(x), 1e-6);
    }
}
