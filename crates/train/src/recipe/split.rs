//! `[model.split]`: query and document read apart in the first layers, as TOML.

use serde::{Deserialize, Serialize};
use tamis_data::{DocumentPosition, MaskPlace, PairParts};
use tamis_model::{CompressorConfig, SplitConfig, SplitScore};

/// `[model.split]`: the encoder becomes a PreTTR. With `init = "new-head"` or `"scratch"` its head is
/// PreTTR's, one linear map of the first token; with `"checkpoint"` it keeps the head that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRecipe {
    /// Layers in which query and document are read apart.
    pub join_layer: usize,
    /// Where the positions of a document start: `padded-query`, where the longest query of the batch
    /// ends, or `fixed:P`. Only the second lets documents be computed once.
    #[serde(default)]
    pub position: DocumentPosition,
    /// Mask tokens that are added to every query.
    #[serde(default)]
    pub query_masks: usize,
    /// Where they are added: `before-separator` or `after-separator`.
    #[serde(default)]
    pub mask_place: MaskPlace,
    /// Values of a token that are kept between the two halves; the whole hidden state when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compress: Option<usize>,
    /// Whether they are rounded to `f16`, as they will be stored.
    #[serde(default)]
    pub compress_half: bool,
    /// What a new head scores: `first-token` as PreTTR does, or with `join_layer` at the last layer and
    /// `position = "fixed:0"` the parts' vectors, `dot` as BERT_Dot does or `max-sim` as ColBERT does.
    #[serde(default)]
    pub score: SplitScore,
}

impl SplitRecipe {
    /// What the model needs to know.
    #[must_use]
    pub fn config(&self) -> SplitConfig {
        let is_half = self.compress_half;
        SplitConfig {
            join_layer: self.join_layer,
            compressor: self.compress.map(|width| CompressorConfig { width, is_half }),
            score: self.score,
        }
    }

    /// What the encoding of pairs needs to know.
    #[must_use]
    pub fn parts(&self) -> PairParts {
        let Self { position, query_masks, mask_place, .. } = *self;
        PairParts { position, query_masks, mask_place, document_start: self.score.is_apart() }
    }
}
