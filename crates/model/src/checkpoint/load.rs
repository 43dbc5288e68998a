//! A checkpoint directory into a model: every tensor is needed, and every tensor is used.

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::initialise::initialise_only;
use super::parameters::{Path, transpose};
use super::weights::Weights;
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;
use crate::error::{Error, Result};

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
/// Weights may be f32, f16 or bf16 on disk and are f32 in memory. Old names (`gamma`, `beta`) and
/// names without the `bert.` prefix are understood.
///
/// # Errors
/// When a file is missing or damaged, the architecture is unknown, or the tensors are not exactly
/// those that it needs. With `new_head`, tensors of the pooler and classifier may be missing, and
/// those of other heads (`cls.*`) are left out.
pub fn load(directory: &FilePath, new_head: Option<NewHead>, device: &Device) -> Result<Loaded> {
    let mut config = Config::read(&directory.join("config.json"))?;
    if new_head.is_some() {
        config = config.with_labels(1);
    }
    let weights = Weights::open(directory)?;
    let mut fill = Fill {
        weights: &weights,
        path: Path::default(),
        used: BTreeSet::new(),
        missing: Vec::new(),
        misshapen: Vec::new(),
        failure: None,
    };
    let model = CrossEncoder::zeros(&config, device).map(&mut fill);
    let Fill { used, missing, mut misshapen, failure, .. } = fill;
    if let Some(error) = failure {
        return Err(error);
    }
    let (drawn, missing): (Vec<Missing>, Vec<Missing>) =
        missing.into_iter().partition(|m| new_head.is_some() && m.path.starts_with("head."));
    let (left_out, unused): (Vec<String>, Vec<String>) = weights
        .names()
        .filter(|name| !used.contains(*name) && !name.ends_with("embeddings.position_ids"))
        .map(|name| weights.original(name).unwrap_or(name).to_owned())
        .partition(|name| new_head.is_some() && name.starts_with("cls."));
    misshapen.sort();
    if !missing.is_empty() || !unused.is_empty() || !misshapen.is_empty() {
        let missing = missing.into_iter().map(|m| m.name).collect();
        let path = weights.path().to_owned();
        return Err(Error::Tensors { path, missing, unused, misshapen });
    }
    let paths = drawn.iter().map(|m| m.path.clone()).collect();
    let model = match new_head {
        Some(NewHead { seed }) => initialise_only(model, &config, seed, paths),
        None => model,
    };
    let drawn = drawn.into_iter().map(|m| m.name).collect();
    Ok(Loaded { model, config, drawn, left_out })
}

/// A tensor that the architecture needs and the file lacks.
struct Missing {
    name: String,
    path: String,
}

struct Fill<'a> {
    weights: &'a Weights,
    path: Path,
    used: BTreeSet<String>,
    missing: Vec<Missing>,
    misshapen: Vec<String>,
    failure: Option<Error>,
}

impl Fill<'_> {
    /// The values in memory order for a parameter of this shape, or `None` after noting why not.
    fn values(&mut self, dims: &[usize]) -> Option<Vec<f32>> {
        let names = self.path.tensor_names();
        let linear = self.path.is_linear() && dims.len() == 2;
        // On disk the outputs come first; several tensors share them equally.
        let mut on_disk: Vec<usize> = dims.to_vec();
        if linear {
            on_disk.reverse();
        }
        on_disk[0] /= names.len();
        let mut all = Vec::with_capacity(dims.iter().product());
        for name in &names {
            match self.weights.shape(name) {
                None => {
                    self.missing.push(Missing { name: name.clone(), path: self.path.dotted() });
                    continue;
                }
                Some(shape) if shape != on_disk => {
                    self.misshapen.push(format!("{name}: found {shape:?}, expected {on_disk:?}"));
                }
                Some(_) => match self.weights.values(name) {
                    Ok(values) => all.extend(values),
                    Err(error) => self.failure = Some(error),
                },
            }
            self.used.insert(name.clone());
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
        let shape = param.val().shape();
        let dims: Vec<usize> = (0..D).map(|dim| shape[dim]).collect();
        match self.values(&dims) {
            None => param,
            Some(values) => param
                .map(|tensor| Tensor::from_data(TensorData::new(values, shape), &tensor.device())),
        }
    }
}
