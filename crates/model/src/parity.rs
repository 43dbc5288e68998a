//! A checkpoint beside golden values of transformers: token ids, logits and hidden states.

mod exits;
mod golden;
mod split;

use std::path::Path;

use burn::tensor::{Device, Tensor};
use tamis_data::{Batch, PairConfig, PairEncoder, TruncationReport};
use tamis_ops::Precision;

use crate::checkpoint;
use crate::cross_encoder::CrossEncoder;
use crate::dropout_seeds::DropoutSeeds;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::reranker::{check_precision, for_inference};
pub use golden::{Case, Encoding, Golden, HiddenStates};

/// How far a checkpoint is from its golden values.
#[derive(Debug, Clone, PartialEq)]
pub struct Parity {
    /// Pairs that were compared.
    pub n_pairs: usize,
    /// Outputs of the head.
    pub n_labels: usize,
    /// Places of the pairs whose token ids or segments differ, from 0.
    pub differing_ids: Vec<usize>,
    /// The largest difference of a logit; absent for an encoder without a head.
    pub logits: Option<f32>,
    /// The largest difference of a hidden state, for each layer that has golden values: the number
    /// of layers below it, and the difference as a part of `1 + |expected|`.
    pub hidden_states: Vec<(usize, f32)>,
}

/// Compares the checkpoint in a directory with golden values.
///
/// Token ids come from the pairs' texts through the checkpoint's tokenizer. Logits and hidden states
/// come from the golden token ids, so that one difference does not hide another.
///
/// # Errors
/// When the checkpoint cannot be loaded, or the golden values are of another model.
pub fn compare(directory: &Path, golden: &Golden, device: &Device) -> Result<Parity> {
    compare_as(directory, golden, device, |model| model)
}

/// The same for the model as it scores in a precision.
///
/// # Errors
/// As [`compare`], and when the device does not compute in the precision.
pub fn compare_at(
    directory: &Path,
    golden: &Golden,
    device: &Device,
    precision: Precision,
) -> Result<Parity> {
    check_precision(precision, device)?;
    compare_as(directory, golden, device, |model| for_inference(model, precision, device))
}

/// The same for the model after a change to it.
///
/// # Errors
/// As [`compare`].
pub fn compare_as(
    directory: &Path,
    golden: &Golden,
    device: &Device,
    change: impl FnOnce(CrossEncoder) -> CrossEncoder,
) -> Result<Parity> {
    let is_bare =
        golden.logits().is_none() && golden.cases().is_empty() && golden.split().is_none();
    let new_head = is_bare.then_some(checkpoint::NewHead { seed: 0 });
    let loaded = checkpoint::load(directory, new_head, device)?;
    if let Some(split) = golden.split() {
        return split.compare(directory, loaded, change, device);
    }
    let model = change(loaded.model);
    let encoded = encode(&directory.join("tokenizer.json"), golden)?;
    let expected = golden.batch();
    let differing_ids =
        (0..expected.n_rows()).filter(|&row| !golden.is_row(row, encoded.row(row))).collect();

    let input = Input::new(&expected, device);
    let logits = match golden.logits() {
        None if !golden.cases().is_empty() => {
            Some(exits::worst_case(&model, golden, &encoded, device)?)
        }
        None => None,
        Some(golden_logits) => {
            let logits = numbers(model.logits(&input, DropoutSeeds::inference()));
            if golden_logits.len() != logits.len() {
                let problem = format!(
                    "expected {} logits of {} pairs, found {} labels",
                    golden_logits.len(),
                    expected.n_rows(),
                    loaded.config.n_labels
                );
                return Err(Error::config(golden.path(), problem));
            }
            Some(worst(golden_logits.iter().zip(&logits).map(|(a, b)| (a - b).abs())))
        }
    };
    let states = model.encoder().hidden_states(&input, &mut DropoutSeeds::inference());
    let first_places = golden.first_places();
    let mut hidden_states = Vec::new();
    for (n_below, expected) in golden.hidden_states() {
        let Some(state) = states.get(*n_below) else {
            let problem =
                format!("hidden_states.{n_below}: the model has {} layers", states.len() - 1);
            return Err(Error::config(golden.path(), problem));
        };
        hidden_states.push((*n_below, expected.worst(&input, state.clone(), &first_places)));
    }
    Ok(Parity {
        n_pairs: expected.n_rows(),
        n_labels: loaded.config.n_labels,
        differing_ids,
        logits,
        hidden_states,
    })
}

impl Parity {
    /// The largest difference of a hidden state of any layer.
    #[must_use]
    pub fn worst_hidden_state(&self) -> f32 {
        worst(self.hidden_states.iter().map(|&(_, difference)| difference))
    }

    /// Whether ids are identical and logits within a tolerance, whatever the hidden states are.
    #[must_use]
    pub fn scores_hold(&self, tolerance: f32) -> bool {
        self.differing_ids.is_empty()
            && self.logits.is_none_or(|difference| difference <= tolerance)
    }

    /// Whether ids are identical and logits and hidden states within a tolerance.
    #[must_use]
    pub fn holds(&self, tolerance: f32) -> bool {
        self.scores_hold(tolerance) && self.worst_hidden_state() <= tolerance
    }
}

/// The pairs of the golden values as this library encodes them.
fn encode(tokenizer: &Path, golden: &Golden) -> Result<Batch> {
    let Encoding { query_max_length, truncation, template, .. } = golden.encoding();
    let mut config =
        PairConfig { max_length: usize::MAX, query_max_length: 1, truncation: *truncation };
    let probe = PairEncoder::open_with(tokenizer, template.as_ref(), config)?;
    config.max_length = golden.encoding().longest_row(&probe);
    // Unless it says so, golden queries are never cut by a limit of their own.
    let longest = (config.max_length - probe.n_specials()).saturating_sub(1).max(1);
    config.query_max_length = query_max_length.unwrap_or(longest).min(longest);
    let encoder = PairEncoder::with_template(probe.tokenizer().clone(), template.as_ref(), config)?;
    let mut batch = Batch::new();
    let mut report = TruncationReport::default();
    for (query, document) in golden.pairs() {
        encoder.encode(query, document, &mut batch, &mut report)?;
    }
    batch.end_group();
    Ok(batch)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("the data was just made f32")
}

/// The largest of some differences; a NaN is larger than all.
fn worst(differences: impl Iterator<Item = f32>) -> f32 {
    differences.fold(0.0, |a, b| if b.is_nan() || b > a { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_is_no_number_is_the_worst() {
        assert_eq!(worst([0.5, 0.25].into_iter()), 0.5);
        assert!(worst([0.5, f32::NAN, 1.0].into_iter()).is_nan());
        let parity = Parity {
            n_pairs: 1,
            n_labels: 1,
            differing_ids: Vec::new(),
            logits: Some(f32::NAN),
            hidden_states: Vec::new(),
        };
        assert!(!parity.holds(1e-4));
        assert!(Parity { logits: Some(1e-5), ..parity.clone() }.holds(1e-4));
        assert!(!Parity { logits: None, differing_ids: vec![3], ..parity }.holds(1e-4));
    }
}
