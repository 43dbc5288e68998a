//! `expected.json` and `expected.safetensors`: what `testdata/parity_expected.py` writes.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use tamis_data::{Batch, Truncation};

use super::split::{self, SplitGolden};
use super::{numbers, worst};
use crate::error::{Error, Result};
use crate::input::Input;

/// What transformers computed for some pairs of texts.
#[derive(Debug, Clone)]
pub struct Golden {
    path: PathBuf,
    file: File,
    truncation: Truncation,
    logits: Option<Vec<f32>>,
    hidden_states: Vec<(usize, HiddenStates)>,
    /// In place of all that for a model whose encoder is split.
    split: Option<SplitGolden>,
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
    tokenizer_call: TokenizerCall,
    pairs: Vec<Pair>,
    batch: Padded,
    /// Absent for an encoder without a head.
    #[serde(default)]
    logits: Option<Vec<Vec<f64>>>,
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

#[derive(Debug, Clone, Deserialize)]
struct Padded {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<u32>>,
    token_type_ids: Option<Vec<Vec<u32>>>,
}

/// The kind of golden values that this module reads.
const KIND: &str = "encoder_seqcls";

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
        [KIND, split::KIND].contains(&kind)
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
        let file: File =
            serde_json::from_str(&text).map_err(|error| Error::config(&path, error.to_string()))?;
        let bad = |problem: String| Error::config(&path, problem);
        if !Self::is_covered(&file.kind) {
            return Err(bad(format!("kind: expected `{KIND}`, found `{}`", file.kind)));
        }
        let truncation = match file.tokenizer_call.truncation.as_str() {
            "only_second" => Truncation::SecondOnly,
            "longest_first" => Truncation::LongestFirst,
            other => {
                let problem = "truncation: expected `only_second` or `longest_first`, found";
                return Err(bad(format!("{problem} `{other}`")));
            }
        };
        let n = file.pairs.len();
        let type_ids = file.batch.token_type_ids.as_ref();
        let same_length = type_ids.is_none_or(|rows| rows.len() == n)
            && file.logits.as_ref().is_none_or(|rows| rows.len() == n)
            && [file.batch.input_ids.len(), file.batch.attention_mask.len()] == [n, n];
        if !same_length {
            return Err(bad(format!("expected ids, masks and logits of {n} pairs")));
        }
        let logits = file
            .logits
            .as_ref()
            .map(|rows| rows.iter().flatten().map(|&logit| logit as f32).collect());
        let hidden_states = hidden_states(&folder.join("expected.safetensors"))?;
        Ok(Self { path, file, truncation, logits, hidden_states, split: None })
    }

    fn of_split(path: PathBuf, split: SplitGolden) -> Result<Self> {
        let file = File {
            kind: split::KIND.to_owned(),
            tokenizer_call: TokenizerCall { truncation: "only_second".to_owned(), max_length: 0 },
            pairs: split.pairs().to_vec(),
            batch: Padded {
                input_ids: Vec::new(),
                attention_mask: Vec::new(),
                token_type_ids: None,
            },
            logits: None,
        };
        let (truncation, hidden_states) = (Truncation::SecondOnly, Vec::new());
        Ok(Self { path, file, truncation, logits: None, hidden_states, split: Some(split) })
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
        self.file.pairs.iter().map(|pair| (pair.query.as_str(), pair.passage.as_str()))
    }

    /// The longest row in tokens, special tokens included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.file.tokenizer_call.max_length
    }

    /// Which side of a pair gave way.
    #[must_use]
    pub fn truncation(&self) -> Truncation {
        self.truncation
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
        for row_idx in 0..self.file.pairs.len() {
            let ids = self.unpadded(&self.file.batch.input_ids, row_idx);
            let types = match &self.file.batch.token_type_ids {
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
        let expected = self.file.batch.token_type_ids.as_ref();
        self.unpadded(&self.file.batch.input_ids, row_idx) == ids
            && expected.is_none_or(|rows| self.unpadded(rows, row_idx) == types)
    }

    fn unpadded(&self, rows: &[Vec<u32>], row_idx: usize) -> Vec<u32> {
        let mask = &self.file.batch.attention_mask[row_idx];
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
    pub(super) fn worst(&self, input: &Input, states: Tensor<2>) -> f32 {
        let [_, width] = states.dims();
        if width != self.width {
            return f32::NAN;
        }
        let found = numbers(states);
        worst(input.rows.offsets().windows(2).take(self.n_rows).enumerate().flat_map(
            |(row, pair)| {
                let (start, end) = (pair[0] as usize * width, pair[1] as usize * width);
                let expected = &self.values[row * self.padded * width..];
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
