//! A head that is one linear map of the first token, as PreTTR and the distilled models of its authors
//! have it.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::dropout_seeds::DropoutSeeds;
use crate::layer::Linear;

/// Dropout and a linear map to the labels.
#[derive(Module, Debug)]
pub struct LinearHead {
    classifier: Linear,
    #[module(skip)]
    dropout: f32,
}

/// What tells one such head from another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinearShape {
    /// Width of a hidden state.
    pub(crate) hidden: usize,
    /// Whether a constant is added.
    pub(crate) bias: bool,
    /// Dropout of what is read.
    pub(crate) dropout: f32,
}

impl LinearHead {
    pub(super) fn zeros(shape: LinearShape, n_labels: usize, device: &Device) -> Self {
        let classifier = Linear::zeros_with(shape.hidden, n_labels, shape.bias, device);
        Self { classifier, dropout: shape.dropout }
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        vec![&mut self.classifier]
    }

    /// # Shapes
    /// - `pooled`: `[rows, hidden]`
    /// - result: `[rows, labels]`
    pub(super) fn forward(&self, pooled: Tensor<2>, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let dropout = seeds.next(self.dropout);
        self.classifier.forward(tamis_ops::dropout(pooled, dropout))
    }
}
