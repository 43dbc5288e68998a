//! The convolution beside the first layer of DeBERTa-v2: what neighbouring tokens say.

use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, module};
use tamis_ops::Rows;

use super::padded_rows::PaddedRows;
use crate::dropout_seeds::DropoutSeeds;
use crate::layer::{Activation, LayerNorm};

/// What a convolution is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ConvolutionShape {
    pub(super) width: usize,
    /// Neighbouring places that it sees, an odd number.
    pub(super) n_places: usize,
    pub(super) n_groups: usize,
    pub(super) activation: Activation,
    /// The constant under the root of the norm.
    pub(super) epsilon: f32,
    pub(super) dropout: f32,
}

/// A convolution over the places of a row, added to the output of the first layer and normalised.
#[derive(Module, Debug)]
pub(super) struct Convolution {
    kernel: Kernel,
    norm: LayerNorm,
    #[module(skip)]
    n_groups: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    dropout: f32,
}

/// On disk and in memory `[out, in / groups, places]`.
#[derive(Module, Debug)]
struct Kernel {
    weight: Param<Tensor<3>>,
    bias: Param<Tensor<1>>,
}

impl Convolution {
    pub(super) fn zeros(shape: &ConvolutionShape, device: &Device) -> Self {
        let ConvolutionShape { width, n_places, n_groups, .. } = *shape;
        let weight = Tensor::zeros([width, width / n_groups, n_places], device);
        Self {
            kernel: Kernel {
                weight: Param::from_tensor(weight),
                bias: Param::from_tensor(Tensor::zeros([width], device)),
            },
            norm: LayerNorm::identity(width, shape.epsilon, device),
            n_groups,
            activation: shape.activation,
            dropout: shape.dropout,
        }
    }

    /// # Shapes
    /// - `x`, the input of the first layer, `output`, what it made of it, and the result:
    ///   `[tokens, hidden]`
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        output: Tensor<2>,
        rows: &Rows,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let padded = PaddedRows::new(rows, &x.device());
        let weight = self.kernel.weight.val();
        let padding = weight.dims()[2] / 2;
        let options = ConvOptions::new([1], [padding], [1], self.n_groups);
        let places = padded.pad(x).swap_dims(1, 2);
        let seen = module::conv1d(places, weight, Some(self.kernel.bias.val()), options);
        let seen = padded.pack(seen.swap_dims(1, 2));
        let seen = self.activation.forward(tamis_ops::dropout(seen, seeds.next(self.dropout)));
        self.norm.forward(output + seen)
    }
}
