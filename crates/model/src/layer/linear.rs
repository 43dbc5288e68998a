//! An affine map with its parameters.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// An affine map. On disk its weight is `[out, in]`, in memory `[in, out]`.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// All zeros, to be filled by a checkpoint or an initialisation.
    #[must_use]
    pub fn zeros(n_in: usize, n_out: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([n_in, n_out], device)),
            bias: Some(Param::from_tensor(Tensor::zeros([n_out], device))),
        }
    }

    /// The same without a bias, or with one.
    #[must_use]
    pub(crate) fn zeros_with(n_in: usize, n_out: usize, bias: bool, device: &Device) -> Self {
        let linear = Self::zeros(n_in, n_out, device);
        if bias { linear } else { Self { bias: None, ..linear } }
    }

    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - result: `[rows, out]`
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val();
        let bias = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([weight.dims()[1]], &weight.device()),
        };
        tamis_ops::linear(x, weight, bias)
    }
}
