//! A model that learns: forward, loss, backward, clip, step.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use tamis_loss::Objective;
use tamis_model::CrossEncoder;

use crate::average::blend;
use crate::backward::Backward;
use crate::batches::MicroBatch;
use crate::collective::WorkerLost;
use crate::gradients;
use crate::optimizer::{LayerRates, OptimizerRecipe};
use crate::precision::{LossScale, Precision};
use crate::recipe::ExitRecipe;
use crate::schedule::Schedule;
use crate::workers::{Split, Worker};

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
    /// Rows of a sub-batch when the gradient is cached.
    gradient_cache: Option<usize>,
    worker: Option<Worker>,
    precision: Precision,
    loss_scale: LossScale,
    recompute: bool,
    match_attention: bool,
    /// How a model with several exits learns, in place of the objective.
    exits: Option<ExitRecipe>,
    layer_rates: LayerRates,
    /// The moving average of the weights and its decay, on the plain device.
    average: Option<(CrossEncoder, f64)>,
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
    /// Whether the scaled gradient was too large for `f16`, so that the model stayed as it was; then
    /// `grad_norm` is 0.
    pub skipped: bool,
}

/// Why a step was not taken.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum StepError {
    /// The loss or the gradient is infinite or not a number.
    #[error("the {what} is `{value}`")]
    NotFinite {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// Another worker is gone.
    #[error(transparent)]
    WorkerLost(#[from] WorkerLost),
}

impl Learner {
    /// Takes a model on a plain device and everything that a step needs.
    #[must_use]
    pub fn new(
        model: CrossEncoder,
        optimizer: &OptimizerRecipe,
        objective: Objective,
        schedule: Schedule,
        max_grad_norm: Option<f64>,
        seed: u64,
        device: &Device,
    ) -> Self {
        Self::resumed(model, optimizer.build(), objective, schedule, max_grad_norm, seed, device)
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
        Self {
            model,
            optimizer,
            objective,
            schedule,
            max_grad_norm,
            seed,
            gradient_cache: None,
            worker: None,
            precision: Precision::F32,
            loss_scale: LossScale::first(Precision::F32),
            recompute: false,
            match_attention: false,
            exits: None,
            layer_rates: LayerRates::default(),
            average: None,
            device,
        }
    }

    /// The model as it is now, for inference: the average of its weights where one is kept.
    ///
    /// # Panics
    /// After a step that panicked.
    #[must_use]
    pub fn model(&self) -> CrossEncoder {
        if let Some((average, _)) = &self.average {
            return average.clone();
        }
        self.model.as_ref().expect("no step is under way").valid()
    }

    /// The model with its parameters' identities, for saving state.
    pub(crate) fn trained(&self) -> &CrossEncoder {
        self.model.as_ref().expect("no step is under way")
    }

    pub(crate) fn optimizer(&self) -> &ModuleOptimizer {
        &self.optimizer
    }

    /// The same, with the gradient cached: sub-batches of `rows` rows, whose memory is that of one.
    #[must_use]
    pub fn with_gradient_cache(mut self, rows: Option<usize>) -> Self {
        self.gradient_cache = rows;
        self
    }

    /// The same, with an encoder that computes in another type; with the scale of a run that is
    /// resumed.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision, old: Option<LossScale>) -> Self {
        self.precision = precision;
        self.loss_scale = old.unwrap_or(LossScale::first(precision));
        self
    }

    /// The same, which works activations out again on the way back instead of keeping them.
    #[must_use]
    pub fn with_recomputation(mut self, recompute: bool) -> Self {
        self.recompute = recompute;
        self
    }

    /// The same for a compressor that learns to keep attention, in place of the objective.
    #[must_use]
    pub fn with_attention_matching(mut self, match_attention: bool) -> Self {
        self.match_attention = match_attention;
        self
    }

    /// The same for a model with several exits, all of which learn.
    #[must_use]
    pub fn with_exits(mut self, exits: Option<ExitRecipe>) -> Self {
        self.exits = exits;
        self
    }

    /// What gradients of the next step are multiplied by.
    pub(crate) fn loss_scale(&self) -> LossScale {
        self.loss_scale
    }

    /// The same, with rates that differ between the parts of the model.
    #[must_use]
    pub fn with_layer_rates(mut self, rates: LayerRates) -> Self {
        self.layer_rates = rates;
        self
    }

    /// The same, with a moving average of the weights beside them; it starts from the average of a run
    /// that is resumed, or from the weights.
    pub(crate) fn with_average(mut self, decay: Option<f64>, old: Option<CrossEncoder>) -> Self {
        self.average = decay.map(|decay| (old.unwrap_or_else(|| self.trained().valid()), decay));
        self
    }

    /// The moving average, where one is kept.
    pub(crate) fn average(&self) -> Option<&CrossEncoder> {
        self.average.as_ref().map(|(average, _)| average)
    }

    /// The same as one of several workers, each of which is given all micro-batches of a step.
    #[must_use]
    pub fn with_worker(mut self, worker: Worker) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Takes one step on the gradient of the loss over several micro-batches, which is the loss of the
    /// larger batch that they make together. `step` counts from 0.
    ///
    /// # Errors
    /// When the loss or the gradient is not finite, or a worker is gone; the model is then as it was.
    ///
    /// # Panics
    /// When there is no micro-batch.
    pub fn step(&mut self, step: u64, micro_batches: &[MicroBatch]) -> Result<Taken, StepError> {
        let model = self.model.as_ref().expect("no step is under way");
        let (loss, mut grads) = self.gradients(model, step, micro_batches)?;
        let not_finite = |what, value| Err(StepError::NotFinite { what, value });
        if !loss.is_finite() {
            return not_finite("loss", loss);
        }
        let scale = self.loss_scale.factor();
        if scale != 1.0 {
            gradients::scale(&mut grads, model, 1.0 / scale);
        }
        let lr = self.schedule.rate(step);
        let grad_norm = gradients::global_norm(&grads, model);
        if !grad_norm.is_finite() {
            let Some(halved) = self.loss_scale.halved() else {
                return not_finite("gradient norm", grad_norm);
            };
            self.loss_scale = halved;
            return Ok(Taken { loss, grad_norm: 0.0, lr, skipped: true });
        }
        self.loss_scale = self.loss_scale.grown();
        if let Some(max_norm) = self.max_grad_norm {
            gradients::clip(&mut grads, model, grad_norm, max_norm);
        }
        // Moved out, so that the optimiser may change the weights in place.
        let model = self.model.take().expect("no step is under way");
        let model = self.optimizer.step(self.layer_rates.rates(lr), model, grads);
        if let Some((average, decay)) = self.average.take() {
            self.average = Some((blend(average, &model.valid(), decay), decay));
        }
        self.model = Some(model);
        Ok(Taken { loss, grad_norm, lr, skipped: false })
    }

    /// The loss of a step and its gradient times the loss scale, summed over all workers.
    pub(crate) fn gradients(
        &self,
        model: &CrossEncoder,
        step: u64,
        micro_batches: &[MicroBatch],
    ) -> Result<(f64, GradientsParams), WorkerLost> {
        let backward = Backward {
            model,
            objective: &self.objective,
            device: &self.device,
            cache_rows: self.gradient_cache,
            worker: self.worker.as_ref(),
            recompute: self.recompute,
            match_attention: self.match_attention,
            exits: self.exits.as_ref(),
            precision: self.precision,
            scale: self.loss_scale.factor(),
        };
        let counts: Vec<Vec<f64>> =
            micro_batches.iter().map(|micro| micro.counts(&self.objective)).collect();
        let own = match &self.worker {
            Some(worker) if worker.split == Split::Batches => worker.share(micro_batches.len()),
            _ => 0..micro_batches.len(),
        };
        let mut accumulator = GradientsAccumulator::new();
        let mut loss = 0.0;
        for index in own {
            let shares = shares(&counts, index);
            let seed = mix(self.seed, step, index as u64);
            loss += backward.run(&micro_batches[index], &shares, seed, &mut accumulator)?;
        }
        let grads = accumulator.grads();
        match &self.worker {
            Some(worker) => worker.sum(model, loss, grads),
            None => Ok((loss, grads)),
        }
    }
}

/// How much of each term of the loss of several micro-batches is in one of them.
pub(crate) fn shares(counts: &[Vec<f64>], index: usize) -> Vec<f64> {
    let total = |term: usize| counts.iter().map(|counts| counts[term]).sum::<f64>();
    let share = |(term, &count): (usize, &f64)| if count > 0.0 { count / total(term) } else { 0.0 };
    counts[index].iter().enumerate().map(share).collect()
}

/// One seed for one forward pass of a run.
pub(crate) fn mix(seed: u64, step: u64, micro_batch: u64) -> u64 {
    // Odd multipliers keep different (step, micro-batch) pairs apart; the kernels mix the bits.
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ step.wrapping_mul(0xd1b5_4a32_d192_ed03)
        ^ micro_batch.wrapping_mul(0xaef1_7502_108e_f2d9)
}
