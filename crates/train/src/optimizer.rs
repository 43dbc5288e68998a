//! AdamW with PyTorch's meaning of its numbers.

use burn::module::ParamGroup;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use serde::{Deserialize, Serialize};

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

impl AdamWRecipe {
    pub(crate) fn build(&self) -> ModuleOptimizer {
        let config = |weight_decay| {
            AdamWConfig::new()
                .with_beta_1(self.betas[0])
                .with_beta_2(self.betas[1])
                .with_epsilon(self.epsilon)
                .with_weight_decay(weight_decay)
        };
        let no_decay = ParamGroup::from_any_regexes(vec![r"bias$", r"norm\.weight$"])
            .expect("the patterns are valid");
        config(self.weight_decay).init().with_group(no_decay, config(0.0).build(), None)
    }
}
