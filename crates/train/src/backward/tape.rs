//! What the blocks of a forward pass read, kept to work each of them out again on the way back.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Tensor, TensorData};
use tamis_data::Batch;
use tamis_model::{CrossEncoder, DropoutSeeds, Input};

use super::{Backward, numbers};

/// A forward pass of which only the inputs of its blocks are kept.
///
/// # Source
/// Chen, Xu, Zhang and Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost", section 4, with
/// every layer a segment.
pub(super) struct Tape {
    input: Input,
    seeds: DropoutSeeds,
    /// What every block but the first reads, on the plain device.
    reads: Vec<Tensor<2>>,
    /// What came out: one score a row.
    pub(super) scores: Vec<f32>,
}

impl Tape {
    /// Goes through all blocks without a graph.
    pub(super) fn record(backward: &Backward<'_>, batch: &Batch, seeds: DropoutSeeds) -> Self {
        let plain = backward.model.valid();
        let plain = backward.in_precision(&plain);
        let input = Input::new(batch, &backward.device.clone().without_autodiff());
        let mut reads: Vec<Tensor<2>> = Vec::with_capacity(plain.n_blocks());
        for index in 0..plain.n_blocks() {
            let x = reads.last().cloned();
            reads.push(plain.block(index, x, &input, seeds.of_block(index)));
        }
        let logits = reads.pop().expect("a forward pass has blocks");
        let [n_rows, n_labels] = logits.dims();
        assert_eq!(n_labels, 1, "a reranker has one label");
        Self {
            input: Input::new(batch, backward.device),
            seeds,
            reads,
            scores: numbers(logits.reshape([n_rows])),
        }
    }

    /// Adds the gradient of `Σ score · gradient`, from the last block to the first.
    pub(super) fn unroll(
        mut self,
        backward: &Backward<'_>,
        gradient: &[f32],
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) {
        let scaled: Vec<f32> =
            gradient.iter().map(|g| (f64::from(*g) * backward.scale) as f32).collect();
        let data = TensorData::new(scaled, [gradient.len(), 1]);
        let mut after = Tensor::<2>::from_data(data, &backward.device.clone().without_autodiff());
        for index in (0..=self.reads.len()).rev() {
            let read = (index > 0).then(|| {
                let x = self.reads.pop().expect("every block but the first reads one tensor");
                Tensor::<2>::from_inner(x).require_grad()
            });
            let model = backward.in_precision(backward.model);
            let seeds = self.seeds.of_block(index);
            let y = model.block(index, read.clone(), &self.input, seeds);
            let mut all = (y * Tensor::from_inner(after.clone())).sum().backward();
            if let Some(before) = read.and_then(|read| read.grad_remove(&mut all)) {
                after = before;
            }
            let new = GradientsParams::from_grads(all, backward.model);
            grads.accumulate(backward.model, new);
        }
    }
}
