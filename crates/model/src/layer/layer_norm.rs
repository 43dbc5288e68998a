//! Layer normalisation with its parameters.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use tamis_ops::{Dropout, LayerNormParams};

use super::{Linear, zeros};

/// Layer normalisation over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    epsilon: f32,
}

impl LayerNorm {
    /// Scale 1 and shift 0.
    #[must_use]
    pub fn identity(width: usize, epsilon: f32, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([width], device)),
            bias: Some(zeros([width], device)),
            epsilon,
        }
    }

    /// With this scale and shift, each `[width]`.
    pub(crate) fn of(weight: Tensor<1>, bias: Tensor<1>, epsilon: f32) -> Self {
        let (weight, bias) = (Param::from_tensor(weight), Some(Param::from_tensor(bias)));
        Self { weight, bias, epsilon }
    }

    /// The same without a shift, or with one.
    #[must_use]
    pub(crate) fn identity_with(width: usize, epsilon: f32, shift: bool, device: &Device) -> Self {
        let norm = Self::identity(width, epsilon, device);
        if shift { norm } else { Self { bias: None, ..norm } }
    }

    /// # Shapes
    /// - `x` and the result: `[rows, width]`
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        tamis_ops::layer_norm(x, self.params())
    }

    /// Normalises `residual + dropout(x)`.
    ///
    /// # Shapes
    /// - all: `[rows, width]`
    #[must_use]
    pub fn forward_sum(&self, x: Tensor<2>, residual: Tensor<2>, dropout: Dropout) -> Tensor<2> {
        tamis_ops::add_layer_norm(x, residual, dropout, self.params())
    }

    /// Normalises `residual + dropout(linear(x))`: the end of a block.
    ///
    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - `residual` and the result: `[rows, width]`
    #[must_use]
    pub fn forward_block(
        &self,
        linear: &Linear,
        x: Tensor<2>,
        residual: Tensor<2>,
        dropout: Dropout,
    ) -> Tensor<2> {
        let sum = if dropout.is_none() { linear.forward_add(&x, &residual) } else { None };
        match sum {
            Some(sum) => self.forward(sum),
            None => self.forward_sum(linear.forward(x), residual, dropout),
        }
    }

    fn params(&self) -> LayerNormParams {
        let gamma = self.weight.val();
        let beta = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros(gamma.shape(), (&gamma.device(), gamma.dtype())),
        };
        LayerNormParams { gamma, beta, epsilon: self.epsilon }
    }
}
