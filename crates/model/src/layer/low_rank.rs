//! What an adapter adds to an affine map: a product of two narrow matrices.

use std::cell::RefCell;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::dropout_seeds::DropoutSeeds;

/// `scale · dropout(x) · a · b`, added to some columns of a map's output.
///
/// # Source
/// Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1.
#[derive(Module, Debug)]
pub(crate) struct LowRank {
    /// `[in, rank]`
    pub(crate) a: Param<Tensor<2>>,
    /// `[rank, columns]`
    pub(crate) b: Param<Tensor<2>>,
    /// The first column that is added to.
    #[module(skip)]
    pub(crate) start: usize,
    #[module(skip)]
    pub(crate) scale: f64,
    #[module(skip)]
    pub(crate) dropout: f32,
    /// The switch that it hangs on; it is always used without one.
    #[module(skip)]
    pub(crate) switch: Option<u8>,
}

impl LowRank {
    /// What is added to an output of `n_out` columns.
    pub(super) fn forward(&self, x: Tensor<2>, n_out: usize) -> Tensor<2> {
        let x = tamis_ops::dropout(x, next_dropout(self.dropout));
        let added = x.matmul(self.a.val()).matmul(self.b.val()) * self.scale;
        let [n_rows, columns] = added.dims();
        if columns == n_out {
            return added;
        }
        let device = added.device();
        let zeros = |n: usize| Tensor::<2>::zeros([n_rows, n], &device);
        let rest = n_out - self.start - columns;
        let parts = [(self.start, None), (columns, Some(added)), (rest, None)];
        let parts = parts
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, part)| part.unwrap_or_else(|| zeros(n)))
            .collect();
        Tensor::cat(parts, 1)
    }

    /// What is added to a weight of `[in, n_out]`.
    pub(super) fn weight(&self, n_out: usize, device: &Device) -> Tensor<2> {
        let product = self.a.val().matmul(self.b.val()) * self.scale;
        let [n_in, columns] = product.dims();
        let whole = Tensor::<2>::zeros([n_in, n_out], device);
        whole.slice_assign([0..n_in, self.start..self.start + columns], product)
    }
}

thread_local! {
    /// The seeds of the forward pass that this thread is in. Adapters take theirs from here, so that
    /// maps without one need none.
    static SEEDS: RefCell<DropoutSeeds> = RefCell::new(DropoutSeeds::inference());
}

/// Runs a forward pass whose adapters draw their dropout from `seeds`.
pub(crate) fn with_seeds<T>(seeds: DropoutSeeds, forward: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also after a panic.
    struct Restore(Option<DropoutSeeds>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(old) = self.0.take() {
                SEEDS.with(|cell| cell.replace(old));
            }
        }
    }
    let _restore = Restore(Some(SEEDS.with(|cell| cell.replace(seeds))));
    forward()
}

fn next_dropout(probability: f32) -> tamis_ops::Dropout {
    SEEDS.with(|cell| cell.borrow_mut().next(probability))
}
