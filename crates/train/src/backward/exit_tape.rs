//! What the layers of a pass with exits read, kept to work each of them out again on the way back.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Tensor, TensorData};
use tamis_data::Batch;
use tamis_model::{CrossEncoder, DropoutSeeds, Effort, ExitPass, Input};

use super::{Backward, numbers};

/// A pass with exits of which only the inputs of its layers are kept.
///
/// # Source
/// As [`Tape`](super::Tape); a merge belongs to the layer below it, whose attention weighs its tokens.
pub(super) struct ExitTape {
    input: Input,
    seeds: DropoutSeeds,
    /// What every layer reads, on the plain device, and where the pass stood.
    reads: Vec<(Tensor<2>, ExitPass)>,
    /// The scores of every exit, one a row.
    pub(super) scores: Vec<Vec<f32>>,
}

impl ExitTape {
    /// Goes through all layers without a graph.
    pub(super) fn record(
        backward: &Backward<'_>,
        batch: &Batch,
        effort: &Effort,
        seeds: DropoutSeeds,
    ) -> Self {
        let plain = backward.model.valid();
        let plain = backward.in_precision(&plain);
        let input = Input::new(batch, &backward.device.clone().without_autodiff());
        let mut pass = plain
            .exit_pass(&input, effort)
            .expect("the recipe's layers were checked against the model");
        let mut next = Some(plain.block(0, None, &input, seeds.of_block(0)));
        let (mut reads, mut scores) = (Vec::new(), Vec::new());
        while let Some(x) = next {
            let depth = reads.len();
            reads.push((x.clone(), pass.clone()));
            let seeds = seeds.of_block(depth + 1);
            let (after, logits) = plain.exit_step(&mut pass, depth, x, &input, seeds);
            scores.extend(logits.map(|logits| {
                let n = logits.dims()[0];
                numbers(logits.reshape([n]))
            }));
            next = after;
        }
        Self { input: Input::new(batch, backward.device), seeds, reads, scores }
    }

    /// Adds the gradient of `Σ score · gradient` over all exits, from the deepest layer to the first.
    pub(super) fn unroll(
        mut self,
        backward: &Backward<'_>,
        gradients: &[Vec<f32>],
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) {
        let mut gradients: Vec<Tensor<2>> = gradients
            .iter()
            .map(|gradient| {
                let scaled: Vec<f32> =
                    gradient.iter().map(|g| (f64::from(*g) * backward.scale) as f32).collect();
                let data = TensorData::new(scaled, [gradient.len(), 1]);
                Tensor::<2>::from_data(data, backward.device)
            })
            .collect();
        let model = backward.in_precision(backward.model);
        let mut after: Option<Tensor<2>> = None;
        while let Some((x, mut pass)) = self.reads.pop() {
            let depth = self.reads.len();
            let read = Tensor::<2>::from_inner(x).require_grad();
            let seeds = self.seeds.of_block(depth + 1);
            let (next, logits) =
                model.exit_step(&mut pass, depth, read.clone(), &self.input, seeds);
            let deeper = next.zip(after.take());
            let deeper = deeper.map(|(y, after)| (y * Tensor::from_inner(after)).sum());
            let own = logits.map(|logits| {
                let gradient = gradients.pop().expect("every exit has its gradient");
                (logits * gradient).sum()
            });
            let Some(sum) = deeper.into_iter().chain(own).reduce(|a, b| a + b) else { continue };
            let mut all = sum.backward();
            after = read.grad_remove(&mut all);
            grads.accumulate(backward.model, GradientsParams::from_grads(all, backward.model));
        }
        if let Some(after) = after {
            let words = model.block(0, None, &self.input, self.seeds.of_block(0));
            let all = (words * Tensor::from_inner(after)).sum().backward();
            grads.accumulate(backward.model, GradientsParams::from_grads(all, backward.model));
        }
    }
}
