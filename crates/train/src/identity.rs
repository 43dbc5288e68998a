//! The model and the data of a run into hashes, so that it only goes on with the same.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tamis_data::output;

use crate::error::{Error, Result};
use crate::recipe::{Init, Recipe};
use crate::run_directory::RunDirectory;

/// SHA-256 of what a run began with, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// The configuration, the tokenizer and, unless they are drawn, the weights.
    model: String,
    /// The manifests of the training data, which have the hashes of its files.
    data: String,
    /// The manifest of the dev set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
}

impl Identity {
    pub(crate) fn of(recipe: &Recipe) -> Result<Self> {
        let model = &recipe.model.path;
        let mut names = vec!["config.json".to_owned(), "tokenizer.json".to_owned()];
        if recipe.model.init != Init::Scratch {
            let entries = std::fs::read_dir(model).map_err(|error| Error::io(model, error))?;
            for entry in entries {
                let name = entry.map_err(|error| Error::io(model, error))?.file_name();
                names.extend(
                    name.to_str().filter(|n| n.ends_with(".safetensors")).map(str::to_owned),
                );
            }
            names[2..].sort();
        }
        let manifests = |folders: &[PathBuf]| {
            hash(&folders.iter().map(|folder| folder.join("manifest.json")).collect::<Vec<_>>())
        };
        Ok(Self {
            model: hash(&names.iter().map(|name| model.join(name)).collect::<Vec<_>>())?,
            data: manifests(recipe.data.train.as_slice())?,
            dev: recipe
                .dev
                .as_ref()
                .map(|dev| manifests(std::slice::from_ref(&dev.dataset)))
                .transpose()?,
        })
    }

    /// Writes it into a run that has none, or compares it with the one that the run has.
    ///
    /// # Errors
    /// When the run began with another model or other data.
    pub(crate) fn check(&self, run: &RunDirectory) -> Result<()> {
        let path = run.path().join("identity.json");
        if !path.exists() {
            let text = serde_json::to_string_pretty(self).expect("hashes serialise");
            return Ok(output::write_file(&path, |out| writeln!(out, "{text}"))?);
        }
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
        let begun: Self = serde_json::from_str(&text)
            .map_err(|error| Error::run(&path, format!("not the hashes of a run: {error}")))?;
        let differs = [
            ("model", Some(&begun.model), Some(&self.model)),
            ("training data", Some(&begun.data), Some(&self.data)),
            ("dev set", begun.dev.as_ref(), self.dev.as_ref()),
        ]
        .into_iter()
        .find(|(_, begun, found)| begun != found);
        let Some((what, begun, found)) = differs else { return Ok(()) };
        let short = |hash: Option<&String>| match hash {
            Some(hash) => format!("`{}...`", &hash[..hash.len().min(12)]),
            None => "none".to_owned(),
        };
        let problem = format!(
            "the run began with another {what}: expected sha256 {}, found {}; put the old one back, or \
             begin a new run",
            short(begun),
            short(found)
        );
        Err(Error::run(run.path(), problem))
    }
}

/// The hash of several files, one after the other, with their lengths.
fn hash(paths: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    for path in paths {
        let mut file = std::fs::File::open(path).map_err(|error| Error::io(path, error))?;
        let n = std::io::copy(&mut file, &mut hasher).map_err(|error| Error::io(path, error))?;
        hasher.update(n.to_le_bytes());
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
