//! A recipe's optimiser, with the groups of parameters that it treats differently.

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Module, ModuleVisitor, ParamGroup};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdafactorConfig, AdamWConfig, AdjustLrFn, DynOptimizer, LionConfig, ModuleOptimizer, MuonConfig,
};
use serde::{Deserialize, Serialize};

/// Biases and the scales of norms: they do not decay.
pub(crate) const NO_DECAY: [&str; 2] = [r"bias$", r"norm\.weight$"];

/// The weight matrices of the layers, which Muon is for.
const HIDDEN: &str = r"\.layers\.[0-9]+\..*weight$";

/// Which optimiser, and its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum OptimizerRecipe {
    /// `adamw`
    #[serde(rename = "adamw")]
    AdamW(AdamWRecipe),
    /// `adafactor`
    Adafactor(AdafactorRecipe),
    /// `lion`
    Lion(LionRecipe),
    /// `muon`
    Muon(MuonRecipe),
}

impl Default for OptimizerRecipe {
    fn default() -> Self {
        Self::AdamW(AdamWRecipe::default())
    }
}

/// The numbers of AdamW.
///
/// # Source
/// Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWRecipe {
    /// Decay rates of the two moments.
    pub betas: [f32; 2],
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled; biases and layer norms do not decay.
    pub weight_decay: f32,
}

impl Default for AdamWRecipe {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// The numbers of Adafactor, which keeps a row and a column in place of AdamW's two matrices.
///
/// # Source
/// Shazeer and Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", algorithm
/// 4. Differs: the rate is that of the schedule, unless `relative_step`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdafactorRecipe {
    /// Updates whose root mean square is larger are scaled down to it.
    pub clip_threshold: f32,
    /// The second moment of step t weighs `1 - t^decay_rate` old; below 0.
    pub decay_rate: f64,
    /// Whether the rate is at most `1 / sqrt(t)`.
    pub relative_step: bool,
    /// Whether the rate is multiplied by the root mean square of the parameter.
    pub scale_parameter: bool,
    /// Decoupled; biases and layer norms do not decay.
    pub weight_decay: f32,
}

impl Default for AdafactorRecipe {
    fn default() -> Self {
        Self {
            clip_threshold: 1.0,
            decay_rate: -0.8,
            relative_step: false,
            scale_parameter: false,
            weight_decay: 0.0,
        }
    }
}

/// The numbers of Lion; its rate is usually three to ten times smaller than AdamW's.
///
/// # Source
/// Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LionRecipe {
    /// How the update and the moment mix old and new.
    pub betas: [f32; 2],
    /// Decoupled; biases and layer norms do not decay.
    pub weight_decay: f32,
}

impl Default for LionRecipe {
    fn default() -> Self {
        Self { betas: [0.9, 0.99], weight_decay: 0.1 }
    }
}

/// The numbers of Muon, which is for the weight matrices of the layers; everything else has AdamW.
///
/// Updates are scaled to the size of AdamW's, so that the schedule's rate fits both.
///
/// # Source
/// Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the scale is that of
/// Liu et al. 2025, "Muon is Scalable for LLM Training", section 2.2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MuonRecipe {
    /// Decay rate of the moment, which looks ahead as Nesterov's does.
    pub momentum: f64,
    /// Steps of the Newton-Schulz iteration.
    pub iterations: usize,
    /// Decoupled.
    pub weight_decay: f32,
}

impl Default for MuonRecipe {
    fn default() -> Self {
        Self { momentum: 0.95, iterations: 5, weight_decay: 0.01 }
    }
}

impl From<AdamWRecipe> for OptimizerRecipe {
    fn from(recipe: AdamWRecipe) -> Self {
        Self::AdamW(recipe)
    }
}

impl OptimizerRecipe {
    pub(crate) fn build(&self) -> ModuleOptimizer {
        match *self {
            Self::AdamW(recipe) => {
                let adamw = |decay| adamw(recipe, decay).build();
                let all: ModuleOptimizer = adamw(recipe.weight_decay).into();
                without_decay(all, adamw(0.0))
            }
            Self::Adafactor(recipe) => {
                let adafactor = |decay| {
                    AdafactorConfig::new()
                        .with_clip_threshold(recipe.clip_threshold)
                        .with_decay_rate(recipe.decay_rate)
                        .with_relative_step(recipe.relative_step)
                        .with_scale_parameter(recipe.scale_parameter)
                        .with_weight_decay(decay)
                        .build()
                };
                without_decay(adafactor(recipe.weight_decay).into(), adafactor(0.0))
            }
            Self::Lion(recipe) => {
                let lion = |decay| {
                    LionConfig::new()
                        .with_beta_1(recipe.betas[0])
                        .with_beta_2(recipe.betas[1])
                        .with_weight_decay(decay)
                        .build()
                };
                without_decay(lion(recipe.weight_decay).into(), lion(0.0))
            }
            Self::Muon(recipe) => {
                let others = AdamWRecipe::default();
                let momentum =
                    MomentumConfig { momentum: recipe.momentum, dampening: 0.0, nesterov: true };
                let muon = MuonConfig::new()
                    .with_momentum(momentum)
                    .with_ns_steps(recipe.iterations)
                    .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW)
                    .with_weight_decay(Some(WeightDecayConfig::new(recipe.weight_decay)))
                    .build();
                let all: ModuleOptimizer = adamw(others, recipe.weight_decay).build().into();
                let all = all.with_group(group(&[HIDDEN]), muon, None);
                without_decay(all, adamw(others, 0.0).build())
            }
        }
    }

    /// Numbers that the optimiser keeps per parameter, about.
    #[must_use]
    pub fn numbers_per_parameter(&self) -> f64 {
        match self {
            Self::AdamW(_) => 2.0,
            Self::Adafactor(_) => 0.01,
            Self::Lion(_) | Self::Muon(_) => 1.0,
        }
    }
}

fn adamw(recipe: AdamWRecipe, weight_decay: f32) -> AdamWConfig {
    AdamWConfig::new()
        .with_beta_1(recipe.betas[0])
        .with_beta_2(recipe.betas[1])
        .with_epsilon(recipe.epsilon)
        .with_weight_decay(weight_decay)
}

/// Later groups win: biases and norms come last.
fn without_decay(all: ModuleOptimizer, other: impl DynOptimizer + 'static) -> ModuleOptimizer {
    all.with_group(group(&NO_DECAY), other, None)
}

fn group(patterns: &[&str]) -> ParamGroup {
    ParamGroup::from_any_regexes(patterns.to_vec()).expect("the patterns are valid")
}

/// How the learning rate differs between the parts of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerRates {
    /// The factor from one layer to the one below; 1 for all the same.
    ///
    /// The head has the rate of the schedule, the top layer `decay` of it, the one below `decay²`, the
    /// embeddings one more than the lowest layer.
    pub decay: f64,
    /// The factor of the head; 1 for that of the schedule.
    pub head: f64,
    /// Layers of the encoder.
    pub n_layers: usize,
}

impl Default for LayerRates {
    fn default() -> Self {
        Self { decay: 1.0, head: 1.0, n_layers: 0 }
    }
}

impl LayerRates {
    /// The rates of all parameters when the schedule says `lr`.
    pub(crate) fn rates(&self, lr: f64) -> ModuleLearningRate {
        if self.decay == 1.0 && self.head == 1.0 {
            return lr.into();
        }
        let below = |distance: usize| lr * self.decay.powi(distance as i32);
        let mut rates = ModuleLrScheduler::new(below(self.n_layers + 1));
        for layer in 0..self.n_layers {
            let pattern = format!(r"\.layers\.{layer}\.");
            rates = rates.with_group(group(&[&pattern]), below(self.n_layers - layer));
        }
        // Norms and poolers above the layers are part of the top.
        rates = rates.with_group(group(&[r"final_norm"]), below(1));
        rates.with_group(group(&[r"^head\."]), lr * self.head).step()
    }
}

/// How many layers the encoder of a model has, told by the names of its parameters.
pub(crate) fn n_layers<M: Module>(model: &M) -> usize {
    #[derive(Default)]
    struct Layers {
        path: Vec<String>,
        n_layers: usize,
    }
    impl ModuleVisitor for Layers {
        fn enter_module(&mut self, name: &str, _: &str) {
            let number = name.parse::<usize>().ok();
            if let (Some(layer), Some("layers")) = (number, self.path.last().map(String::as_str)) {
                self.n_layers = self.n_layers.max(layer + 1);
            }
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
    }
    let mut layers = Layers::default();
    model.visit(&mut layers);
    layers.n_layers
}

#[cfg(test)]
mod tests;
