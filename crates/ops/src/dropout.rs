//! Dropout as a pure function of a seed and an element's position.

use burn::tensor::{Distribution, Tensor};

use crate::extension::{RerankOps, Routed, has_kernels};

/// How likely an element is dropped, and the seed that decides which.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability of dropping an element, in `[0, 1)`.
    pub probability: f32,
    /// Equal seeds drop equal positions.
    pub seed: u64,
}

impl Dropout {
    /// Drops nothing.
    pub const NONE: Self = Self { probability: 0.0, seed: 0 };

    /// Whether this drops nothing.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.probability <= 0.0
    }
}

/// Sets elements to 0 with the given probability and scales the others by `1 / (1 - probability)`.
///
/// # Source
/// Srivastava et al. 2014, "Dropout", in its inverted form.
#[must_use]
pub fn dropout<const D: usize>(x: Tensor<D>, dropout: Dropout) -> Tensor<D> {
    if dropout.is_none() {
        return x;
    }
    if has_kernels(&x.device(), x.dtype()) {
        return Tensor::from_dispatch(Routed::tamis_dropout(x.into_dispatch(), dropout));
    }
    let device = x.device();
    device.seed(dropout.seed);
    let keep = 1.0 - f64::from(dropout.probability);
    let mask = Tensor::<D>::random(x.shape(), Distribution::Bernoulli(keep), &device);
    let mask = (mask.detach() / keep).cast(x.dtype());
    x * mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    #[test]
    fn gradient_goes_where_elements_stayed() {
        let drop = Dropout { probability: 0.4, seed: 3 };
        let x = random([50, 30], 1);
        let ones = Tensor::<2>::ones([50, 30], &x.device());
        let mask = dropout(ones, drop);
        assert_same([x], |[x]| dropout(x, drop), |[x]| x * mask.clone(), 1e-7);
    }
}
