//! Qwen 2 and 3: biases of queries, keys and values, or norms of their heads.

use crate::decoder::keys::{DecoderKeys, Missing};
use crate::decoder::shape::DecoderShape;

/// # Source
/// `Qwen2Config` and `modeling_qwen2.py` of transformers.
pub(super) fn shape_2(keys: &DecoderKeys) -> Result<DecoderShape, String> {
    let missing = Missing { n_kv_heads: Some(32), width: None };
    Ok(DecoderShape { qkv_bias: true, windows: windows(keys)?, ..keys.shape(&missing)? })
}

/// # Source
/// `Qwen3Config` and `modeling_qwen3.py` of transformers.
pub(super) fn shape_3(keys: &DecoderKeys) -> Result<DecoderShape, String> {
    let missing = Missing { n_kv_heads: Some(32), width: Some(128) };
    let attention_bias = keys.attention_bias.unwrap_or(false);
    Ok(DecoderShape {
        qkv_bias: attention_bias,
        output_bias: attention_bias,
        has_head_norms: true,
        windows: windows(keys)?,
        ..keys.shape(&missing)?
    })
}

/// Layers from `max_window_layers` on are local, if any are.
fn windows(keys: &DecoderKeys) -> Result<Vec<Option<usize>>, String> {
    let window = keys.sliding_window.filter(|_| keys.use_sliding_window == Some(true));
    let first = keys.max_window_layers.unwrap_or(28);
    keys.windows(window, |layer| layer >= first)
}
