//! Llama: the shape that the others start from.

use crate::decoder::keys::{DecoderKeys, Missing};
use crate::decoder::shape::DecoderShape;

/// # Source
/// `LlamaConfig` and `modeling_llama.py` of transformers.
pub(super) fn shape(keys: &DecoderKeys) -> Result<DecoderShape, String> {
    let attention_bias = keys.attention_bias.unwrap_or(false);
    Ok(DecoderShape {
        qkv_bias: attention_bias,
        output_bias: attention_bias,
        inner_bias: keys.mlp_bias.unwrap_or(false),
        ..keys.shape(&Missing::default())?
    })
}
