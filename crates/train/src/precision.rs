//! What a model computes in while it learns: halves with single-precision weights behind them.

use burn::tensor::DType;
use serde::{Deserialize, Serialize};

/// The scale that training in `f16` begins with.
const FIRST_SCALE: f64 = 65_536.0;

/// Finite steps after which the scale is doubled.
const PATIENCE: u64 = 2000;

/// The numbers that the encoder computes in. Weights, the optimiser, the head and the loss keep `f32`.
///
/// # Source
/// Micikevicius et al. 2018, "Mixed Precision Training", section 3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// bfloat16: the range of `f32` with 8 digits.
    Bf16,
    /// float16, whose range is small: gradients are scaled.
    F16,
}

impl Precision {
    /// The type to cast to, if it is not that of the weights.
    pub(crate) fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }
}

/// What gradients are multiplied by, so that small ones are not lost and large ones do not overflow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScale {
    factor: f64,
    /// Finite steps since it changed.
    finite: u64,
}

impl LossScale {
    /// For the first step.
    pub(crate) fn first(precision: Precision) -> Self {
        let factor = if precision == Precision::F16 { FIRST_SCALE } else { 1.0 };
        Self { factor, finite: 0 }
    }

    /// The factor of the next step.
    pub(crate) fn factor(self) -> f64 {
        self.factor
    }

    /// After a step whose gradient was finite. A factor of 1 stays: nothing is scaled.
    pub(crate) fn grown(self) -> Self {
        if self.factor == 1.0 {
            return self;
        }
        match self.finite + 1 {
            PATIENCE => Self { factor: self.factor * 2.0, finite: 0 },
            finite => Self { finite, ..self },
        }
    }

    /// After a step whose gradient was not; `None` when there is nothing left to halve.
    pub(crate) fn halved(self) -> Option<Self> {
        // At 1 the gradient itself is not finite.
        (self.factor > 1.0).then(|| Self { factor: (self.factor / 2.0).max(1.0), finite: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_halves_until_it_fits_and_doubles_after_a_while() {
        let mut scale = LossScale::first(Precision::F16);
        assert_eq!(scale.factor(), 65_536.0);
        scale = scale.halved().unwrap();
        for _ in 0..PATIENCE - 1 {
            scale = scale.grown();
            assert_eq!(scale.factor(), 32_768.0);
        }
        assert_eq!(scale.grown().factor(), 65_536.0);
        // A step that overflows begins the count anew.
        assert_eq!(scale.halved().unwrap().grown().factor(), 16_384.0);
        let mut scale = LossScale::first(Precision::F16);
        let n = std::iter::from_fn(|| {
            scale = scale.halved()?;
            Some(scale)
        });
        assert_eq!(n.count(), 16);
        assert_eq!(LossScale::first(Precision::Bf16).halved(), None);
        assert_eq!(LossScale::first(Precision::F32).grown().factor(), 1.0);
    }
}
