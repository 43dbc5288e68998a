//! A checkpoint's `config.json`: what it says, kept whole, and the part that is understood.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::encoder::bert::BertConfig;
use crate::error::{Error, Result};

/// The configuration of a cross-encoder.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the architecture needs.
    pub encoder: EncoderConfig,
    /// Outputs of the head; a reranker has one.
    pub n_labels: usize,
    /// Every key of the file, for saving it again.
    raw: Map<String, Value>,
}

/// The architectures, by `model_type`.
#[derive(Debug, Clone, PartialEq)]
pub enum EncoderConfig {
    /// `bert`
    Bert(BertConfig),
}

impl Config {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// When the file cannot be read, names an architecture that is not supported, or has a value
    /// that the architecture cannot take.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let raw: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| Error::config(path, error.to_string()))?;
        Self::parse(raw).map_err(|problem| Error::config(path, problem))
    }

    /// A new BERT cross-encoder with one label.
    #[must_use]
    pub fn bert(config: &BertConfig) -> Self {
        let mut raw = match serde_json::to_value(config) {
            Ok(Value::Object(raw)) => raw,
            _ => unreachable!("a configuration is a JSON object"),
        };
        raw.insert("model_type".to_owned(), json!("bert"));
        Self { encoder: EncoderConfig::Bert(config.clone()), n_labels: 1, raw }
    }

    fn parse(raw: Map<String, Value>) -> std::result::Result<Self, String> {
        let model_type = raw.get("model_type").and_then(Value::as_str).unwrap_or("(none)");
        let encoder = match model_type {
            "bert" => {
                let config = BertConfig::deserialize(&raw).map_err(|error| error.to_string())?;
                config.check()?;
                EncoderConfig::Bert(config)
            }
            other => return Err(format!("model_type: expected `bert`, found `{other}`")),
        };
        let n_labels = match (raw.get("id2label"), raw.get("num_labels")) {
            (Some(Value::Object(labels)), _) => labels.len(),
            (_, Some(n)) => n.as_u64().ok_or("num_labels: expected a number")? as usize,
            // What transformers assumes; a bare encoder says nothing.
            _ => 2,
        };
        Ok(Self { encoder, n_labels, raw })
    }

    /// The same encoder under a head with `n_labels` outputs.
    #[must_use]
    pub fn with_labels(mut self, n_labels: usize) -> Self {
        self.n_labels = n_labels;
        self
    }

    /// The text of a `config.json` that transformers reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut raw = self.raw.clone();
        let EncoderConfig::Bert(_) = &self.encoder;
        let names: Vec<String> = (0..self.n_labels).map(|i| format!("LABEL_{i}")).collect();
        let known = raw.get("id2label").and_then(Value::as_object).map(Map::len);
        if known != Some(self.n_labels) {
            let by_id: Map<String, Value> =
                names.iter().enumerate().map(|(i, name)| (i.to_string(), json!(name))).collect();
            let by_name: Map<String, Value> =
                names.iter().enumerate().map(|(i, name)| (name.clone(), json!(i))).collect();
            raw.insert("id2label".to_owned(), Value::Object(by_id));
            raw.insert("label2id".to_owned(), Value::Object(by_name));
        }
        raw.remove("num_labels");
        raw.remove("_name_or_path");
        raw.insert("architectures".to_owned(), json!(["BertForSequenceClassification"]));
        let mut text = serde_json::to_string_pretty(&raw).expect("JSON values serialise");
        text.push('\n');
        text
    }

    /// Entries of the word table.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        let EncoderConfig::Bert(config) = &self.encoder;
        config.vocab_size
    }

    /// The longest row that the model has positions for.
    #[must_use]
    pub fn max_positions(&self) -> usize {
        let EncoderConfig::Bert(config) = &self.encoder;
        config.max_position_embeddings
    }

    /// Standard deviation of newly drawn weights.
    #[must_use]
    pub fn initializer_range(&self) -> f64 {
        let EncoderConfig::Bert(config) = &self.encoder;
        config.initializer_range
    }
}
