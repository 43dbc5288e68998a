//! A checkpoint's `config.json`: what it says, kept whole, and the part that is understood.

mod modules;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tamis_data::RowTemplate;

use crate::decoder::config::{DecoderConfig, Family, Reads, WordLogits};
use crate::encoder::Architecture;
use crate::encoder::albert::AlbertConfig;
use crate::encoder::bert::BertConfig;
use crate::encoder::deberta::DebertaConfig;
use crate::encoder::distilbert::DistilBertConfig;
use crate::encoder::electra::ElectraConfig;
use crate::encoder::modernbert::ModernBertConfig;
use crate::encoder::roberta::{RobertaConfig, RobertaFamily};
use crate::error::{Error, Result};
use crate::head::{ExitLayers, LinearShape};
use crate::settings::AnswerWords;
use crate::split::{SplitConfig, SplitScore, compressor_tensor};
pub(crate) use modules::{Modules, Step, StepKind};

/// The configuration of a cross-encoder.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the architecture needs.
    pub encoder: EncoderConfig,
    /// Outputs of the head; a reranker has one.
    pub n_labels: usize,
    /// How the encoder is split, if it is.
    split: Option<SplitConfig>,
    /// Whether the head is PreTTR's, and the names of tensors are.
    is_prettr: bool,
    /// A head made of modules, which stands in for the architecture's own.
    modules: Option<Modules>,
    /// Every key of the file, for saving it again.
    raw: Map<String, Value>,
}

/// The architectures, by `model_type`.
#[derive(Debug, Clone, PartialEq)]
pub enum EncoderConfig {
    /// `bert`
    Bert(BertConfig),
    /// `roberta`, `xlm-roberta` and `camembert`
    Roberta(RobertaConfig),
    /// `distilbert`
    DistilBert(DistilBertConfig),
    /// `electra`
    Electra(ElectraConfig),
    /// `albert`
    Albert(AlbertConfig),
    /// `modernbert`
    ModernBert(ModernBertConfig),
    /// `deberta-v2`, which v3 is too
    Deberta(DebertaConfig),
    /// `llama` and the other families of decoders
    Decoder(DecoderConfig),
}

/// Reads the keys of one architecture.
type Parse = fn(&Map<String, Value>) -> std::result::Result<EncoderConfig, String>;

/// Every `model_type` that is known.
const ARCHITECTURES: &[(&str, Parse)] = &[
    ("bert", |raw| Ok(EncoderConfig::Bert(parse(raw)?))),
    ("roberta", |raw| roberta(raw, RobertaFamily::Roberta)),
    ("xlm-roberta", |raw| roberta(raw, RobertaFamily::XlmRoberta)),
    ("camembert", |raw| roberta(raw, RobertaFamily::Camembert)),
    ("distilbert", |raw| Ok(EncoderConfig::DistilBert(parse(raw)?))),
    ("electra", |raw| Ok(EncoderConfig::Electra(parse(raw)?))),
    ("albert", |raw| Ok(EncoderConfig::Albert(parse(raw)?))),
    ("modernbert", |raw| Ok(EncoderConfig::ModernBert(parse(raw)?))),
    ("deberta-v2", |raw| Ok(EncoderConfig::Deberta(parse(raw)?))),
    ("llama", |raw| decoder(raw, Family::Llama)),
    ("mistral", |raw| decoder(raw, Family::Mistral)),
    ("qwen2", |raw| decoder(raw, Family::Qwen2)),
    ("qwen3", |raw| decoder(raw, Family::Qwen3)),
    ("gemma", |raw| decoder(raw, Family::Gemma)),
    ("gemma2", |raw| decoder(raw, Family::Gemma2)),
    ("minicpm", |raw| decoder(raw, Family::MiniCpm)),
    ("cost_wise_mistral", |raw| decoder(raw, Family::CostWiseMistral)),
    ("cost_wise_gemma", |raw| decoder(raw, Family::CostWiseGemma)),
];

pub(crate) fn parse<T: DeserializeOwned>(
    raw: &Map<String, Value>,
) -> std::result::Result<T, String> {
    // A key that is there and null stands for the default too.
    let given = raw.iter().filter(|(_, value)| !value.is_null());
    let given: Map<String, Value> = given.map(|(k, v)| (k.clone(), v.clone())).collect();
    T::deserialize(given).map_err(|error| error.to_string())
}

fn decoder(raw: &Map<String, Value>, family: Family) -> std::result::Result<EncoderConfig, String> {
    Ok(EncoderConfig::Decoder(DecoderConfig::parse(raw, family)?))
}

fn roberta(
    raw: &Map<String, Value>,
    family: RobertaFamily,
) -> std::result::Result<EncoderConfig, String> {
    let mut bert: BertConfig = parse(raw)?;
    if raw.get("pad_token_id").is_none_or(Value::is_null) {
        bert.pad_token_id = 1;
    }
    Ok(EncoderConfig::Roberta(RobertaConfig { family, bert }))
}

impl EncoderConfig {
    /// What the file of the architecture says about it.
    pub(crate) fn architecture(&self) -> &dyn Architecture {
        match self {
            Self::Bert(config) => config,
            Self::Roberta(config) => config,
            Self::DistilBert(config) => config,
            Self::Electra(config) => config,
            Self::Albert(config) => config,
            Self::ModernBert(config) => config,
            Self::Deberta(config) => config,
            Self::Decoder(config) => config,
        }
    }
}

impl EncoderConfig {
    /// Whether the head has labels, and not words or exits.
    fn has_labels(&self) -> bool {
        match self {
            Self::Decoder(config) => *config.reads() == Reads::Labels,
            _ => true,
        }
    }
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
        let encoder = EncoderConfig::Bert(config.clone());
        Self { encoder, n_labels: 1, split: None, is_prettr: false, modules: None, raw }
    }

    fn parse(raw: Map<String, Value>) -> std::result::Result<Self, String> {
        let model_type = raw.get("model_type").and_then(Value::as_str).unwrap_or("(none)");
        let Some((_, parse)) = ARCHITECTURES.iter().find(|(name, _)| *name == model_type) else {
            let known: Vec<String> =
                ARCHITECTURES.iter().map(|(name, _)| format!("`{name}`")).collect();
            let known = known.join(", ");
            return Err(format!("model_type: expected one of {known}; found `{model_type}`"));
        };
        if raw.get("is_decoder").and_then(Value::as_bool) == Some(true) {
            return Err("is_decoder: expected `false`, found `true`".to_owned());
        }
        let encoder = parse(&raw)?;
        encoder.architecture().check()?;
        let classes = raw.get("architectures").and_then(Value::as_array);
        let score = classes.and_then(|classes| SplitScore::of_classes(classes));
        let is_prettr = score.is_some();
        let n_layers = encoder.architecture().n_layers();
        let split = SplitConfig::parse(&raw, score.unwrap_or_default(), n_layers)?;
        if is_prettr && split.is_none() {
            return Err("join_layer_idx: expected a number, found nothing".to_owned());
        }
        if let Some(split) = &split {
            split.check(n_layers)?;
        }
        let n_labels = match (raw.get("id2label"), raw.get("num_labels")) {
            _ if is_prettr => 1,
            _ if !encoder.has_labels() => 1,
            (Some(Value::Object(labels)), _) => labels.len(),
            (_, Some(n)) => n.as_u64().ok_or("num_labels: expected a number")? as usize,
            // What transformers assumes; a bare encoder says nothing.
            _ => 2,
        };
        if n_labels == 0 {
            return Err("id2label: expected at least one label, found none".to_owned());
        }
        Ok(Self { encoder, n_labels, split, is_prettr, modules: None, raw })
    }

    /// The same encoder under a head with `n_labels` outputs.
    #[must_use]
    pub fn with_labels(mut self, n_labels: usize) -> Self {
        self.n_labels = n_labels;
        // Exits have one label each, and stay.
        if let EncoderConfig::Decoder(config) = &self.encoder
            && matches!(config.reads(), Reads::Answers(_))
        {
            self.encoder = EncoderConfig::Decoder(config.clone().reading(Reads::Labels));
        }
        self
    }

    /// How the encoder is split, if it is.
    #[must_use]
    pub fn split(&self) -> Option<SplitConfig> {
        self.split
    }

    /// The same encoder, split. With `new_head` the head becomes that of the split's score: PreTTR's is
    /// one linear map of the first token, for DistilBERT without a constant.
    ///
    /// # Errors
    /// Why the encoder is not split like this, if it is not.
    pub fn with_split(
        mut self,
        split: SplitConfig,
        new_head: bool,
    ) -> std::result::Result<Self, String> {
        split.check(self.architecture().n_layers())?;
        if split.score.is_apart() && !new_head {
            return Err(format!(
                "a {} has a head of its own: init = \"new-head\" makes it",
                split.score.class()
            ));
        }
        if new_head {
            self.is_prettr = true;
            self.modules = None;
            self.n_labels = 1;
        }
        self.split = Some(split);
        Ok(self)
    }

    /// Whether the head is that of a split encoder, as PreTTR's authors have it.
    #[must_use]
    pub fn is_prettr(&self) -> bool {
        self.is_prettr
    }

    /// What the head makes a score of, where it is that of a split.
    pub(crate) fn score(&self) -> SplitScore {
        let split = self.split.filter(|_| self.is_prettr);
        split.map(|split| split.score).unwrap_or_default()
    }

    /// Width of the vectors that ColBERT compares.
    pub(crate) fn vector_width(&self) -> usize {
        let width = self.raw.get("compression_dim").and_then(Value::as_u64);
        width.map_or(self.hidden(), |width| width as usize)
    }

    /// PreTTR's head, if this is a model of the class.
    pub(crate) fn linear_head(&self) -> Option<LinearShape> {
        let head = self.architecture().head_shape()?;
        let is_distilbert = matches!(self.encoder, EncoderConfig::DistilBert(_));
        self.is_prettr.then_some(LinearShape {
            hidden: head.hidden,
            bias: !is_distilbert,
            dropout: if is_distilbert { 0.0 } else { head.dropout_after },
        })
    }

    /// The same decoder with an exit at several depths.
    ///
    /// # Errors
    /// When the model is no decoder, or has no such layers.
    pub fn with_exits(&self, layers: ExitLayers) -> std::result::Result<Self, String> {
        let EncoderConfig::Decoder(config) = &self.encoder else {
            return Err("model.exits: expected a decoder".to_owned());
        };
        if !matches!(config.reads(), Reads::Answers(_)) {
            return Err("model.exits: expected a model that answers with a word".to_owned());
        }
        let mut raw = self.raw.clone();
        if raw.get("model_type") == Some(&json!("mistral")) {
            // The published code finds its class by this name.
            raw.insert("model_type".to_owned(), json!("cost_wise_mistral"));
        }
        raw.insert("layer_wise".to_owned(), json!(true));
        raw.insert("start_layer".to_owned(), json!(layers.start));
        raw.insert("layer_sep".to_owned(), json!(layers.step));
        Self::parse(raw).map_err(|problem| format!("model.exits: {problem}"))
    }

    /// The same with the words that answer, if words do: those that `tamis.json` names, or `Yes`
    /// alone.
    pub(crate) fn with_answers_of(mut self, directory: &Path) -> Result<Self> {
        if let EncoderConfig::Decoder(config) = &self.encoder
            && matches!(config.reads(), Reads::Answers(_))
        {
            let words = AnswerWords::read(directory)?;
            let answers = words.find(&directory.join("tokenizer.json"))?;
            let config = config.clone().reading(Reads::Answers(answers));
            self.encoder = EncoderConfig::Decoder(config);
        }
        Ok(self)
    }

    /// What stands around query and document where `tamis.json` does not say: what the rerankers that
    /// read words or have exits were trained with.
    pub(crate) fn default_template(&self) -> Option<RowTemplate> {
        let EncoderConfig::Decoder(config) = &self.encoder else { return None };
        RowTemplate::named().remove(config.default_template()?)
    }

    /// What becomes of the logits of words, if words answer.
    pub(crate) fn word_logits(&self) -> Option<WordLogits> {
        match &self.encoder {
            EncoderConfig::Decoder(config) => config.word_logits(),
            _ => None,
        }
    }

    /// The rows that the head takes of its tensor, unless it takes all.
    pub(crate) fn head_rows(&self) -> Option<Vec<usize>> {
        self.architecture().head_rows()
    }

    /// The same with the head that `modules.json` of the checkpoint describes, if it does.
    pub(crate) fn with_modules_of(mut self, directory: &Path) -> Result<Self> {
        self.modules = Modules::read(directory)?;
        if let Some(modules) = &self.modules {
            self.n_labels = modules.n_labels();
        }
        Ok(self)
    }

    /// A head made of modules.
    pub(crate) fn modules(&self) -> Option<&Modules> {
        self.modules.as_ref()
    }

    /// The path of torch's class that sentence-transformers is to apply to scores, if the file says.
    pub(crate) fn activation_path(&self) -> Option<&str> {
        let beside = self.modules.as_ref().and_then(|modules| modules.beside("activation_fn"));
        let new = self.raw.get("sentence_transformers").and_then(|all| all.get("activation_fn"));
        let old = self.raw.get("sbert_ce_default_activation_function");
        beside.or(new).or(old).and_then(Value::as_str)
    }

    /// Tells sentence-transformers what to apply to scores.
    pub(crate) fn with_activation_path(mut self, path: &str) -> Self {
        self.raw.remove("sbert_ce_default_activation_function");
        if let Some(modules) = &mut self.modules {
            modules.set_beside("activation_fn", json!(path));
            return self;
        }
        let all = self.raw.entry("sentence_transformers").or_insert_with(|| json!({}));
        if let Value::Object(all) = all {
            all.insert("activation_fn".to_owned(), json!(path));
        }
        self
    }

    /// The text of a `config.json` that transformers reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut raw = self.raw.clone();
        if let Some(split) = &self.split {
            split.write(&mut raw);
        }
        if self.is_prettr {
            raw.retain(|key, _| !["id2label", "label2id", "num_labels"].contains(&key.as_str()));
            raw.insert("architectures".to_owned(), json!([self.score().class()]));
            let mut text = serde_json::to_string_pretty(&raw).expect("JSON values serialise");
            text.push('\n');
            return text;
        }
        let names: Vec<String> = (0..self.n_labels).map(|i| format!("LABEL_{i}")).collect();
        if self.modules.is_some() {
            // The encoder is saved without a head, as it came.
            let mut text = serde_json::to_string_pretty(&raw).expect("JSON values serialise");
            text.push('\n');
            return text;
        }
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
        raw.insert("architectures".to_owned(), json!([self.architecture().class()]));
        let mut text = serde_json::to_string_pretty(&raw).expect("JSON values serialise");
        text.push('\n');
        text
    }

    /// A key of the file.
    pub(crate) fn key(&self, key: &str) -> Option<&Value> {
        self.raw.get(key)
    }

    /// Width of a hidden state.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.architecture().hidden()
    }

    /// Entries of the word table.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.architecture().n_words()
    }

    /// The longest row that the model has positions for.
    #[must_use]
    pub fn max_positions(&self) -> usize {
        self.architecture().max_positions()
    }

    /// What the file of the architecture says about it.
    pub(crate) fn architecture(&self) -> &dyn Architecture {
        self.encoder.architecture()
    }

    /// The names under which a checkpoint holds a parameter of the cross-encoder, and how many of its
    /// `n_out` outputs each holds.
    pub(crate) fn tensor_parts(&self, path: &[&str], n_out: usize) -> Vec<(String, usize)> {
        let names = self.tensor_names(path);
        let shares = match path {
            ["encoder", _, rest @ ..] => self.architecture().shares(rest),
            _ => None,
        };
        let shares = shares.unwrap_or_else(|| vec![n_out / names.len(); names.len()]);
        names.into_iter().zip(shares).collect()
    }

    /// The names under which a checkpoint holds a parameter of the cross-encoder, to be joined along
    /// the outputs. The path is that of the module's fields.
    pub(crate) fn tensor_names(&self, path: &[&str]) -> Vec<String> {
        let architecture = self.architecture();
        match path {
            ["encoder", _, rest @ ..] => {
                let prefix = architecture.prefix();
                let names = match rest {
                    ["split", "compressor", rest @ ..] => vec![compressor_tensor(rest)],
                    _ => architecture.encoder_tensors(rest),
                };
                if self.modules.is_some() || self.is_prettr {
                    return names;
                }
                names.into_iter().map(|name| format!("{prefix}.{name}")).collect()
            }
            ["head", _, rest @ ..] => vec![match &self.modules {
                Some(modules) => modules.tensor(rest),
                // ColBERT's map to the vectors that are compared.
                None if self.score().is_apart() => format!("compressor.{}", rest[rest.len() - 1]),
                None if self.is_prettr => format!("_classification_layer.{}", rest[rest.len() - 1]),
                None => architecture.head_tensor(rest),
            }],
            other => unreachable!("a cross-encoder has no parameter {other:?}"),
        }
    }
}
