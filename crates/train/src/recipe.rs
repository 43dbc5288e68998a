//! A recipe: everything that decides what a training does, as TOML.

mod data;
mod dev;
mod exits;
mod split;
mod template;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tamis_data::{Curriculum, GroupSampler};
use tamis_loss::{Lce, Loss, Objective};
use tamis_model::ExitLayers;
use tamis_model::adapter::LoraConfig;

use crate::error::{Error, Result};
use crate::optimizer::OptimizerRecipe;
use crate::precision::Precision;
use crate::schedule::ScheduleKind;
use crate::workers::Split;
pub use data::{DataRecipe, Folders};
pub use dev::DevRecipe;
pub use exits::ExitRecipe;
pub use split::SplitRecipe;
pub use template::TemplateRecipe;

/// One training, whole. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where all randomness comes from.
    #[serde(default = "seed")]
    pub seed: u64,
    /// What is trained.
    pub model: ModelRecipe,
    /// What it learns from.
    pub data: DataRecipe,
    /// How.
    #[serde(default)]
    pub train: TrainRecipe,
    /// What tells the best checkpoint; without it the last one is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<DevRecipe>,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// A Hugging Face directory.
    pub path: PathBuf,
    /// Where the weights come from.
    #[serde(default)]
    pub init: Init,
    /// Query and document apart in the first layers; as in the checkpoint when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitRecipe>,
    /// Gives a decoder that answers with a word an exit at several depths: each begins with the row of
    /// that word in the language-model head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exits: Option<ExitLayers>,
    /// What stands around query and document, where it is not what the directory says: the name of a
    /// template (`bge`, `bge-predict`, `qwen3-reranker`, `rag-retrieval`) or its segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRecipe>,
    /// Adapters that are added to the weights before anything is trained, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<PathBuf>,
}

/// Where the weights of a model come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// All of them from the directory.
    #[default]
    Checkpoint,
    /// The encoder from the directory; a head that it lacks is drawn from the seed.
    NewHead,
    /// All drawn from the seed; the directory has `config.json` and the tokenizer.
    Scratch,
}

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainRecipe {
    /// The terms of the loss, summed.
    pub loss: Objective,
    /// The highest learning rate.
    pub lr: f64,
    /// What the rate does after the warm-up: `linear`, `cosine`, `constant`, `warmup-stable-decay` or
    /// `inverse-sqrt`.
    pub schedule: ScheduleKind,
    /// The lowest rate after the warm-up, as a part of `lr`.
    pub lr_floor: f64,
    /// How often a cosine falls; it starts again at `lr`.
    pub lr_cycles: u64,
    /// The part of all steps in which `warmup-stable-decay` falls.
    pub decay_ratio: f64,
    /// The factor of the rate from one layer to the one below; 1 for all the same.
    pub layer_decay: f64,
    /// The factor of the head's rate.
    pub head_lr: f64,
    /// The decay of a moving average of the weights, which is what is evaluated and saved; none when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// The part of all steps that warms up, when `warmup_steps` is absent.
    pub warmup_ratio: f64,
    /// Steps that warm up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Passes over the groups, when `steps` is absent.
    pub epochs: f64,
    /// Steps in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Groups that go through the model together.
    pub groups_per_batch: usize,
    /// Batches whose gradients make one step.
    pub accumulation: usize,
    /// Rows of a sub-batch when the gradient is cached: memory is that of one sub-batch, however large
    /// a group is, for one more forward pass. Absent: not cached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_cache: Option<usize>,
    /// Whether the activations of a layer are worked out again on the way back instead of kept: the
    /// memory of one layer in place of all, for one more forward pass.
    pub recompute: bool,
    /// What the encoder computes in: `f32`, `bf16` or `f16`. Weights, optimiser, head and loss keep
    /// `f32`; in `f16` gradients are scaled, and a step whose gradient overflows is skipped.
    pub precision: Precision,
    /// Replicas of the model that divide a step among them, each a thread.
    pub workers: usize,
    /// What they divide: `batches` of the accumulation, or the `rows` of every batch.
    pub split: Split,
    /// Gradients longer than this are shortened to it; 0 switches it off.
    pub max_grad_norm: f64,
    /// The optimiser: `adamw`, `adafactor`, `lion` or `muon` under `name`, and its numbers.
    pub optimizer: OptimizerRecipe,
    /// An adapter that is trained in place of the weights; the checkpoint has it merged, and beside it
    /// in the folder `adapter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// How a model with several exits learns, in place of `loss`; absent, its deepest exit alone does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exits: Option<ExitRecipe>,
    /// Whether the compressor of [`SplitRecipe`] alone learns, to give the layers above it the attention
    /// that they have without it, in place of `loss`; labels and teacher scores are not looked at.
    pub match_attention: bool,
    /// Steps between two saved states; 0 saves only at the end and on Ctrl-C.
    pub save_every: u64,
    /// How many checkpoints of saved steps are kept beside the best one; older ones are removed.
    pub keep_last: usize,
}

impl Default for TrainRecipe {
    fn default() -> Self {
        Self {
            loss: Objective::single(Loss::Lce(Lce::default())),
            lr: 2e-5,
            schedule: ScheduleKind::Linear,
            lr_floor: 0.0,
            lr_cycles: 1,
            decay_ratio: 0.1,
            layer_decay: 1.0,
            head_lr: 1.0,
            ema_decay: None,
            warmup_ratio: 0.1,
            warmup_steps: None,
            epochs: 1.0,
            steps: None,
            groups_per_batch: 8,
            accumulation: 1,
            gradient_cache: None,
            recompute: false,
            precision: Precision::F32,
            workers: 1,
            split: Split::Batches,
            max_grad_norm: 1.0,
            optimizer: OptimizerRecipe::default(),
            lora: None,
            exits: None,
            match_attention: false,
            save_every: 100,
            keep_last: 0,
        }
    }
}

fn seed() -> u64 {
    42
}

impl Recipe {
    /// Reads a recipe and applies overrides such as `train.lr=2e-5`.
    ///
    /// # Errors
    /// When the file cannot be read, has an unknown key or a value that makes no sense, or an
    /// override is not `key=value`.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        Self::parse(&text, overrides, path)
    }

    /// The same from a text; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn parse(text: &str, overrides: &[String], path: &Path) -> Result<Self> {
        let problem = |problem: String| Error::recipe(path, problem);
        let recipe: Self = if overrides.is_empty() {
            // Straight from the text, so that errors show the line.
            toml::from_str(text).map_err(|error| problem(error.to_string()))?
        } else {
            let mut table: toml::Table =
                toml::from_str(text).map_err(|error| problem(error.to_string()))?;
            for assignment in overrides {
                set(&mut table, assignment).map_err(&problem)?;
            }
            table.try_into().map_err(|error: toml::de::Error| problem(error.to_string()))?
        };
        recipe.check().map_err(problem)?;
        Ok(recipe)
    }

    /// The recipe with every default written out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe is a TOML table")
    }

    /// How training groups are drawn; with a curriculum, at its shallowest depth.
    #[must_use]
    pub fn sampler(&self) -> GroupSampler {
        let shallowest = self.data.curriculum.map(|Curriculum { from, to }| from.min(to));
        GroupSampler {
            seed: self.seed,
            group_size: self.data.group_size,
            negatives_depth: self.data.negatives_depth.or(shallowest),
            positives: self.data.positives,
            shortage: self.data.shortage,
        }
    }

    /// Whether the data must have teacher scores.
    pub(crate) fn needs_teacher(&self) -> bool {
        match &self.train.exits {
            Some(exits) => exits.loss.method.needs_teacher(),
            None => !self.train.match_attention && self.train.loss.needs_teacher(),
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        let TrainRecipe { lr, warmup_ratio, epochs, max_grad_norm, .. } = self.train;
        let within = |name: &str, value: f64, from: f64, to: f64| {
            let problem = format!("train.{name}: expected {from} to {to}, found `{value}`");
            ((from..=to).contains(&value), problem)
        };
        let conditions = [
            within("lr_floor", self.train.lr_floor, 0.0, 1.0),
            within("decay_ratio", self.train.decay_ratio, 0.0, 1.0),
            within("layer_decay", self.train.layer_decay, 0.01, 1.0),
            within("head_lr", self.train.head_lr, 0.0, 1e6),
            within("ema_decay", self.train.ema_decay.unwrap_or(0.0), 0.0, 1.0),
            (self.train.lr_cycles > 0, "train.lr_cycles: expected above 0".into()),
            (lr > 0.0 && lr.is_finite(), format!("train.lr: expected above 0, found `{lr}`")),
            (
                (0.0..=1.0).contains(&warmup_ratio),
                format!("train.warmup_ratio: expected 0 to 1, found `{warmup_ratio}`"),
            ),
            (
                epochs > 0.0 && epochs.is_finite(),
                format!("train.epochs: expected above 0, found `{epochs}`"),
            ),
            (
                max_grad_norm >= 0.0,
                format!("train.max_grad_norm: expected 0 or above, found `{max_grad_norm}`"),
            ),
            (self.train.groups_per_batch > 0, "train.groups_per_batch: expected above 0".into()),
            (self.train.accumulation > 0, "train.accumulation: expected above 0".into()),
            (self.train.gradient_cache != Some(0), "train.gradient_cache: expected above 0".into()),
            (self.train.workers > 0, "train.workers: expected above 0".into()),
            (
                self.train.split == Split::Rows || self.train.workers <= self.train.accumulation,
                format!(
                    "train.workers: expected at most train.accumulation, which is what they divide \
                     with split = \"batches\", found `{}`",
                    self.train.workers
                ),
            ),
            (
                self.data.in_batch_negatives == 0 || !self.needs_teacher(),
                "data.in_batch_negatives: documents of other queries have no teacher scores".into(),
            ),
            (self.train.steps != Some(0), "train.steps: expected above 0".into()),
            (
                self.model.split.is_none_or(|split| split.compress != Some(0)),
                "model.split.compress: expected above 0".into(),
            ),
            (!self.train.loss.terms.is_empty(), "train.loss: expected at least one term".into()),
        ];
        if let Some((_, problem)) = conditions.into_iter().find(|(holds, _)| !holds) {
            return Err(problem);
        }
        for term in &self.train.loss.terms {
            if let Some(problem) = term.problem() {
                return Err(format!("train.loss: {problem}"));
            }
        }
        if let Some(exits) = &self.train.exits {
            exits.check()?;
            if self.train.recompute || (self.train.split == Split::Rows && self.train.workers > 1) {
                return Err("train.exits: expected recompute = false and workers that divide batches; gradient_cache saves memory here"
                    .to_owned());
            }
        }
        let train = &self.train;
        let plain = train.gradient_cache.is_none()
            && !train.recompute
            && train.lora.is_none()
            && train.exits.is_none()
            && (train.workers == 1 || train.split == Split::Batches);
        if train.match_attention && !plain {
            return Err(
                "train.match_attention: expected no gradient_cache, recompute, lora or exits, and \
                        workers that divide batches"
                    .to_owned(),
            );
        }
        if let Some(template) = &self.model.template {
            template.find()?;
        }
        self.data.check()?;
        self.dev.as_ref().map_or(Ok(()), DevRecipe::check)
    }
}

/// Applies `a.b.c=value`; the value is TOML, or a bare text.
fn set(table: &mut toml::Table, assignment: &str) -> std::result::Result<(), String> {
    let (path, text) = assignment
        .split_once('=')
        .ok_or_else(|| format!("--set: expected `key=value`, found `{assignment}`"))?;
    let value = toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let last = keys.pop().unwrap_or_default();
    let mut place = table;
    for key in keys {
        let next = place.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = next
            .as_table_mut()
            .ok_or_else(|| format!("--set {assignment}: `{key}` is not a section"))?;
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[model]\npath = \"m\"\n[data]\ntrain = \"d\"\n";

    fn parse(text: &str, overrides: &[&str]) -> std::result::Result<Recipe, String> {
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        Recipe::parse(text, &overrides, Path::new("r.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_resolved_copy_is_the_same_recipe() {
        let overrides = ["train.lr=1e-3", "model.init=scratch", "dev.dataset=\"x\"", "dev.every=5"];
        let recipe = parse(TEXT, &overrides).unwrap();
        assert_eq!((recipe.train.lr, recipe.model.init), (1e-3, Init::Scratch));
        assert_eq!(parse(&recipe.to_toml(), &[]).unwrap(), recipe);
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let error = parse(&format!("{TEXT}[train]\nlearning_rate = 1\n"), &[]).unwrap_err();
        assert!(error.contains("unknown field `learning_rate`"), "{error}");
        assert!(error.contains("line 6"), "{error}");
        let error = parse(TEXT, &["trian.lr=1"]).unwrap_err();
        assert!(error.contains("unknown field `trian`"), "{error}");
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for (set, expected) in [
            ("train.lr=0", "r.toml: train.lr: expected above 0, found `0`"),
            ("train.loss=[]", "r.toml: train.loss: expected at least one term"),
            (
                "train.loss=[{name=\"lce\",temperature=0.0}]",
                "r.toml: train.loss: temperature must be above 0, found `0`",
            ),
            ("train", "r.toml: --set: expected `key=value`, found `train`"),
        ] {
            assert_eq!(parse(TEXT, &[set]).unwrap_err(), expected);
        }
        let error = parse(TEXT, &["dev.dataset=\"x\"", "dev.measures=[\"nDGC@10\"]"]).unwrap_err();
        assert!(error.contains("dev.measures") && error.contains("nDGC@10"), "{error}");
    }

    #[test]
    fn losses_are_named_with_their_parameters_and_weights() {
        let set = "train.loss=[{name=\"lce\"},{name=\"kl\",weight=0.5,temperature=2.0}]";
        let loss = parse(TEXT, &[set]).unwrap().train.loss;
        assert_eq!(loss.terms.len(), 2);
        assert_eq!(loss.terms[1].weight, 0.5);
        assert!(loss.needs_teacher());
    }
}
