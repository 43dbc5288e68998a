//! Normalisation by the root mean square with its parameter.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// Normalisation of rows by their root mean square.
#[derive(Module, Debug)]
pub struct RmsNorm {
    weight: Param<Tensor<1>>,
    /// What is added to the weight: Gemma's is kept as its distance from 1.
    #[module(skip)]
    offset: f32,
    #[module(skip)]
    epsilon: f32,
}

impl RmsNorm {
    /// Scale 1, kept as `1 - offset`.
    #[must_use]
    pub(crate) fn identity(width: usize, epsilon: f32, offset: f32, device: &Device) -> Self {
        let weight = Tensor::ones([width], device) - offset;
        Self { weight: Param::from_tensor(weight), offset, epsilon }
    }

    /// # Shapes
    /// - `x` and the result: `[rows, width]`
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val();
        let scale = if self.offset == 0.0 { weight } else { weight + self.offset };
        tamis_ops::rms_norm(x, scale, self.epsilon)
    }

    /// The same for every head of some columns.
    ///
    /// # Shapes
    /// - `x` and the result: `[rows, heads * width]`
    pub(crate) fn forward_heads(&self, x: Tensor<2>) -> Tensor<2> {
        let ([n_rows, n_columns], [width]) = (x.dims(), self.weight.val().dims());
        let heads = x.reshape([n_rows * n_columns / width, width]);
        self.forward(heads).reshape([n_rows, n_columns])
    }
}
