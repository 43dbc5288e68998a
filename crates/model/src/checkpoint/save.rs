//! A model into a checkpoint directory that transformers and sentence-transformers load.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::fs::{self, File};
use std::path::Path as FilePath;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use safetensors::tensor::{Dtype, TensorView};
use tamis_data::output::OutputFolder;

use super::parameters::{Path, transpose, values};
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;
use crate::error::{Error, Result};
use crate::settings::Settings;

/// What belongs to a tokenizer, where present.
const TOKENIZER_FILES: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
];

/// Everything that a checkpoint holds.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The weights.
    pub model: &'a CrossEncoder,
    /// The architecture.
    pub config: &'a Config,
    /// How pairs are encoded.
    pub settings: &'a Settings,
    /// A directory whose tokenizer files are copied.
    pub tokenizer: &'a FilePath,
}

/// Saves a checkpoint. It is written beside its place and renamed, so that `directory` is either the
/// old checkpoint or the whole new one.
///
/// # Errors
/// When a file cannot be read or written.
pub fn save(contents: Contents<'_>, directory: &FilePath) -> Result<()> {
    let folder = OutputFolder::create(directory, true)?;
    write(contents, folder.path())?;
    sync_all(folder.path())?;
    Ok(folder.commit()?)
}

fn write(contents: Contents<'_>, directory: &FilePath) -> Result<()> {
    let Contents { model, config, settings, tokenizer } = contents;
    let other = model
        .for_saving(config)
        .map_err(|problem| Error::weights(&directory.join("model.safetensors"), problem))?;
    let (model, config) = other.as_ref().map_or((model, config), |(model, config)| (model, config));
    for name in TOKENIZER_FILES {
        let from = tokenizer.join(name);
        if from.exists() {
            fs::copy(&from, directory.join(name)).map_err(|error| Error::io(&from, error))?;
        }
    }
    let path = directory.join("config.json");
    // What Tamis serves is what sentence-transformers predicts.
    let text = config.clone().with_activation_path(settings.activation.torch_path()).to_json();
    fs::write(&path, text).map_err(|error| Error::io(&path, error))?;
    // Words are gone where their rows became a head.
    let answers = settings.answers.clone().filter(|_| other.is_none());
    Settings { answers, ..settings.clone() }.write(directory)?;
    let mut collect = Collect { config, path: Path::default(), tensors: Vec::new() };
    model.visit(&mut collect);
    for (name, json) in config.modules().iter().flat_map(|modules| &modules.files) {
        let path = directory.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        }
        let text = serde_json::to_string_pretty(json).expect("JSON values serialise");
        fs::write(&path, text).map_err(|error| Error::io(&path, error))?;
    }
    // A module's tensors have its folder before a slash.
    let mut folders: BTreeMap<&str, Vec<(&str, TensorView<'_>)>> = BTreeMap::new();
    for (name, shape, bytes) in &collect.tensors {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
        let tensors = folders.entry(folder).or_default();
        tensors.push((name, view.expect("shape and bytes agree")));
    }
    for (folder, tensors) in folders {
        let path = directory.join(folder).join("model.safetensors");
        write_tensors(tensors, &path)?;
    }
    Ok(())
}

/// Writes tensors as transformers reads them.
pub(crate) fn write_tensors<'data, S: AsRef<str> + Ord + Display>(
    tensors: impl IntoIterator<Item = (S, TensorView<'data>)>,
    path: &FilePath,
) -> Result<()> {
    // transformers refuses files that do not say which framework wrote them.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    // `safetensors` makes files that only their owner can read; the umask decides here, as for the others.
    let file = File::create(path).map_err(|error| Error::io(path, error))?;
    let permissions = file.metadata().map_err(|error| Error::io(path, error))?.permissions();
    safetensors::serialize_to_file(tensors, Some(metadata), path)
        .map_err(|error| Error::weights(path, error.to_string()))?;
    fs::set_permissions(path, permissions).map_err(|error| Error::io(path, error))
}

fn sync_all(directory: &FilePath) -> Result<()> {
    let entries = fs::read_dir(directory).map_err(|error| Error::io(directory, error))?;
    for entry in entries {
        let path = entry.map_err(|error| Error::io(directory, error))?.path();
        if path.is_dir() {
            sync_all(&path)?;
        }
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(|error| Error::io(&path, error))?;
    }
    Ok(())
}

/// Name, shape and little-endian bytes of every tensor, in the order of the module.
struct Collect<'a> {
    config: &'a Config,
    path: Path,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, owner: &str) {
        self.path.enter(name, owner);
    }

    fn exit_module(&mut self, _name: &str, _owner: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let mut shape: Vec<usize> = tensor.dims().to_vec();
        let mut flat = values(tensor);
        if self.path.is_linear() && D == 2 {
            flat = transpose(&flat, shape[0], shape[1]);
            shape.reverse();
        }
        let width: usize = shape[1..].iter().product();
        let mut rest = &flat[..];
        for (name, n_out) in self.config.tensor_parts(&self.path.fields(), shape[0]) {
            shape[0] = n_out;
            let (part, others) = rest.split_at(n_out * width);
            rest = others;
            let bytes = part.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.tensors.push((name, shape.clone(), bytes));
        }
    }
}
