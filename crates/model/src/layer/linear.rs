//! An affine map with its parameters.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// An affine map. On disk its weight is `[out, in]`, in memory `[in, out]`.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    /// All zeros, to be filled by a checkpoint or an initialisation.
    #[must_use]
    pub fn zeros(n_in: usize, n_out: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([n_in, n_out], device)),
            bias: Param::from_tensor(Tensor::zeros([n_out], device)),
        }
    }

    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - result: `[rows, out]`
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        tamis_ops::linear(x, self.weight.val(), self.bias.val())
    }
}
