//! `tamis.json`: what a checkpoint's other files cannot say.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tamis_data::{
    DocumentPosition, MaskPlace, PairConfig, PairEncoder, PairParts, RowTemplate, Truncation,
};

use crate::adapter::AdapterUse;
use crate::config::Config;
use crate::effort::{Compatibility, Effort};
use crate::error::{Error, Result};
use crate::head::Answers;
use crate::json;
use crate::split::SplitScore;

/// The name of the file beside `config.json`.
const FILE: &str = "tamis.json";

/// How pairs are encoded, and what a score becomes when it is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The longest row in tokens, special tokens included.
    pub max_length: usize,
    /// The longest query in tokens; a longer one is cut and counted.
    pub query_max_length: usize,
    /// Which side loses tokens when a pair is too long.
    pub truncation: Truncation,
    /// What serving applies to a raw score.
    #[serde(default)]
    pub activation: Activation,
    /// How query and document are kept apart, for a model that reads them apart first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<PairParts>,
    /// What stands around query and document, in the place of the tokenizer's own special tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<RowTemplate>,
    /// The words whose logits make a score, for a decoder that has a head for words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<AnswerWords>,
    /// Which layers of a decoder give scores, and where documents are shortened, where a request does
    /// not say.
    #[serde(default, skip_serializing_if = "is_default")]
    pub effort: Effort,
    /// Behaviour of the system that the checkpoint comes from, for its numbers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compatibility: Compatibility,
    /// Adapters on the weights, and which requests each is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterUse>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Words of a language model whose logits make a score.
///
/// Where a word has several tokens its first one counts, as in FlagEmbedding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerWords {
    /// The word that stands for relevance.
    pub yes: String,
    /// The word that stands for its absence; then the score is the difference of the two logits, whose
    /// sigmoid is the probability of the first among the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no: Option<String>,
    /// Whether the word is one among all: then the sigmoid of the score is its probability as the next word,
    /// which is RAG-Retrieval's label of a pair. Takes the whole head, for the last token of a row alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub among_all: bool,
}

impl Default for AnswerWords {
    fn default() -> Self {
        Self { yes: "Yes".to_owned(), no: None, among_all: false }
    }
}

impl AnswerWords {
    /// Those of `tamis.json`, or `Yes` alone.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        Ok(Settings::of_file(directory)?.and_then(|settings| settings.answers).unwrap_or_default())
    }

    /// Their ids.
    pub(crate) fn find(&self, tokenizer: &Path) -> Result<Answers> {
        if let (true, Some(no)) = (self.among_all, &self.no) {
            let problem =
                format!("answers: among_all leaves no place for another word, found `{no}`");
            return Err(Error::config(&tokenizer.with_file_name(FILE), problem));
        }
        let id = |word: &String| tamis_data::first_id(tokenizer, word);
        let no = self.no.as_ref().map(id).transpose()?;
        Ok(Answers { yes: id(&self.yes)?, no, among_all: self.among_all })
    }
}

/// What serving applies to a raw score; everything else uses the raw score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// The raw score.
    #[default]
    None,
    /// `1 / (1 + e^-score)`
    Sigmoid,
}

impl Activation {
    /// The class of torch that does the same.
    pub(crate) fn torch_path(self) -> &'static str {
        match self {
            Self::None => "torch.nn.modules.linear.Identity",
            Self::Sigmoid => "torch.nn.modules.activation.Sigmoid",
        }
    }
}

impl Settings {
    /// For a checkpoint without `tamis.json`: all positions of the model up to 512, queries of at most
    /// a quarter of that, and the activation that sentence-transformers would apply if `config.json`
    /// says so.
    ///
    /// For a PreTTR, what its authors used where the model has the positions: queries of 30 tokens with
    /// their special ones and 8 mask tokens after them, documents of 200 with theirs, which start at
    /// position 38 whatever the query is.
    #[must_use]
    pub fn of_model(config: &Config) -> Self {
        if config.split().is_some() {
            return Self::of_split(config);
        }
        let max_length = config.max_positions().min(512);
        Self {
            max_length,
            query_max_length: max_length / 4,
            truncation: Truncation::SecondOnly,
            parts: None,
            activation: match config.activation_path() {
                Some(path) if path == Activation::Sigmoid.torch_path() => Activation::Sigmoid,
                _ => Activation::None,
            },
            template: config.default_template(),
            answers: None,
            effort: Effort::default(),
            compatibility: Compatibility::default(),
            adapters: Vec::new(),
        }
    }

    fn of_split(config: &Config) -> Self {
        let apart = config.score().is_apart();
        let masks = if config.is_prettr() && config.score() != SplitScore::Dot { 8 } else { 0 };
        let limit = config.max_positions();
        // `[CLS]` and `[SEP]`, and the `[SEP]` of the document.
        let query_max_length = 28.min(limit / 8);
        let position = query_max_length + 2 + masks;
        Self {
            max_length: (position + 199 + usize::from(apart)).min(limit),
            query_max_length,
            truncation: Truncation::SecondOnly,
            activation: Activation::None,
            parts: Some(PairParts {
                position: DocumentPosition::Fixed(if apart { 0 } else { position }),
                query_masks: masks,
                mask_place: MaskPlace::AfterSeparator,
                document_start: apart,
            }),
            template: None,
            answers: None,
            effort: Effort::default(),
            compatibility: Compatibility::default(),
            adapters: Vec::new(),
        }
    }

    /// Reads `tamis.json` of a checkpoint directory, or derives the settings from the model.
    ///
    /// # Errors
    /// When the file is there but cannot be read, or holds an unknown key or a bad value.
    pub fn read(directory: &Path, config: &Config) -> Result<Self> {
        Ok(Self::of_file(directory)?.unwrap_or_else(|| Self::of_model(config)))
    }

    /// What `tamis.json` says, if there is one.
    pub(crate) fn of_file(directory: &Path) -> Result<Option<Self>> {
        json::read_if_there(&directory.join(FILE))
    }

    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let mut text = serde_json::to_string_pretty(self).expect("settings serialise");
        text.push('\n');
        std::fs::write(&path, text).map_err(|error| Error::io(&path, error))
    }

    /// The tokenizer of a checkpoint directory, to encode pairs like this.
    ///
    /// # Errors
    /// When the file cannot be read, the tokenizer does not make pairs, or the lengths leave no room.
    pub fn encoder(&self, directory: &Path) -> Result<PairEncoder> {
        let path = directory.join("tokenizer.json");
        let template = self.template.as_ref();
        self.with_parts(PairEncoder::open_with(&path, template, self.pairs())?)
    }

    /// The same for the tokenizer of another encoder.
    ///
    /// # Errors
    /// As [`encoder`](Self::encoder).
    pub(crate) fn encoder_like(&self, other: &PairEncoder) -> Result<PairEncoder> {
        let (tokenizer, template) = (other.tokenizer().clone(), self.template.as_ref());
        self.with_parts(PairEncoder::with_template(tokenizer, template, self.pairs())?)
    }

    fn with_parts(&self, encoder: PairEncoder) -> Result<PairEncoder> {
        Ok(match self.parts {
            Some(parts) => encoder.with_parts(parts)?,
            None => encoder,
        })
    }

    /// The part that encodes pairs.
    #[must_use]
    pub fn pairs(&self) -> PairConfig {
        PairConfig {
            max_length: self.max_length,
            query_max_length: self.query_max_length,
            truncation: self.truncation,
        }
    }
}
