//! A model that learns: forward, loss, backward, clip, step.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use tamis_loss::{LossInput, Objective};
use tamis_model::{CrossEncoder, DropoutSeeds};

use crate::batches::MicroBatch;
use crate::gradients;
use crate::optimizer::AdamWRecipe;
use crate::schedule::Schedule;

/// A model with what changes it.
pub struct Learner {
    /// On the device with autodiff; `None` only inside a step.
    model: Option<CrossEncoder>,
    optimizer: ModuleOptimizer,
    /// What is minimised.
    pub objective: Objective,
    /// The learning rate of every step.
    pub schedule: Schedule,
    /// Gradients longer than this are shortened to it.
    pub max_grad_norm: Option<f64>,
    /// Where dropout masks come from.
    pub seed: u64,
    device: Device,
}

/// What one step measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    /// The loss before the step, the mean over its groups.
    pub loss: f64,
    /// The length of the gradient before clipping.
    pub grad_norm: f64,
    /// The learning rate.
    pub lr: f64,
}

/// Why a step was not taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NotFinite {
    /// `loss` or `gradient norm`.
    pub what: &'static str,
    /// Its value.
    pub value: f64,
}

impl Learner {
    /// Takes a model on a plain device and everything that a step needs.
    #[must_use]
    pub fn new(
        model: CrossEncoder,
        adamw: &AdamWRecipe,
        objective: Objective,
        schedule: Schedule,
        max_grad_norm: Option<f64>,
        seed: u64,
        device: &Device,
    ) -> Self {
        Self::resumed(model, adamw.build(), objective, schedule, max_grad_norm, seed, device)
    }

    /// The same with an optimiser that has a past.
    pub(crate) fn resumed(
        model: CrossEncoder,
        optimizer: ModuleOptimizer,
        objective: Objective,
        schedule: Schedule,
        max_grad_norm: Option<f64>,
        seed: u64,
        device: &Device,
    ) -> Self {
        let device = device.clone().autodiff();
        let model = Some(model.train());
        Self { model, optimizer, objective, schedule, max_grad_norm, seed, device }
    }

    /// The model as it is now, for inference.
    ///
    /// # Panics
    /// After a step that panicked.
    #[must_use]
    pub fn model(&self) -> CrossEncoder {
        self.model.as_ref().expect("no step is under way").valid()
    }

    /// The model with its parameters' identities, for saving state.
    pub(crate) fn trained(&self) -> &CrossEncoder {
        self.model.as_ref().expect("no step is under way")
    }

    pub(crate) fn optimizer(&self) -> &ModuleOptimizer {
        &self.optimizer
    }

    /// Takes one step on the mean gradient of several micro-batches. `step` counts from 0.
    ///
    /// # Errors
    /// When the loss or the gradient is not finite; the model is then as it was.
    ///
    /// # Panics
    /// When there is no micro-batch.
    pub fn step(&mut self, step: u64, micro_batches: &[MicroBatch]) -> Result<Taken, NotFinite> {
        let n_groups: usize = micro_batches.iter().map(|m| m.batch.n_groups()).sum();
        let model = self.model.as_ref().expect("no step is under way");
        let mut accumulator = GradientsAccumulator::new();
        let mut total_loss = 0.0;
        for (index, micro) in micro_batches.iter().enumerate() {
            // The mean over all groups of the step, whatever micro-batch they are in.
            let share = micro.batch.n_groups() as f64 / n_groups as f64;
            let seeds = DropoutSeeds::training(mix(self.seed, step, index as u64));
            let (scores, mask) = model.scores(&micro.batch, &self.device, seeds).grouped();
            let dims = scores.dims();
            let floats = |values: &[f32]| {
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), dims), &self.device)
            };
            let mut input = LossInput::new(scores, floats(&micro.labels), mask)
                .expect("labels are laid out like the scores");
            if let Some(teacher_scores) = &micro.teacher_scores {
                input = input
                    .with_teacher_scores(floats(teacher_scores))
                    .expect("teacher scores are laid out like the scores");
            }
            let loss = self.objective.forward(&input) * share;
            let value: f32 = loss.clone().into_scalar();
            if !value.is_finite() {
                return Err(NotFinite { what: "loss", value: f64::from(value) });
            }
            total_loss += f64::from(value);
            accumulator.accumulate(model, GradientsParams::from_grads(loss.backward(), model));
        }
        let mut grads = accumulator.grads();
        let grad_norm = gradients::global_norm(&grads, model);
        if !grad_norm.is_finite() {
            return Err(NotFinite { what: "gradient norm", value: grad_norm });
        }
        if let Some(max_norm) = self.max_grad_norm {
            gradients::clip(&mut grads, model, grad_norm, max_norm);
        }
        let lr = self.schedule.rate(step);
        // Moved out, so that the optimiser may change the weights in place.
        let model = self.model.take().expect("no step is under way");
        self.model = Some(self.optimizer.step(lr, model, grads));
        Ok(Taken { loss: total_loss, grad_norm, lr })
    }
}

/// One seed for one forward pass of a run.
fn mix(seed: u64, step: u64, micro_batch: u64) -> u64 {
    // Odd multipliers keep different (step, micro-batch) pairs apart; the kernels mix the bits.
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ step.wrapping_mul(0xd1b5_4a32_d192_ed03)
        ^ micro_batch.wrapping_mul(0xaef1_7502_108e_f2d9)
}
