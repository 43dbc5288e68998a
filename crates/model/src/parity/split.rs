//! Golden values of a PreTTR: every join layer, with and without mask tokens in queries.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use tamis_data::{
    Batch, DocumentPosition, MaskPlace, PairConfig, PairEncoder, PairParts, Truncation,
    TruncationReport,
};

use super::golden::{HiddenStates, Pair, hidden_state};
use super::{Parity, numbers, worst};
use crate::checkpoint::Loaded;
use crate::cross_encoder::CrossEncoder;
use crate::dropout_seeds::DropoutSeeds;
use crate::error::{Error, Result};
use crate::input::Input;

/// The kind of these golden values.
pub(super) const KIND: &str = "prettr";

/// What the original computed for some pairs of texts.
#[derive(Debug, Clone)]
pub(super) struct SplitGolden {
    file: File,
    /// The states of all tokens of documents and of queries where they are joined, by the parts' names,
    /// for the join layer of the configuration and queries with mask tokens.
    states: Vec<(Part, HiddenStates)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Query,
    Document,
}

#[derive(Debug, Clone, Deserialize)]
struct File {
    pairs: Vec<Pair>,
    query_max_length: usize,
    document_max_length: usize,
    config_join_layer_idx: usize,
    batches: BTreeMap<String, Padded>,
    cases: Vec<Case>,
}

#[derive(Debug, Clone, Deserialize)]
struct Padded {
    query_input_ids: Vec<Vec<u32>>,
    query_attention_mask: Vec<Vec<u32>>,
    document_input_ids: Vec<Vec<u32>>,
    document_attention_mask: Vec<Vec<u32>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Case {
    mask_augmentation: usize,
    join_layer_idx: usize,
    scores: Vec<f32>,
    scores_single_unpadded: Vec<f32>,
    query_rep_at_join_first8: Vec<Vec<f32>>,
    doc_rep_at_join_first8: Vec<Vec<f32>>,
    last_hidden_state: LastStates,
}

#[derive(Debug, Clone, Deserialize)]
struct LastStates {
    rows: Vec<LastState>,
}

#[derive(Debug, Clone, Deserialize)]
struct LastState {
    first_token_first8: Vec<f32>,
    last_token_first8: Vec<f32>,
}

impl SplitGolden {
    pub(super) fn read(text: &str, folder: &Path) -> Result<Self> {
        let path = folder.join("expected.json");
        let file: File =
            serde_json::from_str(text).map_err(|error| Error::config(&path, error.to_string()))?;
        let n = file.pairs.len();
        for case in &file.cases {
            let lengths = [
                case.scores.len(),
                case.scores_single_unpadded.len(),
                case.query_rep_at_join_first8.len(),
                case.doc_rep_at_join_first8.len(),
                case.last_hidden_state.rows.len(),
            ];
            let batch = format!("aug{}", case.mask_augmentation);
            let n_rows = file.batches.get(&batch).map(Padded::n_rows);
            if lengths != [n; 5] || n_rows != Some(n) {
                let problem = format!("expected {batch} and scores and states of {n} pairs");
                return Err(Error::config(&path, problem));
            }
        }
        let path = folder.join("expected.safetensors");
        let states = [(Part::Query, "query_rep_at_join"), (Part::Document, "doc_rep_at_join")]
            .into_iter()
            .filter_map(|(part, name)| {
                hidden_state(&path, name).map(|found| Some((part, found?))).transpose()
            })
            .collect::<Result<_>>()?;
        Ok(Self { file, states })
    }

    pub(super) fn pairs(&self) -> &[Pair] {
        &self.file.pairs
    }

    /// Compares a model, which is given with the join layer of its configuration.
    pub(super) fn compare(
        &self,
        directory: &Path,
        loaded: Loaded,
        change: impl FnOnce(CrossEncoder) -> CrossEncoder,
        device: &Device,
    ) -> Result<Parity> {
        let n_labels = loaded.config.n_labels;
        let model = change(loaded.model);
        let mut parity = Parity {
            n_pairs: self.file.pairs.len(),
            n_labels,
            differing_ids: Vec::new(),
            logits: Some(0.0),
            hidden_states: Vec::new(),
        };
        for case in &self.file.cases {
            let golden = &self.file.batches[&format!("aug{}", case.mask_augmentation)];
            let alone = golden.batch();
            let encoded = self.encode(&directory.join("tokenizer.json"), case.mask_augmentation)?;
            let differing = (0..alone.n_rows())
                .filter(|&row| {
                    (alone.row(row).0, alone.parts(row)) != (encoded.row(row).0, encoded.parts(row))
                })
                .collect::<Vec<_>>();
            if !differing.is_empty() {
                parity.differing_ids = differing;
            }
            let mut padded = alone.clone();
            padded.align_documents();
            let model = model.clone().with_join_layer(case.join_layer_idx);
            let mut logits = 0.0_f32;
            for (batch, scores) in [(&padded, &case.scores), (&alone, &case.scores_single_unpadded)]
            {
                let input = Input::new(batch, device);
                let found = numbers(model.logits(&input, DropoutSeeds::inference()));
                let differences = found.iter().zip(scores).map(|(a, b)| (a - b).abs());
                logits = worst([logits, worst(differences)].into_iter());
            }
            parity.logits = parity.logits.map(|so_far| worst([so_far, logits].into_iter()));
            let mut states = self.states_of(&model, &padded, case, device);
            if (case.mask_augmentation, case.join_layer_idx)
                == (self.masks(), self.file.config_join_layer_idx)
            {
                states = worst([states, self.whole_states(&model, &padded, device)].into_iter());
            }
            parity.hidden_states.push((case.join_layer_idx, states));
        }
        Ok(parity)
    }

    /// The most mask tokens of any batch, which is what the states of all tokens are of.
    fn masks(&self) -> usize {
        self.file.cases.iter().map(|case| case.mask_augmentation).max().unwrap_or(0)
    }

    /// The largest difference of the states of first tokens where they are joined, and of first and
    /// last tokens at the end.
    fn states_of(&self, model: &CrossEncoder, batch: &Batch, case: &Case, device: &Device) -> f32 {
        let input = Input::new(batch, device);
        let all = model.encoder().hidden_states(&input, &mut DropoutSeeds::inference());
        let width = all[0].dims()[1];
        let joined = numbers(all[case.join_layer_idx].clone());
        let last = numbers(all[all.len() - 1].clone());
        let offsets = batch.row_offsets();
        worst((0..batch.n_rows()).flat_map(|row| {
            let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
            let document = start + batch.parts(row).0;
            let expected = &case.last_hidden_state.rows[row];
            [
                difference(&joined, width, start, &case.query_rep_at_join_first8[row]),
                difference(&joined, width, document, &case.doc_rep_at_join_first8[row]),
                difference(&last, width, start, &expected.first_token_first8),
                difference(&last, width, end - 1, &expected.last_token_first8),
            ]
        }))
    }

    /// The largest difference of any token's state where queries and documents are joined, each part
    /// encoded without the other.
    fn whole_states(&self, model: &CrossEncoder, batch: &Batch, device: &Device) -> f32 {
        worst(self.states.iter().map(|(part, expected)| {
            let mut own = Batch::new();
            for row in 0..batch.n_rows() {
                let (ids, types) = batch.row(row);
                let (n_query, position) = batch.parts(row);
                match part {
                    Part::Query => own.push_row(&ids[..n_query], &types[..n_query]),
                    Part::Document => {
                        own.push_pair(&ids[n_query..], &types[n_query..], 0, position);
                    }
                }
            }
            let input = Input::new(&own, device);
            let found: Tensor<2> = model.encoder().lower(&input, &mut DropoutSeeds::inference());
            expected.worst(&input, found, &vec![0; own.n_rows()])
        }))
    }

    /// The pairs as this library encodes them.
    fn encode(&self, tokenizer: &Path, query_masks: usize) -> Result<Batch> {
        // `[CLS]` and `[SEP]` of the query; the document loses the first and keeps the second.
        let query_max_length = self.file.query_max_length - 2;
        let config = PairConfig {
            max_length: self.file.query_max_length + query_masks + self.file.document_max_length
                - 1,
            query_max_length,
            truncation: Truncation::SecondOnly,
        };
        let parts = PairParts {
            position: DocumentPosition::PaddedQuery,
            query_masks,
            mask_place: MaskPlace::AfterSeparator,
            document_start: false,
        };
        let encoder = PairEncoder::open(tokenizer, config)?.with_parts(parts)?;
        let mut batch = Batch::new();
        let mut report = TruncationReport::default();
        for pair in &self.file.pairs {
            encoder.encode(&pair.query, &pair.passage, &mut batch, &mut report)?;
        }
        batch.end_group();
        Ok(batch)
    }
}

impl Padded {
    fn n_rows(&self) -> usize {
        self.query_input_ids.len()
    }

    /// Every pair alone: documents follow their queries.
    fn batch(&self) -> Batch {
        let unpadded = |ids: &[u32], mask: &[u32]| -> Vec<u32> {
            ids.iter().zip(mask).filter(|&(_, &m)| m == 1).map(|(&id, _)| id).collect()
        };
        let mut batch = Batch::new();
        for row in 0..self.n_rows() {
            let mut ids = unpadded(&self.query_input_ids[row], &self.query_attention_mask[row]);
            let n_query = ids.len();
            let document =
                unpadded(&self.document_input_ids[row], &self.document_attention_mask[row]);
            ids.extend(document.iter().skip(1));
            batch.push_pair(&ids, &vec![0; ids.len()], n_query, n_query);
        }
        batch.end_group();
        batch
    }
}

/// The largest difference of the first values of a token, as a part of `1 + |expected|`.
fn difference(states: &[f32], width: usize, token: usize, expected: &[f32]) -> f32 {
    let found = &states[token * width..(token + 1) * width];
    worst(found.iter().zip(expected).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())))
}
