//! A checkpoint directory into a model: every tensor is needed, and every tensor is used.

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use tamis_ops::Precision;

use super::initialise::initialise_only;
use super::parameters::{Path, transpose};
use super::streamed;
use super::weights::Weights;
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;
use crate::error::{Error, Result};
use crate::split::SplitConfig;

/// A model read from disk.
#[derive(Debug)]
pub struct Loaded {
    /// The model, on the device that was asked for, without autodiff.
    pub model: CrossEncoder,
    /// Its configuration.
    pub config: Config,
    /// Tensors of a new head that were drawn because the file has none.
    pub drawn: Vec<String>,
    /// Tensors of another head (such as that of language modelling) that were left out.
    pub left_out: Vec<String>,
}

/// Put a new head with one label on an encoder that has none, drawn from a seed.
#[derive(Debug, Clone, Copy)]
pub struct NewHead {
    /// Equal seeds, equal heads.
    pub seed: u64,
}

/// Loads a Hugging Face directory.
///
/// Weights may be in one file or several, f32, f16 or bf16 on disk; in memory they are f32. Old names
/// (`gamma`, `beta`) and names without the encoder's own (`bert.`) are understood. A head may be in
/// modules of sentence-transformers (`modules.json`).
///
/// # Errors
/// When a file is missing or damaged, the architecture is unknown, or the tensors are not exactly
/// those that it needs. With `new_head`, tensors of the head may be missing or made for another
/// number of labels, and those of other heads are left out.
pub fn load(directory: &FilePath, new_head: Option<NewHead>, device: &Device) -> Result<Loaded> {
    load_as(directory, new_head, Ok, None, None, device)
}

/// The same to score on the CPU: the layers of a decoder are packed as they are read from the files, so that
/// memory never holds more than the model as it scores. Other models are as [`load`] leaves them.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_packed(
    directory: &FilePath,
    new_head: Option<NewHead>,
    precision: Precision,
    device: &Device,
) -> Result<Loaded> {
    load_as(directory, new_head, Ok, None, Some(precision), device)
}

/// A change to a configuration, or why it cannot be.
type Change = std::result::Result<Config, String>;

/// The same with the encoder split otherwise than the checkpoint says. With `new_head` the head becomes
/// that of PreTTR. A compressor that the checkpoint lacks is drawn from the seed.
///
/// # Errors
/// As [`load`], and when the encoder cannot be split like this.
pub fn load_split(
    directory: &FilePath,
    new_head: Option<NewHead>,
    split: SplitConfig,
    seed: u64,
    device: &Device,
) -> Result<Loaded> {
    let change = |config: Config| config.with_split(split, new_head.is_some());
    load_as(directory, new_head, change, Some(seed), None, device)
}

fn load_as(
    directory: &FilePath,
    new_head: Option<NewHead>,
    change: impl FnOnce(Config) -> Change,
    compressor_seed: Option<u64>,
    packed: Option<Precision>,
    device: &Device,
) -> Result<Loaded> {
    let path = directory.join("config.json");
    let mut config = Config::read(&path)?;
    config = match new_head {
        Some(_) => config.with_labels(1),
        None => config.with_modules_of(directory)?.with_answers_of(directory)?,
    };
    config = change(config).map_err(|problem| Error::config(&path, problem))?;
    let mut weights = Weights::open(directory)?;
    for step in config.modules().iter().flat_map(|modules| &modules.steps) {
        weights.add_module(directory, &step.path)?;
    }
    let mut fill = Fill {
        config: &config,
        weights: &weights,
        path: Path::default(),
        used: BTreeSet::new(),
        missing: Vec::new(),
        misshapen: Vec::new(),
        left_out: BTreeSet::new(),
        failure: None,
    };
    let mut model = CrossEncoder::zeros(&config, device);
    if let Some(precision) = packed {
        fill.left_out = streamed::left_out(&mut model, precision);
    }
    model = model.map(&mut fill);
    if let Some(precision) = packed {
        streamed::pack(&mut model, &mut fill, precision, device);
    }
    let Fill { used, mut missing, misshapen, failure, .. } = fill;
    if let Some(error) = failure {
        return Err(error);
    }
    let of_new = |found: &Wrong| {
        (new_head.is_some() && found.path.starts_with("head."))
            || (compressor_seed.is_some() && found.path.contains(".compressor."))
    };
    let (replaced, misshapen): (Vec<Wrong>, Vec<Wrong>) = misshapen.into_iter().partition(of_new);
    missing.extend(replaced);
    let (drawn, missing): (Vec<Wrong>, Vec<Wrong>) = missing.into_iter().partition(of_new);
    let architecture = config.architecture();
    let (left_out, unused): (Vec<String>, Vec<String>) = weights
        .names()
        .filter(|name| !used.contains(*name) && !is_buffer(name))
        .map(str::to_owned)
        .partition(|name| {
            // Without its own head an encoder may still have the pooler that it was trained with.
            let is_pooler = name.strip_prefix(architecture.prefix()).unwrap_or(name);
            let is_pooler = is_pooler.trim_start_matches('.').starts_with("pooler.");
            architecture.leaves_out(name)
                || (config.modules().is_some() && is_pooler)
                || (new_head.is_some() && is_of_another_head(name))
        });
    // An encoder alone: its head is missing, and all else is right or of a head for pretraining.
    let is_head = |found: &Wrong| found.path.starts_with("head.");
    let lacks_head = missing.iter().any(|found| found.path.ends_with(".classifier.weight"));
    if lacks_head
        && missing.iter().all(is_head)
        && misshapen.is_empty()
        && unused.iter().all(|name| is_of_another_head(name))
    {
        let missing = missing.into_iter().map(|found| found.name).collect();
        return Err(Error::NoHead { path: weights.path().to_owned(), missing });
    }
    if !missing.is_empty() || !unused.is_empty() || !misshapen.is_empty() {
        let names = |wrong: Vec<Wrong>| wrong.into_iter().map(|found| found.name).collect();
        let mut misshapen: Vec<String> = misshapen
            .into_iter()
            .map(|Wrong { name, shape, .. }| format!("{name}: {shape}"))
            .collect();
        misshapen.sort();
        let path = weights.path().to_owned();
        return Err(Error::Tensors { path, missing: names(missing), unused, misshapen });
    }
    let paths = drawn.iter().map(|found| found.path.clone()).collect();
    let model = match new_head.map(|NewHead { seed }| seed).or(compressor_seed) {
        Some(seed) => initialise_only(model, &config, seed, paths),
        None => model,
    };
    let drawn = drawn.into_iter().map(|found| found.name).collect();
    Ok(Loaded { model, config, drawn, left_out })
}

/// Whether a tensor only counts, as early versions of transformers saved it.
fn is_buffer(name: &str) -> bool {
    ["embeddings.position_ids", "embeddings.token_type_ids"].iter().any(|end| name.ends_with(end))
}

/// Whether a tensor belongs to a head of pretraining or of another task.
fn is_of_another_head(name: &str) -> bool {
    const HEADS: [&str; 18] = [
        "cls.",
        "lm_head.",
        "classifier.",
        "pooler.",
        "bert.pooler.",
        "predictions.",
        "sop_classifier.",
        "vocab_transform.",
        "vocab_layer_norm.",
        "vocab_projector.",
        "qa_outputs.",
        "pre_classifier.",
        "discriminator_predictions.",
        "generator_predictions.",
        "generator_lm_head.",
        "mask_predictions.",
        "lm_predictions.",
        "decoder.",
    ];
    HEADS.iter().any(|head| name.starts_with(head))
}

/// A tensor that the architecture needs and the files lack or hold in another shape.
struct Wrong {
    name: String,
    path: String,
    /// Both shapes, if there are two.
    shape: String,
}

pub(super) struct Fill<'a> {
    pub(super) config: &'a Config,
    pub(super) weights: &'a Weights,
    path: Path,
    pub(super) used: BTreeSet<String>,
    missing: Vec<Wrong>,
    misshapen: Vec<Wrong>,
    /// What is not filled here.
    left_out: BTreeSet<ParamId>,
    pub(super) failure: Option<Error>,
}

impl Fill<'_> {
    /// Notes a tensor that the files lack.
    pub(super) fn lacks(&mut self, name: String, path: &str) {
        self.missing.push(Wrong { name, shape: String::new(), path: path.to_owned() });
    }

    /// Notes a tensor of another shape.
    pub(super) fn is_misshapen(&mut self, name: String, path: &str, shape: String) {
        self.misshapen.push(Wrong { name, shape, path: path.to_owned() });
    }

    /// The values in memory order for a parameter of this shape, or `None` after noting why not.
    fn values(&mut self, dims: &[usize]) -> Option<Vec<f32>> {
        let fields = self.path.fields();
        let linear = self.path.is_linear() && dims.len() == 2;
        // On disk the outputs come first; several tensors share them.
        let mut on_disk: Vec<usize> = dims.to_vec();
        if linear {
            on_disk.reverse();
        }
        let parts = self.config.tensor_parts(&fields, on_disk[0]);
        let rows = self.config.head_rows().filter(|_| fields.first() == Some(&"head"));
        let mut all = Vec::with_capacity(dims.iter().product());
        for (name, n_out) in parts {
            on_disk[0] = n_out;
            let wrong = |name, shape| Wrong { name, shape, path: self.path.dotted() };
            let Some(found) = self.weights.find(&name, self.config.architecture().prefix()) else {
                self.missing.push(wrong(name, String::new()));
                continue;
            };
            let shape = self.weights.shape(found).unwrap_or_default();
            let values = match &rows {
                // A few rows of a tensor that may have as many as there are words.
                Some(rows) if shape.len() == 2 && shape[1..] == on_disk[1..] => {
                    Some(self.weights.rows(found, rows))
                }
                None if shape == on_disk => Some(self.weights.values(found)),
                _ => None,
            };
            match values {
                Some(Ok(values)) => all.extend(values),
                Some(Err(error)) => self.failure = Some(error),
                None => {
                    let shape = format!("found {shape:?}, expected {on_disk:?}");
                    self.misshapen.push(wrong(name, shape));
                }
            }
            self.used.insert(found.to_owned());
        }
        let complete = all.len() == dims.iter().product::<usize>();
        match (complete, linear) {
            (false, _) => None,
            (true, true) => Some(transpose(&all, dims[1], dims[0])),
            (true, false) => Some(all),
        }
    }
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, owner: &str) {
        self.path.enter(name, owner);
    }

    fn exit_module(&mut self, _name: &str, _owner: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.left_out.contains(&param.id) {
            return param;
        }
        let shape = param.lazy_shape();
        let dims: Vec<usize> = (0..D).map(|dim| shape[dim]).collect();
        match self.values(&dims) {
            None => param,
            Some(values) => {
                let values = TensorData::new(values, shape);
                let (values, id) = (Tensor::from_data(values, &param.lazy_device()), param.id);
                param.transform_for_load(values, id)
            }
        }
    }
}
