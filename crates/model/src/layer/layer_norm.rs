//! Layer normalisation with its parameters.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use tamis_ops::{Dropout, LayerNormParams};

use super::Linear;

/// Layer normalisation over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f32,
}

impl LayerNorm {
    /// Scale 1 and shift 0.
    #[must_use]
    pub fn identity(width: usize, epsilon: f32, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([width], device)),
            bias: Param::from_tensor(Tensor::zeros([width], device)),
            epsilon,
        }
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
        LayerNormParams { gamma: self.weight.val(), beta: self.bias.val(), epsilon: self.epsilon }
    }
}
