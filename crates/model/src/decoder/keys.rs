//! The keys of `config.json` that shape a decoder, as the families share them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::rope::{Frequencies, RopeKeys};
use super::shape::DecoderShape;
use crate::encoder::{activation, check_dropouts};

/// What a file says; what it leaves out is up to the family.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct DecoderKeys {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: Option<usize>,
    pub(super) head_dim: Option<usize>,
    pub(super) hidden_act: Option<String>,
    pub(super) hidden_activation: Option<String>,
    pub(super) max_position_embeddings: Option<usize>,
    pub(super) rms_norm_eps: Option<f64>,
    pub(super) initializer_range: Option<f64>,
    pub(super) rope_theta: Option<f64>,
    pub(super) rope_scaling: Option<Map<String, Value>>,
    pub(super) rope_parameters: Option<Map<String, Value>>,
    pub(super) attention_bias: Option<bool>,
    pub(super) mlp_bias: Option<bool>,
    pub(super) attention_dropout: Option<f32>,
    pub(super) tie_word_embeddings: Option<bool>,
    pub(super) pad_token_id: Option<u32>,
    pub(super) bos_token_id: Option<Value>,
    pub(super) sliding_window: Option<usize>,
    pub(super) use_sliding_window: Option<bool>,
    pub(super) max_window_layers: Option<usize>,
    pub(super) layer_types: Option<Vec<String>>,
    pub(super) query_pre_attn_scalar: Option<f64>,
    pub(super) attn_logit_softcapping: Option<f32>,
    pub(super) final_logit_softcapping: Option<f32>,
    pub(super) scale_emb: Option<f32>,
    pub(super) scale_depth: Option<f64>,
    pub(super) dim_model_base: Option<f64>,
    pub(super) start_layer: Option<usize>,
    pub(super) layer_sep: Option<usize>,
    pub(super) layer_wise: Option<bool>,
    pub(super) head_multi: Option<bool>,
    pub(super) head_type: Option<String>,
}

impl DecoderKeys {
    /// What is common: Llama's shape, from which families differ.
    ///
    /// # Errors
    /// The key, its value and what was expected.
    pub(super) fn shape(&self, missing: &Missing) -> Result<DecoderShape, String> {
        let n_heads = self.num_attention_heads;
        if n_heads == 0 || self.num_hidden_layers == 0 {
            return Err(format!(
                "expected layers and heads, found num_hidden_layers `{}`, num_attention_heads `{n_heads}`",
                self.num_hidden_layers
            ));
        }
        let n_kv_heads = self.num_key_value_heads.or(missing.n_kv_heads).unwrap_or(n_heads);
        if n_kv_heads == 0 || !n_heads.is_multiple_of(n_kv_heads) {
            return Err(format!(
                "num_attention_heads `{n_heads}` is not a multiple of num_key_value_heads `{n_kv_heads}`"
            ));
        }
        let width = match self.head_dim.or(missing.width) {
            Some(width) => width,
            None if self.hidden_size.is_multiple_of(n_heads) => self.hidden_size / n_heads,
            None => {
                return Err(format!(
                    "hidden_size `{}` is not a multiple of num_attention_heads `{n_heads}`",
                    self.hidden_size
                ));
            }
        };
        if width == 0 || !width.is_multiple_of(2) {
            return Err(format!("head_dim: expected an even number, found `{width}`"));
        }
        let attention_dropout = self.attention_dropout.unwrap_or(0.0);
        check_dropouts(&[attention_dropout])?;
        let name = self.hidden_act.as_deref().unwrap_or("silu");
        Ok(DecoderShape {
            n_words: self.vocab_size,
            hidden: self.hidden_size,
            inner: self.intermediate_size,
            n_heads,
            n_kv_heads,
            width,
            scale: 1.0 / (width as f32).sqrt(),
            cap: None,
            windows: vec![None; self.num_hidden_layers],
            frequencies: self.frequencies(width)?,
            activation: activation("hidden_act", name)?,
            epsilon: self.rms_norm_eps.unwrap_or(1e-6) as f32,
            norm_offset: 0.0,
            embedding_scale: None,
            residual_scale: None,
            qkv_bias: false,
            output_bias: false,
            inner_bias: false,
            has_head_norms: false,
            has_post_norms: false,
            attention_dropout,
        })
    }

    fn frequencies(&self, width: usize) -> Result<Frequencies, String> {
        let scaling = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let in_scaling = scaling.and_then(|map| map.get("rope_theta")).and_then(Value::as_f64);
        let keys = RopeKeys {
            width,
            theta: in_scaling.or(self.rope_theta).unwrap_or(10_000.0),
            scaling,
            max_positions: self.max_positions(),
        };
        keys.frequencies()
    }

    /// The longest row; rotary positions have no table, so that only training set a limit.
    pub(super) fn max_positions(&self) -> usize {
        self.max_position_embeddings.unwrap_or(2048)
    }

    /// The windows of `layer_types`, or those of a rule where the file does not say.
    pub(super) fn windows(
        &self,
        window: Option<usize>,
        is_local: impl Fn(usize) -> bool,
    ) -> Result<Vec<Option<usize>>, String> {
        let Some(types) = &self.layer_types else {
            let layers = 0..self.num_hidden_layers;
            return Ok(layers.map(|layer| window.filter(|_| is_local(layer))).collect());
        };
        if types.len() != self.num_hidden_layers {
            return Err(format!(
                "layer_types: expected `{}` of them, found `{}`",
                self.num_hidden_layers,
                types.len()
            ));
        }
        let one = |name: &String| match name.as_str() {
            "full_attention" => Ok(None),
            "sliding_attention" => Ok(window),
            other => Err(format!(
                "layer_types: expected `full_attention` or `sliding_attention`, found `{other}`"
            )),
        };
        types.iter().map(one).collect()
    }
}

/// What a family takes where the file says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Missing {
    pub(super) n_kv_heads: Option<usize>,
    pub(super) width: Option<usize>,
}
