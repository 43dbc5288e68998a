//! LoRA adapters: put on a model, trained alone, saved and loaded as PEFT does, merged on demand.

mod manifest;
mod peft;
mod stack;

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::checkpoint::fields_of_parameters;
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;
use crate::layer::{Linear, LowRank};
pub use manifest::Manifest;
pub use peft::{load, save};
pub(crate) use stack::of_checkpoint;
pub use stack::{AdapterUse, stack};

/// The shape of an adapter, and which linear maps have one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Columns of the narrow matrices.
    pub rank: usize,
    /// What is added is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// How likely an input of the adapter is dropped while training.
    pub dropout: f32,
    /// Names of linear maps as the checkpoint has them, whole or from a dot on (`query`,
    /// `attention.output.dense`), or `all-linear` for every one of the encoder.
    pub targets: Vec<String>,
    /// Whether the head is trained and saved too.
    pub train_head: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            targets: vec!["all-linear".to_owned()],
            train_head: true,
        }
    }
}

/// One linear map as the checkpoint knows it, inside a map of the model.
struct Target {
    /// The name, such as `bert.encoder.layer.0.attention.self.query`.
    name: String,
    /// Which linear of the model.
    linear: usize,
    /// The first of its columns.
    start: usize,
    columns: usize,
    n_in: usize,
    /// Whether it is the head's.
    head: bool,
}

/// Puts new adapters on a model: `a` drawn from the seed, `b` zero, so that nothing changes yet.
///
/// # Errors
/// When the rank is 0, or a target names no linear map; then the names that there are.
pub fn attach(
    mut model: CrossEncoder,
    config: &Config,
    lora: &LoraConfig,
    seed: u64,
) -> Result<CrossEncoder, String> {
    if lora.rank == 0 || !(0.0..1.0).contains(&lora.dropout) {
        return Err(format!(
            "lora: expected a rank above 0 and a dropout of 0 to below 1, found `{}` and `{}`",
            lora.rank, lora.dropout
        ));
    }
    let targets = targets(&mut model, config);
    let chosen = |target: &&Target, pattern: &str| {
        if pattern == "all-linear" { !target.head } else { named(&target.name, pattern) }
    };
    for pattern in &lora.targets {
        if !targets.iter().any(|target| chosen(&target, pattern)) {
            let last =
                |target: &Target| target.name.rsplit('.').next().unwrap_or_default().to_owned();
            let known: BTreeSet<String> = targets.iter().map(last).collect();
            let known: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
            return Err(format!(
                "lora.targets: `{pattern}` names no linear map; the last parts of their names are {}",
                known.join(", ")
            ));
        }
    }
    let wanted: Vec<&Target> = targets
        .iter()
        .filter(|target| lora.targets.iter().any(|pattern| chosen(target, pattern)))
        .collect();
    let mut linears = model.linears_mut();
    for (index, target) in wanted.into_iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (index as u64).rotate_left(32));
        // PEFT's kaiming_uniform_(a = √5): uniform up to 1 / √in.
        let bound = 1.0 / (target.n_in as f32).sqrt();
        let a = (0..target.n_in * lora.rank).map(|_| rng.random_range(-bound..=bound)).collect();
        let matrices = Matrices {
            a,
            b: vec![0.0; lora.rank * target.columns],
            rank: lora.rank,
            scale: lora.alpha / lora.rank as f64,
            dropout: lora.dropout,
            switch: None,
        };
        put(linears[target.linear], target, matrices);
    }
    Ok(model)
}

/// The numbers of an adapter on one map: `a` is `[in, rank]`, `b` is `[rank, columns]`.
struct Matrices {
    a: Vec<f32>,
    b: Vec<f32>,
    rank: usize,
    scale: f64,
    dropout: f32,
    switch: Option<u8>,
}

fn put(linear: &mut Linear, target: &Target, matrices: Matrices) {
    let device = linear.device();
    let tensor = |values: Vec<f32>, dims: [usize; 2]| {
        Param::from_tensor(Tensor::<2>::from_data(TensorData::new(values, dims), &device))
    };
    linear.adapt(LowRank {
        a: tensor(matrices.a, [target.n_in, matrices.rank]),
        b: tensor(matrices.b, [matrices.rank, target.columns]),
        start: target.start,
        scale: matrices.scale,
        dropout: matrices.dropout,
        switch: matrices.switch,
    });
}

/// Adds all adapters to the weights that they stand on: the same scores, and a model like any other.
#[must_use]
pub fn merge(mut model: CrossEncoder) -> CrossEncoder {
    model.linears_mut().into_iter().for_each(Linear::merge);
    model
}

/// Whether a model has an adapter.
#[must_use]
pub fn is_adapted(model: &CrossEncoder) -> bool {
    model.clone().linears_mut().iter().any(|linear| !linear.adapters().is_empty())
}

/// Freezes everything but the adapters and, if it is to be trained, the head: what is frozen has no
/// gradient, and none is computed.
#[must_use]
pub fn freeze_base(model: CrossEncoder, train_head: bool) -> CrossEncoder {
    model.map(&mut Freeze { path: Vec::new(), train_head })
}

struct Freeze {
    path: Vec<String>,
    train_head: bool,
}

impl ModuleMapper for Freeze {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let learns = self.path.iter().any(|name| name == "adapters")
            || (self.train_head && self.path.first().is_some_and(|name| name == "head"));
        if learns { param } else { param.no_grad() }
    }
}

/// Whether a name is the pattern, or ends with it after a dot.
fn named(name: &str, pattern: &str) -> bool {
    name.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Every linear map under the names of the checkpoint.
fn targets(model: &mut CrossEncoder, config: &Config) -> Vec<Target> {
    let places = fields_of_parameters(model);
    let mut targets = Vec::new();
    for (index, linear) in model.linears_mut().into_iter().enumerate() {
        let (id, [n_in, n_out]) = linear.weight_shape();
        let fields: Vec<&str> = places[&id].iter().map(String::as_str).collect();
        let mut start = 0;
        for (name, columns) in config.tensor_parts(&fields, n_out) {
            let head = fields.first() == Some(&"head");
            // PEFT adapts the head of words under its own name, also where its rows are the word vectors.
            let name = match head && config.head_rows().is_some() {
                true => "lm_head".to_owned(),
                false => name.strip_suffix(".weight").unwrap_or(&name).to_owned(),
            };
            targets.push(Target { name, linear: index, start, columns, n_in, head });
            start += columns;
        }
    }
    targets
}
