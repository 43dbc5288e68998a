//! One micro-batch through a model with exits: what every exit learns from labels, teacher and others.

use std::ops::Range;

use burn::module::Module;
use burn::optim::GradientsAccumulator;
use burn::tensor::{Device, Tensor, TensorData};
use tamis_data::Batch;
use tamis_loss::LossInput;
use tamis_model::{Compatibility, CrossEncoder, DropoutSeeds, Effort, Input, Scores};

use super::exit_tape::ExitTape;
use super::{Backward, Result, number, numbers, part, sub_seed};
use crate::batches::MicroBatch;
use crate::recipe::ExitRecipe;

impl Backward<'_> {
    /// The student's pass with the tokens that are drawn for it, the teaching pass with all tokens, and
    /// the loss of all exits. With a gradient cache sub-batch by sub-batch, as for one exit; where workers
    /// divide rows each computes its own, and all have the scores of all.
    pub(super) fn cascaded(
        &self,
        recipe: &ExitRecipe,
        micro: &MicroBatch,
        share: f64,
        seed: u64,
        rows: Range<usize>,
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) -> Result<f64> {
        let exits = self.model.depths();
        let n_exits = exits.len();
        let effort = recipe.effort(exits.clone(), seed);
        let n_rows = micro.batch.n_rows();
        let size = self.cache_rows.unwrap_or(n_rows).max(1);
        let starts = || rows.clone().step_by(size);
        let sub_batch = |start: usize| start..(start + size).min(rows.end);
        let plain_device = self.device.clone().without_autodiff();
        let plain = self.model.valid();
        let full = if recipe.loss.method.needs_full_width() {
            // Teaching has neither gradients nor dropout.
            let all = Effort { exits, ..Effort::default() };
            let sub_batches = starts().map(|start| {
                let batch = part(&micro.batch, sub_batch(start));
                let seeds = DropoutSeeds::inference();
                let exits = self.exits(&plain, &batch, &all, &plain_device, seeds);
                exits.into_iter().map(numbers).collect()
            });
            self.of_all_workers(joined(n_exits, sub_batches))?
        } else {
            Vec::new()
        };
        if size >= n_rows && rows.len() == n_rows && !self.recompute {
            let seeds = DropoutSeeds::training(sub_seed(seed, 0));
            let rows = self.exits(self.model, &micro.batch, &effort, self.device, seeds);
            let loss = self.cascade(recipe, micro, &rows, &full) * share;
            let value = number(&loss);
            self.add(loss, grads);
            return Ok(value);
        }
        let seeds = |start: usize| DropoutSeeds::training(sub_seed(seed, start));
        let scores = joined(
            n_exits,
            starts().map(|start| {
                let batch = part(&micro.batch, sub_batch(start));
                if self.recompute {
                    return ExitTape::record(self, &batch, &effort, seeds(start)).scores;
                }
                let exits = self.exits(&plain, &batch, &effort, &plain_device, seeds(start));
                exits.into_iter().map(numbers).collect()
            }),
        );
        let scores = self.of_all_workers(scores)?;
        let leaves: Vec<Tensor<1>> =
            scores.into_iter().map(|exit| self.floats(exit).require_grad()).collect();
        let loss = self.cascade(recipe, micro, &leaves, &full) * share;
        // Where rows are divided every worker has the same loss, and one reports it.
        let reports = self.row_worker().is_none_or(|worker| worker.collective.rank() == 0);
        let value = if reports { number(&loss) } else { 0.0 };
        let gradients = loss.backward();
        let of_exits: Vec<Vec<f32>> = leaves
            .iter()
            .map(|leaf| leaf.grad(&gradients).map_or_else(|| vec![0.0; n_rows], numbers))
            .collect();
        for start in starts() {
            let rows = sub_batch(start);
            let batch = part(&micro.batch, rows.clone());
            if self.recompute {
                let own: Vec<Vec<f32>> =
                    of_exits.iter().map(|gradient| gradient[rows.clone()].to_vec()).collect();
                ExitTape::record(self, &batch, &effort, seeds(start)).unroll(self, &own, grads);
                continue;
            }
            let exits = self.exits(self.model, &batch, &effort, self.device, seeds(start));
            let terms = exits.into_iter().zip(&of_exits).map(|(scores, gradient)| {
                (scores * self.floats(gradient[rows.clone()].to_vec())).sum()
            });
            if let Some(surrogate) = terms.reduce(|a, b| a + b) {
                self.add(surrogate, grads);
            }
        }
        Ok(value)
    }

    /// The scores of all rows, from those of this worker's: a list for every exit.
    fn of_all_workers(&self, own: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>> {
        let Some(worker) = self.row_worker() else { return Ok(own) };
        own.iter().map(|scores| Ok(worker.collective.all_gather(scores)?.concat())).collect()
    }

    /// The scores of every exit: `[rows]` each.
    fn exits(
        &self,
        model: &CrossEncoder,
        batch: &Batch,
        effort: &Effort,
        device: &Device,
        seeds: DropoutSeeds,
    ) -> Vec<Tensor<1>> {
        let input = Input::new(batch, device);
        let exits = self
            .in_precision(model)
            .exit_logits(&input, effort, Compatibility::default(), seeds)
            .expect("the recipe's layers were checked against the model");
        let flat = |(_, logits): (usize, Tensor<2>)| {
            let n = logits.dims()[0];
            logits.reshape([n])
        };
        exits.into_iter().map(flat).collect()
    }

    fn cascade(
        &self,
        recipe: &ExitRecipe,
        micro: &MicroBatch,
        exits: &[Tensor<1>],
        full: &[Vec<f32>],
    ) -> Tensor<1> {
        let offsets = micro.batch.group_offsets();
        let grouped = |rows: Tensor<1>| Scores::new(rows, offsets).grouped();
        let students: Vec<Tensor<2>> = exits.iter().map(|rows| grouped(rows.clone()).0).collect();
        let full: Vec<Tensor<2>> =
            full.iter().map(|rows| grouped(self.floats(rows.clone())).0).collect();
        let (first, mask) = grouped(exits[0].clone());
        let dims = first.dims();
        let labels = |values: &[f32]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), dims), self.device)
        };
        let mut input = LossInput::new(first, labels(&micro.labels), mask)
            .expect("labels are laid out like the scores");
        if let Some(teacher) = &micro.teacher_scores {
            input = input
                .with_teacher_scores(labels(teacher))
                .expect("teacher scores are laid out like the scores");
        }
        recipe.loss.forward(&students, &full, &input)
    }

    fn floats(&self, values: Vec<f32>) -> Tensor<1> {
        let n = values.len();
        Tensor::<1>::from_data(TensorData::new(values, [n]), self.device)
    }
}

/// The scores of sub-batches one after the other, for every exit.
fn joined(n_exits: usize, sub_batches: impl Iterator<Item = Vec<Vec<f32>>>) -> Vec<Vec<f32>> {
    let mut all: Vec<Vec<f32>> = vec![Vec::new(); n_exits];
    for exits in sub_batches {
        for (all, exit) in all.iter_mut().zip(exits) {
            all.extend(exit);
        }
    }
    all
}
