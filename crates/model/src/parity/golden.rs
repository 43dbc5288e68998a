//! `expected.json` and `expected.safetensors`: what `testdata/parity_expected.py` writes.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use tamis_data::{Batch, PairEncoder, RowTemplate, Segment, Truncation};

use super::split::{self, SplitGolden};
use super::{numbers, worst};
use crate::error::{Error, Result};
use crate::input::Input;

/// What transformers computed for some pairs of texts.
#[derive(Debug, Clone)]
pub struct Golden {
    path: PathBuf,
    pairs: Vec<Pair>,
    batch: Padded,
    cases: Vec<Case>,
    encoding: Encoding,
    logits: Option<Vec<f32>>,
    hidden_states: Vec<(usize, HiddenStates)>,
    /// In place of all that for a model whose encoder is split.
    split: Option<SplitGolden>,
}

/// How pairs became rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// The longest row in tokens, special tokens included, or that of a document.
    pub max_length: usize,
    /// Whether `max_length` is that of a document, and a row is longer by twice its ending.
    pub is_of_document: bool,
    /// The longest query, if queries were cut before they met a document.
    pub query_max_length: Option<usize>,
    /// Which side of a pair gave way.
    pub truncation: Truncation,
    /// What stood around the texts, if it was not the tokenizer's own special tokens.
    pub template: Option<RowTemplate>,
}

impl File {
    /// Puts what models with exits have elsewhere into the same places.
    fn unify(&mut self) {
        if let Some(sided) = self.right_padding.take() {
            self.sorted_batch = self.sorted_batch.take().or(sided.sorted_batch);
            if self.cases.is_empty() {
                self.cases = sided.cases;
            }
        }
        if self.input_building.is_none()
            && let (Some(prompt), Some(max_length), Some(query_max_length)) =
                (self.prompt.take(), self.max_length, self.query_max_length)
        {
            self.input_building = Some(InputBuilding {
                query_prefix: query_prefix(),
                passage_prefix: passage_prefix(),
                prompt,
                max_length,
                query_max_length,
                sorted_order: None,
            });
        }
        let order = self.input_building.as_ref().and_then(|building| building.sorted_order.clone());
        let order = self.sorted_order.clone().or(order);
        if let (None, Some(sorted), Some(order)) = (&self.batch, self.sorted_batch.take(), order) {
            let back = |rows: &[Vec<u32>]| -> Vec<Vec<u32>> {
                let mut back = vec![Vec::new(); rows.len()];
                for (row, &place) in rows.iter().zip(&order) {
                    if let Some(slot) = back.get_mut(place) {
                        slot.clone_from(row);
                    }
                }
                back
            };
            self.batch = Some(Padded {
                input_ids: back(&sorted.input_ids),
                attention_mask: back(&sorted.attention_mask),
                token_type_ids: None,
            });
        }
    }
}

impl Encoding {
    fn of_call(call: &TokenizerCall) -> std::result::Result<Self, String> {
        let truncation = match call.truncation.as_str() {
            "only_second" => Truncation::SecondOnly,
            "longest_first" => Truncation::LongestFirst,
            other => {
                let problem = "truncation: expected `only_second` or `longest_first`, found";
                return Err(format!("{problem} `{other}`"));
            }
        };
        let (max_length, query_max_length) = (call.max_length, None);
        Ok(Self { max_length, is_of_document: false, query_max_length, truncation, template: None })
    }

    /// The longest row with the tokens that every row has.
    pub(super) fn longest_row(&self, encoder: &PairEncoder) -> usize {
        let ending = if self.is_of_document { encoder.n_after() } else { 0 };
        self.max_length + 2 * ending
    }

    /// FlagEmbedding's budget: a document has up to `max_length` tokens of its own, and a row twice
    /// as much more as its ending has.
    fn of_building(building: &InputBuilding) -> Self {
        let mut template = RowTemplate::bge(&building.prompt);
        for segment in &mut template.segments {
            if let Segment::Text(text) = segment {
                *text = text
                    .replace("A: {query}", &format!("{}{{query}}", building.query_prefix))
                    .replace("B: {document}", &format!("{}{{document}}", building.passage_prefix));
            }
        }
        template.document_max_length = Some(building.max_length);
        Self {
            max_length: building.max_length,
            is_of_document: true,
            query_max_length: Some(building.query_max_length),
            truncation: Truncation::SecondOnly,
            template: Some(template),
        }
    }
}

/// Hidden states of padded rows: `[rows, padded, hidden]`.
#[derive(Debug, Clone)]
pub struct HiddenStates {
    n_rows: usize,
    padded: usize,
    width: usize,
    values: Vec<f32>,
}

#[derive(Debug, Clone, Deserialize)]
struct File {
    kind: String,
    tokenizer_call: Option<TokenizerCall>,
    input_building: Option<InputBuilding>,
    pairs: Vec<Pair>,
    batch: Option<Padded>,
    /// The same in the order of another list, of models with exits.
    sorted_batch: Option<Padded>,
    sorted_order: Option<Vec<usize>>,
    #[serde(default)]
    cases: Vec<Case>,
    /// All of these for a model that was run with padding on either side.
    right_padding: Option<Sided>,
    prompt: Option<String>,
    max_length: Option<usize>,
    query_max_length: Option<usize>,
    /// Absent for an encoder without a head.
    #[serde(default)]
    logits: Option<Vec<Vec<f64>>>,
    /// The logit of the word that answers, of a decoder that is asked for one.
    yes_logit: Option<Vec<f64>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Sided {
    sorted_batch: Option<Padded>,
    #[serde(default)]
    cases: Vec<Case>,
}

/// Scores of a model with exits for one request.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// The exits that were asked for.
    pub cutoff_layers: Vec<usize>,
    /// So many tokens of a document became one.
    #[serde(default = "one")]
    pub compress_ratio: usize,
    /// Where documents were shortened.
    #[serde(default)]
    pub compress_layers: Vec<usize>,
    /// Rows of a batch.
    pub batch_size: usize,
    /// One list per exit, the shallowest first, with one score per pair.
    pub scores: Vec<Vec<f32>>,
}

fn one() -> usize {
    1
}

/// How the pairs of a decoder became rows: `sep`, and a prompt after the document.
#[derive(Debug, Clone, Deserialize)]
struct InputBuilding {
    #[serde(default = "query_prefix")]
    query_prefix: String,
    #[serde(default = "passage_prefix")]
    passage_prefix: String,
    prompt: String,
    max_length: usize,
    query_max_length: usize,
    sorted_order: Option<Vec<usize>>,
}

fn query_prefix() -> String {
    "A: ".to_owned()
}

fn passage_prefix() -> String {
    "B: ".to_owned()
}

#[derive(Debug, Clone, Deserialize)]
struct TokenizerCall {
    truncation: String,
    max_length: usize,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pair {
    pub(super) query: String,
    pub(super) passage: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Padded {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<u32>>,
    token_type_ids: Option<Vec<Vec<u32>>>,
}

/// The kinds of golden values that this module reads.
const KINDS: [&str; 6] = [
    "encoder_seqcls",
    "decoder_seqcls",
    "decoder_yes_no",
    "matroyshka_mistral",
    "bge_lightweight_gemma2",
    "bge_layerwise_minicpm",
];

impl Golden {
    /// The kind of the golden values in a folder, or `None` when the folder has none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kind(folder: &Path) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        let path = folder.join("expected.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
        let file: Kind =
            serde_json::from_str(&text).map_err(|error| Error::config(&path, error.to_string()))?;
        Ok(Some(file.kind))
    }

    /// Whether golden values of this kind belong to a model that this library covers.
    #[must_use]
    pub fn is_covered(kind: &str) -> bool {
        KINDS.contains(&kind) || kind == split::KIND
    }

    /// Reads `expected.json` and, where present, `expected.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file cannot be read, is of another kind, or is inconsistent.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("expected.json");
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
        if Self::kind(folder)?.as_deref() == Some(split::KIND) {
            return Self::of_split(path, SplitGolden::read(&text, folder)?);
        }
        let mut file: File =
            serde_json::from_str(&text).map_err(|error| Error::config(&path, error.to_string()))?;
        let bad = |problem: String| Error::config(&path, problem);
        file.unify();
        if !Self::is_covered(&file.kind) {
            let known = KINDS.map(|kind| format!("`{kind}`")).join(", ");
            return Err(bad(format!("kind: expected one of {known}, found `{}`", file.kind)));
        }
        let encoding = match (&file.tokenizer_call, &file.input_building) {
            (Some(call), _) => Encoding::of_call(call).map_err(bad)?,
            (None, Some(building)) => Encoding::of_building(building),
            (None, None) => {
                return Err(bad("expected tokenizer_call or input_building".to_owned()));
            }
        };
        let n = file.pairs.len();
        let Some(batch) = &file.batch else {
            return Err(bad("expected a batch".to_owned()));
        };
        let type_ids = batch.token_type_ids.as_ref();
        let same_length = type_ids.is_none_or(|rows| rows.len() == n)
            && file.logits.as_ref().is_none_or(|rows| rows.len() == n)
            && [batch.input_ids.len(), batch.attention_mask.len()] == [n, n]
            && file.cases.iter().flat_map(|case| &case.scores).all(|scores| scores.len() == n);
        if !same_length {
            return Err(bad(format!("expected ids, masks and logits of {n} pairs")));
        }
        let labels = file.logits.as_ref().map(|rows| rows.concat());
        let logits = labels.or_else(|| file.yes_logit.clone());
        let logits = logits.map(|all| all.into_iter().map(|logit| logit as f32).collect());
        let hidden_states = hidden_states(&folder.join("expected.safetensors"))?;
        let (batch, cases) = (batch.clone(), std::mem::take(&mut file.cases));
        Ok(Self {
            path,
            pairs: file.pairs,
            batch,
            cases,
            encoding,
            logits,
            hidden_states,
            split: None,
        })
    }

    fn of_split(path: PathBuf, split: SplitGolden) -> Result<Self> {
        let encoding = Encoding {
            max_length: 0,
            is_of_document: false,
            query_max_length: None,
            truncation: Truncation::SecondOnly,
            template: None,
        };
        Ok(Self {
            path,
            pairs: split.pairs().to_vec(),
            batch: Padded::default(),
            cases: Vec::new(),
            encoding,
            logits: None,
            hidden_states: Vec::new(),
            split: Some(split),
        })
    }

    /// The golden values of a model whose encoder is split.
    pub(super) fn split(&self) -> Option<&SplitGolden> {
        self.split.as_ref()
    }

    /// The file that was read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Queries and documents.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|pair| (pair.query.as_str(), pair.passage.as_str()))
    }

    /// How pairs became rows.
    #[must_use]
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// The requests of a model with exits.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// One logit per pair and label, unless the encoder has no head.
    #[must_use]
    pub fn logits(&self) -> Option<&[f32]> {
        self.logits.as_deref()
    }

    /// Hidden states by the number of layers below them.
    #[must_use]
    pub fn hidden_states(&self) -> &[(usize, HiddenStates)] {
        &self.hidden_states
    }

    /// The rows, packed, as one group.
    #[must_use]
    pub fn batch(&self) -> Batch {
        let mut batch = Batch::new();
        for row_idx in 0..self.pairs.len() {
            let ids = self.unpadded(&self.batch.input_ids, row_idx);
            let types = match &self.batch.token_type_ids {
                Some(types) => self.unpadded(types, row_idx),
                None => vec![0; ids.len()],
            };
            batch.push_row(&ids, &types);
        }
        batch.end_group();
        batch
    }

    /// Whether a row has these ids and, where the model has segments, these segments.
    pub(super) fn is_row(&self, row_idx: usize, (ids, types): (&[u32], &[u32])) -> bool {
        let expected = self.batch.token_type_ids.as_ref();
        self.unpadded(&self.batch.input_ids, row_idx) == ids
            && expected.is_none_or(|rows| self.unpadded(rows, row_idx) == types)
    }

    /// Where the tokens of every padded row begin.
    pub(super) fn first_places(&self) -> Vec<usize> {
        let masks = self.batch.attention_mask.iter();
        masks.map(|mask| mask.iter().position(|&m| m == 1).unwrap_or(0)).collect()
    }

    fn unpadded(&self, rows: &[Vec<u32>], row_idx: usize) -> Vec<u32> {
        let mask = &self.batch.attention_mask[row_idx];
        rows[row_idx].iter().zip(mask).filter(|&(_, &m)| m == 1).map(|(&id, _)| id).collect()
    }
}

impl HiddenStates {
    /// Those of a tensor of that shape.
    fn of(view: &TensorView<'_>) -> Option<Self> {
        let (&[n_rows, padded, width], Dtype::F32) = (view.shape(), view.dtype()) else {
            return None;
        };
        let (chunks, _) = view.data().as_chunks::<4>();
        let values = chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        Some(Self { n_rows, padded, width, values })
    }

    /// The largest difference from `[tokens, hidden]` states, as a part of `1 + |expected|`.
    pub(super) fn worst(&self, input: &Input, states: Tensor<2>, first_places: &[usize]) -> f32 {
        let [_, width] = states.dims();
        if width != self.width {
            return f32::NAN;
        }
        let found = numbers(states);
        worst(input.rows.offsets().windows(2).take(self.n_rows).enumerate().flat_map(
            |(row, pair)| {
                let (start, end) = (pair[0] as usize * width, pair[1] as usize * width);
                let first = row * self.padded + first_places[row];
                let expected = &self.values[first * width..];
                found[start..end].iter().zip(expected).map(|(a, b)| (a - b).abs() / (1.0 + b.abs()))
            },
        ))
    }
}

/// The hidden states of one name, where the file has them.
pub(super) fn hidden_state(path: &Path, name: &str) -> Result<Option<HiddenStates>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| Error::weights(path, error.to_string()))?;
    Ok(file.tensor(name).ok().and_then(|view| HiddenStates::of(&view)))
}

fn hidden_states(path: &Path) -> Result<Vec<(usize, HiddenStates)>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| Error::weights(path, error.to_string()))?;
    let mut states = Vec::new();
    for (name, view) in file.tensors() {
        let number = name.strip_prefix("hidden_states.").and_then(|n| n.parse::<usize>().ok());
        if let (Some(number), Some(found)) = (number, HiddenStates::of(&view)) {
            states.push((number, found));
        }
    }
    states.sort_by_key(|&(number, _)| number);
    Ok(states)
}
