//! The files of a repository into those that a model needs.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// What is fetched where a repository has it, before the weights.
const NAMES: [&str; 15] = [
    "config.json",
    "tamis.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
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

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Why a repository without safetensors is refused.
pub(super) const NO_SAFETENSORS: &str = "the repository has no model.safetensors; pytorch_model.bin is not read because unpickling \
     runs code (the hub's convert space makes a pull request with safetensors: @refs/pr/N)";

/// The files that say what the model is.
pub(super) fn of_model(listed: &[String]) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| listed.iter().any(|file| file == name)).collect()
}

/// The weights, or the index that names their files.
pub(super) fn of_weights(listed: &[String]) -> Option<&'static str> {
    [SINGLE, INDEX].into_iter().find(|name| listed.iter().any(|file| file == name))
}

/// The files that the index of the weights and `modules.json` name.
pub(super) fn named_in(
    directory: &Path,
    weights: &str,
    listed: &[String],
) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Module {
        #[serde(default)]
        path: String,
    }

    let mut names: BTreeSet<String> = BTreeSet::new();
    if weights == INDEX {
        let index: Value = read(&directory.join(INDEX))?;
        let map = index.get("weight_map").and_then(Value::as_object);
        let files = map.into_iter().flat_map(|map| map.values()).filter_map(Value::as_str);
        names.extend(files.map(str::to_owned));
    }
    let modules = directory.join("modules.json");
    let folders: Vec<String> = if modules.exists() {
        let modules: Vec<Module> = read(&modules)?;
        modules.into_iter().map(|module| module.path).filter(|path| !path.is_empty()).collect()
    } else {
        Vec::new()
    };
    for file in listed {
        let inside = |folder: &String| {
            let rest = file.strip_prefix(folder.as_str()).and_then(|rest| rest.strip_prefix('/'));
            matches!(rest, Some("config.json" | SINGLE))
        };
        if folders.iter().any(inside) {
            names.insert(file.clone());
        }
    }
    let is_plain =
        |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    match names.iter().find(|name| !is_plain(name)) {
        Some(name) => {
            let problem = format!("expected the name of a file, found `{name}`");
            Err(Error::weights(directory, problem))
        }
        None => Ok(names),
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    serde_json::from_str(&text).map_err(|error| Error::config(path, error.to_string()))
}
