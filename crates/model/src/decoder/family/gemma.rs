//! Gemma 1 and 2: scaled word vectors, norms around 1, and in the second soft caps and local layers.

use crate::decoder::keys::{DecoderKeys, Missing};
use crate::decoder::shape::DecoderShape;
use crate::encoder::activation;

/// # Source
/// `GemmaConfig` and `modeling_gemma.py` of transformers. `gelu` stands for its approximation, as there.
pub(super) fn shape_1(keys: &DecoderKeys) -> Result<DecoderShape, String> {
    let name = keys.hidden_activation.as_deref().or(keys.hidden_act.as_deref());
    let name = match name {
        None | Some("gelu") => "gelu_pytorch_tanh",
        Some(name) => name,
    };
    let attention_bias = keys.attention_bias.unwrap_or(false);
    Ok(DecoderShape {
        activation: activation("hidden_act", name)?,
        qkv_bias: attention_bias,
        output_bias: attention_bias,
        norm_offset: 1.0,
        embedding_scale: Some((keys.hidden_size as f64).sqrt() as f32),
        ..keys.shape(&Missing { n_kv_heads: Some(16), width: Some(256) })?
    })
}

/// # Source
/// `Gemma2Config` and `modeling_gemma2.py` of transformers.
pub(super) fn shape_2(keys: &DecoderKeys) -> Result<DecoderShape, String> {
    let name = keys.hidden_activation.as_deref().unwrap_or("gelu_pytorch_tanh");
    let scalar = keys.query_pre_attn_scalar.unwrap_or(256.0);
    if scalar <= 0.0 {
        return Err(format!("query_pre_attn_scalar: expected more than 0, found `{scalar}`"));
    }
    let n_kv_heads = keys.num_key_value_heads.or(Some(4));
    let window = keys.sliding_window;
    Ok(DecoderShape {
        activation: activation("hidden_activation", name)?,
        scale: scalar.powf(-0.5) as f32,
        cap: keys.attn_logit_softcapping,
        windows: keys.windows(window, |layer| layer.is_multiple_of(2))?,
        has_post_norms: true,
        ..shape_1(&DecoderKeys { num_key_value_heads: n_kv_heads, ..keys.clone() })?
    })
}
