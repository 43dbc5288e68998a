//! `modules.json` of sentence-transformers: a head made of modules with folders of their own.

use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::head::Pooling;
use crate::layer::Activation;

/// The head of a modular cross-encoder, and the files that describe it.
#[derive(Debug, Clone)]
pub(crate) struct Modules {
    pub(crate) pooling: Pooling,
    pub(crate) steps: Vec<Step>,
    /// Paths below the checkpoint and their JSON, for saving them again.
    pub(crate) files: Vec<(String, Value)>,
}

/// One module after the pooling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// Its folder.
    pub(crate) path: String,
    pub(crate) kind: StepKind,
}

/// What a module does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StepKind {
    /// A linear map and perhaps an activation.
    Dense { n_in: usize, n_out: usize, bias: bool, activation: Option<Activation> },
    /// A layer norm.
    Norm { width: usize },
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    #[serde(rename = "type")]
    class: String,
}

#[derive(Deserialize)]
struct Dense {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: Option<String>,
    module_output_name: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

fn yes() -> bool {
    true
}

/// The file that lists the modules.
const FILE: &str = "modules.json";

/// What sentence-transformers keeps beside it.
const BESIDE: [&str; 2] = ["config_sentence_transformers.json", "sentence_bert_config.json"];

impl Modules {
    /// Reads the modules of a checkpoint, if they make its scores. A model whose transformer has a
    /// head of its own, and one that makes embeddings, have none.
    ///
    /// # Errors
    /// When a file cannot be read or a module is not known.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let raw = json(&path)?;
        let bad = |problem: String| Error::config(&path, problem);
        let entries = Vec::<Entry>::deserialize(&raw).map_err(|error| bad(error.to_string()))?;
        let Some((last, _)) = entries.split_last() else { return Ok(None) };
        if class(last) != "Dense"
            || dense(directory, last)?.1.module_output_name.as_deref() != Some("scores")
        {
            return Ok(None);
        }
        let expected = "a Transformer at the top, a Pooling, then Dense and LayerNorm modules";
        let [transformer, pooling, rest @ ..] = entries.as_slice() else {
            return Err(bad(format!("expected {expected}, found `{}` modules", entries.len())));
        };
        if class(transformer) != "Transformer"
            || !transformer.path.is_empty()
            || class(pooling) != "Pooling"
        {
            let found: Vec<&str> = entries.iter().map(class).collect();
            return Err(bad(format!("expected {expected}, found {}", found.join(", "))));
        }
        let mut files = vec![(FILE.to_owned(), raw.clone())];
        for name in BESIDE {
            if directory.join(name).exists() {
                files.push((name.to_owned(), json(&directory.join(name))?));
            }
        }
        let config = module_config(directory, pooling)?;
        let pooling_kind = pooling_kind(&config)
            .map_err(|problem| Error::config(&directory.join(&pooling.path), problem))?;
        files.push((format!("{}/config.json", pooling.path), config));
        let mut steps = Vec::new();
        for entry in rest {
            let config = module_config(directory, entry)?;
            files.push((format!("{}/config.json", entry.path), config));
            steps.push(Step { path: entry.path.clone(), kind: step_kind(directory, entry)? });
        }
        Ok(Some(Self { pooling: pooling_kind, steps, files }))
    }

    /// Outputs of the last module.
    pub(crate) fn n_labels(&self) -> usize {
        self.steps
            .iter()
            .rev()
            .find_map(|step| match step.kind {
                StepKind::Dense { n_out, .. } => Some(n_out),
                StepKind::Norm { .. } => None,
            })
            .unwrap_or(0)
    }

    /// A key of `config_sentence_transformers.json`.
    pub(crate) fn beside(&self, key: &str) -> Option<&Value> {
        self.files.iter().find(|(name, _)| name == BESIDE[0]).and_then(|(_, json)| json.get(key))
    }

    /// Sets it, where the file is.
    pub(crate) fn set_beside(&mut self, key: &str, value: Value) {
        let file = self.files.iter_mut().find(|(name, _)| name == BESIDE[0]);
        if let Some((_, Value::Object(json))) = file {
            json.insert(key.to_owned(), value);
        }
    }

    /// The name of a parameter: its module's folder, a slash, and its name in the folder's file.
    pub(crate) fn tensor(&self, path: &[&str]) -> String {
        match path {
            ["steps", step, field, tensor] => {
                let step: usize = step.parse().expect("steps are numbered");
                format!("{}/{field}.{tensor}", self.steps[step].path)
            }
            other => unreachable!("a modular head has no parameter {other:?}"),
        }
    }
}

/// The name of a module's class without the names of Python's modules.
fn class(entry: &Entry) -> &str {
    entry.class.rsplit('.').next().unwrap_or(&entry.class)
}

fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    serde_json::from_str(&text).map_err(|error| Error::config(path, error.to_string()))
}

fn module_config(directory: &Path, entry: &Entry) -> Result<Value> {
    let is_plain = !entry.path.is_empty()
        && Path::new(&entry.path).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_plain {
        let problem = format!("path: expected a folder of the checkpoint, found `{}`", entry.path);
        return Err(Error::config(&directory.join(FILE), problem));
    }
    json(&directory.join(&entry.path).join("config.json"))
}

fn dense(directory: &Path, entry: &Entry) -> Result<(Value, Dense)> {
    let config = module_config(directory, entry)?;
    let dense = Dense::deserialize(&config).map_err(|error| {
        Error::config(&directory.join(&entry.path).join("config.json"), error.to_string())
    })?;
    Ok((config, dense))
}

fn step_kind(directory: &Path, entry: &Entry) -> Result<StepKind> {
    let bad =
        |problem: String| Error::config(&directory.join(&entry.path).join("config.json"), problem);
    match class(entry) {
        "Dense" => {
            let (_, dense) = dense(directory, entry)?;
            if dense.use_residual {
                return Err(bad("use_residual: expected `false`, found `true`".to_owned()));
            }
            let name = dense.activation_function.as_deref().unwrap_or("Tanh");
            let activation = match name.rsplit('.').next().unwrap_or(name) {
                "Identity" => None,
                "Tanh" => Some(Activation::Tanh),
                "GELU" => Some(Activation::Gelu),
                "ReLU" => Some(Activation::Relu),
                "SiLU" => Some(Activation::Silu),
                other => {
                    return Err(bad(format!(
                        "activation_function: expected Identity, Tanh, GELU, ReLU or SiLU of \
                         torch, found `{other}`"
                    )));
                }
            };
            let Dense { in_features: n_in, out_features: n_out, bias, .. } = dense;
            Ok(StepKind::Dense { n_in, n_out, bias, activation })
        }
        "LayerNorm" => {
            let config = module_config(directory, entry)?;
            match config.get("dimension").and_then(Value::as_u64) {
                Some(width) => Ok(StepKind::Norm { width: width as usize }),
                None => Err(bad("dimension: expected a number".to_owned())),
            }
        }
        other => {
            let problem = format!("expected a Dense or LayerNorm module, found `{other}`");
            Err(Error::config(&directory.join(FILE), problem))
        }
    }
}

/// Either way of naming what is pooled.
fn pooling_kind(config: &Value) -> std::result::Result<Pooling, String> {
    const OLD: [(&str, &str); 6] = [
        ("pooling_mode_cls_token", "cls"),
        ("pooling_mode_mean_tokens", "mean"),
        ("pooling_mode_max_tokens", "max"),
        ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
        ("pooling_mode_weightedmean_tokens", "weightedmean"),
        ("pooling_mode_lasttoken", "lasttoken"),
    ];
    let modes: Vec<&str> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        Some(Value::Array(modes)) => modes.iter().filter_map(Value::as_str).collect(),
        _ => {
            let is_on = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
            OLD.into_iter().filter(|(key, _)| is_on(key)).map(|(_, mode)| mode).collect()
        }
    };
    match modes.as_slice() {
        ["cls"] => Ok(Pooling::First),
        ["mean"] => Ok(Pooling::Mean),
        other => {
            Err(format!("pooling_mode: expected `cls` or `mean`, found `{}`", other.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pooling_has_an_old_and_a_new_name() {
        assert_eq!(pooling_kind(&json!({"pooling_mode": "cls"})), Ok(Pooling::First));
        assert_eq!(pooling_kind(&json!({"pooling_mode": ["mean"]})), Ok(Pooling::Mean));
        let old = json!({"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true});
        assert_eq!(pooling_kind(&old), Ok(Pooling::Mean));
        let error = pooling_kind(&json!({"pooling_mode": ["cls", "max"]})).unwrap_err();
        assert_eq!(error, "pooling_mode: expected `cls` or `mean`, found `cls, max`");
    }
}
