//! One micro-batch into the loss and its gradient: in one pass, or in two with sub-batches.

mod attention;
mod exits;
mod tape;

use std::borrow::Cow;
use std::ops::Range;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use tamis_data::Batch;
use tamis_loss::{LossInput, Objective};
use tamis_model::{CrossEncoder, DropoutSeeds, Scores};

use crate::batches::MicroBatch;
use crate::collective::WorkerLost;
use crate::precision::Precision;
use crate::recipe::ExitRecipe;
use crate::workers::{Split, Worker};
use tape::Tape;

/// How the loss of a micro-batch is worked out.
pub(crate) struct Backward<'a> {
    /// On the device with autodiff.
    pub(crate) model: &'a CrossEncoder,
    pub(crate) objective: &'a Objective,
    pub(crate) device: &'a Device,
    /// Rows of a sub-batch when the gradient is cached.
    pub(crate) cache_rows: Option<usize>,
    pub(crate) worker: Option<&'a Worker>,
    /// Whether activations are worked out again, block by block, instead of kept.
    pub(crate) recompute: bool,
    /// How a model with several exits learns, in place of the objective.
    pub(crate) exits: Option<&'a ExitRecipe>,
    /// Whether a compressor learns to keep the attention above it, in place of the objective.
    pub(crate) match_attention: bool,
    /// What the encoder computes in.
    pub(crate) precision: Precision,
    /// What gradients are multiplied by while they are worked out.
    pub(crate) scale: f64,
}

/// A forward pass, and the way back from its scores.
#[expect(clippy::large_enum_variant, reason = "one lives at a time")]
enum Pass {
    /// The scores, with the graph that made them.
    Graph(Tensor<1>),
    /// What its blocks read, to be worked out again.
    Tape(Tape),
}

impl Pass {
    fn scores(&self) -> Vec<f32> {
        match self {
            Self::Graph(scores) => numbers(scores.clone()),
            Self::Tape(tape) => tape.scores.clone(),
        }
    }

    /// Adds the gradient of `Σ score · gradient`.
    fn pull_back(
        self,
        backward: &Backward<'_>,
        gradient: &[f32],
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) {
        match self {
            Self::Graph(scores) => backward.surrogate(scores, gradient, grads),
            Self::Tape(tape) => tape.unroll(backward, gradient, grads),
        }
    }
}

/// The loss of a micro-batch times its share, and the gradient of that.
type Result<T> = std::result::Result<T, WorkerLost>;

impl Backward<'_> {
    /// Adds the gradient of a micro-batch to `grads` and returns its loss.
    ///
    /// `shares` has one factor per term: how much of the step this micro-batch is.
    pub(crate) fn run(
        &self,
        micro: &MicroBatch,
        shares: &[f64],
        seed: u64,
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) -> Result<f64> {
        if let Some(exits) = self.exits {
            let share = shares.iter().copied().fold(0.0, f64::max);
            return Ok(self.cascaded(exits, micro, share, seed, grads));
        }
        if self.match_attention {
            let share = shares.iter().copied().fold(0.0, f64::max);
            return Ok(self.matched(micro, share, grads));
        }
        let n_rows = micro.batch.n_rows();
        let rows = match self.worker {
            Some(worker) if worker.split == Split::Rows => worker.share(n_rows),
            _ => 0..n_rows,
        };
        match self.cache_rows {
            Some(size) => self.cached(micro, shares, seed, rows, size, grads),
            None if self.recompute || rows.len() < n_rows => {
                self.gathered(micro, shares, seed, rows, grads)
            }
            None => Ok(self.direct(micro, shares, seed, grads)),
        }
    }

    /// One forward pass, one backward pass.
    fn direct(
        &self,
        micro: &MicroBatch,
        shares: &[f64],
        seed: u64,
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) -> f64 {
        let seeds = DropoutSeeds::training(seed);
        let scores = self.scores(self.model, &micro.batch, self.device, seeds);
        let loss = self.loss(micro, &scores, shares);
        let value = number(&loss);
        self.add(loss, grads);
        value
    }

    /// The gradient cache: scores without a graph, the gradient of the loss with respect to them, then
    /// sub-batch by sub-batch again with a graph. Only one sub-batch's activations live at any time.
    ///
    /// # Source
    /// Gao, Zhang, Han and Callan 2021, "Scaling Deep Contrastive Learning Batch Size under Memory
    /// Limited Setup", section 3.2, with scores in place of representations.
    fn cached(
        &self,
        micro: &MicroBatch,
        shares: &[f64],
        seed: u64,
        rows: Range<usize>,
        size: usize,
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) -> Result<f64> {
        let plain_device = self.device.clone().without_autodiff();
        let plain = self.model.valid();
        let starts = || rows.clone().step_by(size.max(1));
        let sub_batch = |start: usize| start..(start + size.max(1)).min(rows.end);
        let mut scores = Vec::with_capacity(rows.len());
        for start in starts() {
            let batch = part(&micro.batch, sub_batch(start));
            let seeds = DropoutSeeds::training(sub_seed(seed, start));
            scores.extend(match self.recompute {
                true => Tape::record(self, &batch, seeds).scores,
                false => numbers(self.scores(&plain, &batch, &plain_device, seeds).rows()),
            });
        }
        let (value, gradient) = self.score_gradient(micro, shares, &scores)?;
        for start in starts() {
            let batch = part(&micro.batch, sub_batch(start));
            // The same seeds: the same elements are dropped as in the first pass.
            let seeds = DropoutSeeds::training(sub_seed(seed, start));
            self.pass(&batch, seeds).pull_back(self, &gradient[sub_batch(start)], grads);
        }
        Ok(value)
    }

    /// The rows of this worker in one pass, the loss from the scores of all workers.
    fn gathered(
        &self,
        micro: &MicroBatch,
        shares: &[f64],
        seed: u64,
        rows: Range<usize>,
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) -> Result<f64> {
        let own = (!rows.is_empty()).then(|| {
            let seeds = DropoutSeeds::training(sub_seed(seed, rows.start));
            self.pass(&part(&micro.batch, rows.clone()), seeds)
        });
        let scores = own.as_ref().map(Pass::scores).unwrap_or_default();
        let (value, gradient) = self.score_gradient(micro, shares, &scores)?;
        if let Some(own) = own {
            own.pull_back(self, &gradient[rows], grads);
        }
        Ok(value)
    }

    /// A forward pass that can be gone back through.
    fn pass(&self, batch: &Batch, seeds: DropoutSeeds) -> Pass {
        if self.recompute {
            return Pass::Tape(Tape::record(self, batch, seeds));
        }
        Pass::Graph(self.scores(self.model, batch, self.device, seeds).rows())
    }

    /// The loss from this worker's scores and those of the others, and its gradient for every row.
    ///
    /// Where rows are divided every worker computes the same loss; the first one reports it, so that the
    /// sum over workers is the loss.
    fn score_gradient(
        &self,
        micro: &MicroBatch,
        shares: &[f64],
        own: &[f32],
    ) -> Result<(f64, Vec<f32>)> {
        let (all, reports) = match self.worker {
            Some(worker) if worker.split == Split::Rows => {
                (worker.collective.all_gather(own)?.concat(), worker.collective.rank() == 0)
            }
            _ => (own.to_vec(), true),
        };
        let n_rows = all.len();
        let rows = Tensor::<1>::from_data(TensorData::new(all, [n_rows]), self.device);
        let rows = rows.require_grad();
        let scores = Scores::new(rows.clone(), micro.batch.group_offsets());
        let loss = self.loss(micro, &scores, shares);
        let value = if reports { number(&loss) } else { 0.0 };
        let gradients = loss.backward();
        let gradient = rows.grad(&gradients).map_or_else(|| vec![0.0; n_rows], numbers);
        Ok((value, gradient))
    }

    /// Back-propagates `Σ score · gradient`, whose gradient is that of the loss.
    fn surrogate(
        &self,
        scores: Tensor<1>,
        gradient: &[f32],
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) {
        let data = TensorData::new(gradient.to_vec(), [gradient.len()]);
        let weights = Tensor::<1>::from_data(data, self.device);
        self.add((scores * weights).sum(), grads);
    }

    fn loss(&self, micro: &MicroBatch, scores: &Scores, shares: &[f64]) -> Tensor<1> {
        loss(self.objective, micro, scores, shares, self.device)
    }

    /// The scores of a batch, worked out in the precision; the casts are part of the graph.
    fn scores(
        &self,
        model: &CrossEncoder,
        batch: &Batch,
        device: &Device,
        seeds: DropoutSeeds,
    ) -> Scores {
        self.in_precision(model).scores(batch, device, seeds)
    }

    fn in_precision<'m>(&self, model: &'m CrossEncoder) -> Cow<'m, CrossEncoder> {
        match self.precision.dtype() {
            None => Cow::Borrowed(model),
            Some(dtype) => Cow::Owned(model.clone().computing_in(dtype)),
        }
    }

    fn add(&self, loss: Tensor<1>, grads: &mut GradientsAccumulator<CrossEncoder>) {
        let loss = if self.scale == 1.0 { loss } else { loss * self.scale };
        let new = GradientsParams::from_grads(loss.backward(), self.model);
        grads.accumulate(self.model, new);
    }
}

/// The loss of a micro-batch with these scores; `shares` has one factor per term.
pub(crate) fn loss(
    objective: &Objective,
    micro: &MicroBatch,
    scores: &Scores,
    shares: &[f64],
    device: &Device,
) -> Tensor<1> {
    let (scores, mask) = scores.grouped();
    let dims = scores.dims();
    let floats =
        |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), dims), device);
    let mut input = LossInput::new(scores, floats(&micro.labels), mask)
        .expect("labels are laid out like the scores");
    if let Some(teacher_scores) = &micro.teacher_scores {
        input = input
            .with_teacher_scores(floats(teacher_scores))
            .expect("teacher scores are laid out like the scores");
    }
    objective.forward_shares(&input, shares)
}

/// Some rows of a batch, as one group.
fn part(batch: &Batch, rows: Range<usize>) -> Batch {
    let mut part = Batch::new();
    for row in rows {
        part.push_copy(batch, row);
    }
    part.end_group();
    part
}

/// The seed of the sub-batch that starts at a row; the first one has the micro-batch's own.
fn sub_seed(seed: u64, start: usize) -> u64 {
    seed ^ (start as u64).wrapping_mul(0x94d0_49bb_1331_11eb)
}

pub(crate) fn number(loss: &Tensor<1>) -> f64 {
    let value: f32 = loss.clone().into_scalar();
    f64::from(value)
}

fn numbers(values: Tensor<1>) -> Vec<f32> {
    values.into_data().convert::<f32>().try_into_vec().expect("the numbers were just made f32")
}

#[cfg(test)]
mod tests;
