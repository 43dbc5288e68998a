//! MiniCPM: Llama with scaled word vectors and scaled blocks.

use super::llama;
use crate::decoder::keys::DecoderKeys;
use crate::decoder::shape::DecoderShape;

/// # Source
/// `modeling_minicpm.py` beside MiniCPM-2B and `modeling_minicpm_reranker.py` beside BGE's reranker.
pub(super) fn shape(keys: &DecoderKeys) -> Result<DecoderShape, String> {
    let blocks = (keys.num_hidden_layers as f64).sqrt();
    Ok(DecoderShape {
        embedding_scale: Some(keys.scale_emb.unwrap_or(1.0)),
        residual_scale: Some((keys.scale_depth.unwrap_or(1.0) / blocks) as f32),
        ..llama::shape(keys)?
    })
}
