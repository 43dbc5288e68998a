//! A table of vectors, one per id.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

/// A table of vectors.
#[derive(Module, Debug)]
pub struct Embedding {
    weight: Param<Tensor<2>>,
}

impl Embedding {
    /// All zeros, to be filled by a checkpoint or an initialisation.
    #[must_use]
    pub fn zeros(n_ids: usize, width: usize, device: &Device) -> Self {
        Self { weight: Param::from_tensor(Tensor::zeros([n_ids, width], device)) }
    }

    /// # Shapes
    /// - `ids`: `[tokens]`, each below the number of ids
    /// - result: `[tokens, width]`
    #[must_use]
    pub fn forward(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        self.weight.val().select(0, ids)
    }
}
