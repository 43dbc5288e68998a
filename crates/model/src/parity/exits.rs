//! Models with exits beside the scores of their published code, request by request.

use burn::tensor::Device;
use tamis_data::Batch;

use super::{Golden, numbers, worst};
use crate::cross_encoder::CrossEncoder;
use crate::dropout_seeds::DropoutSeeds;
use crate::effort::{Compatibility, Effort, HeadOrder, TokenWeights};
use crate::error::{Error, Result};
use crate::input::Input;

/// The largest difference of a score over all requests.
pub(super) fn worst_case(
    model: &CrossEncoder,
    golden: &Golden,
    encoded: &Batch,
    device: &Device,
) -> Result<f32> {
    // The numbers are those of the published code: heads by order, weights of padded places.
    let compatibility = Compatibility { heads: HeadOrder::ByOrder, weights: TokenWeights::OfModel };
    let mut furthest = 0.0;
    for case in golden.cases() {
        let effort = Effort {
            exits: case.cutoff_layers.clone(),
            ratio: case.compress_ratio,
            // The published code passes over the layer at depth 0.
            compress_layers: case.compress_layers.iter().copied().filter(|&l| l > 0).collect(),
        };
        let compatibility = Compatibility {
            weights: match model.merges_alike() {
                true => TokenWeights::Mean,
                false => TokenWeights::LastColumn,
            },
            ..compatibility
        };
        let mut found = vec![Vec::new(); case.scores.len()];
        let n = encoded.n_rows();
        for first in (0..n).step_by(case.batch_size.max(1)) {
            let mut batch = Batch::new();
            for row in first..n.min(first + case.batch_size.max(1)) {
                let (ids, types) = encoded.row(row);
                batch.push_row(ids, types);
            }
            batch.end_group();
            let input = Input::new(&batch, device);
            let exits =
                model.exit_logits(&input, &effort, compatibility, DropoutSeeds::inference())?;
            if exits.len() != found.len() {
                let problem =
                    format!("expected {} exits, found {}", case.scores.len(), exits.len());
                return Err(Error::config(golden.path(), problem));
            }
            for (all, (_, logits)) in found.iter_mut().zip(exits) {
                all.extend(numbers(logits));
            }
        }
        let pairs = case.scores.iter().flatten().zip(found.iter().flatten());
        furthest = worst([furthest].into_iter().chain(pairs.map(|(a, b)| (a - b).abs())));
    }
    Ok(furthest)
}
