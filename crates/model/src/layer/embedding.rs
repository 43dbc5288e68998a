//! A table of vectors, one per id.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Int, Tensor};

use super::zeros;

/// A table of vectors.
#[derive(Module, Debug)]
pub struct Embedding {
    weight: Param<Tensor<2>>,
    /// Whether vectors are kept in a narrower type than they are used in.
    #[module(skip)]
    is_narrow: bool,
}

impl Embedding {
    /// All zeros, to be filled by a checkpoint or an initialisation.
    #[must_use]
    pub fn zeros(n_ids: usize, width: usize, device: &Device) -> Self {
        Self { weight: zeros([n_ids, width], device), is_narrow: false }
    }

    /// # Shapes
    /// - `ids`: `[tokens]`, each below the number of ids
    /// - result: `[tokens, width]`
    #[must_use]
    pub fn forward(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        let vectors = self.weight.val().select(0, ids);
        if self.is_narrow { vectors.cast(DType::F32) } else { vectors }
    }

    /// All of them: `[ids, width]`.
    pub(crate) fn vectors(&self) -> Tensor<2> {
        let vectors = self.weight.val();
        if self.is_narrow { vectors.cast(DType::F32) } else { vectors }
    }

    /// The identity of the table, and its ids and width.
    pub(crate) fn weight_shape(&self) -> (ParamId, [usize; 2]) {
        (self.weight.id, self.weight.lazy_shape().dims())
    }

    /// Takes a table of the same shape that stays in a narrower type; vectors are still `f32`.
    pub(crate) fn fill_narrow(&mut self, weight: Tensor<2>) {
        self.weight = self.weight.clone().transform_for_load(weight, self.weight.id);
        self.is_narrow = true;
    }
}
