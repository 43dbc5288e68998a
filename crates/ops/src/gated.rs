//! Gated linear units: one half of every row lets the other through.

use burn::tensor::{Tensor, activation};

use crate::extension::{RerankOps, Routed, has_kernels};
use crate::gelu::gelu;

/// The function of the half that gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `x Φ(x)`: GeGLU.
    Gelu,
    /// GELU's approximation with tanh.
    GeluTanh,
    /// `x σ(x)`: SwiGLU.
    Silu,
}

/// Multiplies the second half of every row by a function of the first.
///
/// # Shapes
/// - `x`: `[rows, 2 * inner]`
/// - result: `[rows, inner]`
///
/// # Panics
/// When rows cannot be halved.
///
/// # Source
/// Shazeer 2020, "GLU Variants Improve Transformer", section 2.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tamis_ops::{Gate, gated};
///
/// let x = Tensor::<2>::from_floats([[0.0, 100.0, 5.0, 7.0]], &Device::flex());
/// let y = gated(x, Gate::Silu).into_data().try_into_vec::<f32>().expect("f32");
/// assert_eq!(y, [0.0, 700.0]);
/// ```
#[must_use]
pub fn gated(x: Tensor<2>, gate: Gate) -> Tensor<2> {
    let [_, width] = x.dims();
    assert!(width.is_multiple_of(2), "rows have two halves");
    if has_kernels(&x.device(), x.dtype()) {
        return Tensor::from_dispatch(Routed::tamis_gated(x.into_dispatch(), gate));
    }
    composed(x, gate)
}

fn composed(x: Tensor<2>, gate: Gate) -> Tensor<2> {
    let inner = x.dims()[1] / 2;
    let (first, second) = (x.clone().narrow(1, 0, inner), x.narrow(1, inner, inner));
    let first = match gate {
        Gate::Gelu => gelu(first),
        Gate::GeluTanh => activation::gelu_approximate(first),
        Gate::Silu => activation::silu(first),
    };
    first * second
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    #[test]
    fn kernels_and_their_gradients_equal_the_composition() {
        for gate in [Gate::Gelu, Gate::GeluTanh, Gate::Silu] {
            let x = random([130, 2 * 21], 1) * 4.0;
            // Products reach 16, where neighbouring singles are 2e-6 apart.
            assert_same([x], |[x]| gated(x, gate), |[x]| composed(x, gate), 1e-5);
        }
    }
}
