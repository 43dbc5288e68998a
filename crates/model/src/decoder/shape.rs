//! What tells one decoder from another, in numbers.

use burn::tensor::Device;
use tamis_ops::{AttentionConfig, Rotary};

use super::rope::Frequencies;
use crate::layer::{Activation, RmsNorm};

/// The numbers of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DecoderShape {
    pub(crate) n_words: usize,
    /// Width of a hidden state.
    pub(crate) hidden: usize,
    /// Width of the gated part of a feed-forward block.
    pub(crate) inner: usize,
    pub(crate) n_heads: usize,
    /// Heads of keys and values, each shared by neighbouring heads of queries.
    pub(crate) n_kv_heads: usize,
    /// Width of a head.
    pub(crate) width: usize,
    /// The factor of attention scores.
    pub(crate) scale: f32,
    /// Where set, an attention score becomes `cap * tanh(score / cap)`.
    pub(crate) cap: Option<f32>,
    /// How many tokens each layer's queries see, themselves included; `None` where all.
    pub(crate) windows: Vec<Option<usize>>,
    pub(crate) frequencies: Frequencies,
    pub(crate) activation: Activation,
    /// The constant under the root of norms.
    pub(crate) epsilon: f32,
    /// What is added to the weights of norms.
    pub(crate) norm_offset: f32,
    /// The factor of word vectors.
    pub(crate) embedding_scale: Option<f32>,
    /// The factor of what a block adds.
    pub(crate) residual_scale: Option<f32>,
    /// Which maps have biases.
    pub(crate) qkv_bias: bool,
    pub(crate) output_bias: bool,
    pub(crate) inner_bias: bool,
    /// Whether every head of queries and keys is normalised.
    pub(crate) has_head_norms: bool,
    /// Whether what a block adds is normalised.
    pub(crate) has_post_norms: bool,
    pub(crate) attention_dropout: f32,
}

impl DecoderShape {
    pub(crate) fn n_layers(&self) -> usize {
        self.windows.len()
    }

    /// A norm of this decoder with scale 1.
    pub(super) fn norm(&self, width: usize, device: &Device) -> RmsNorm {
        RmsNorm::identity(width, self.epsilon, self.norm_offset, device)
    }

    /// How the queries of a layer meet its keys.
    pub(super) fn attention(&self, layer: usize) -> AttentionConfig {
        let config = AttentionConfig {
            scale: self.scale,
            cap: self.cap,
            ..AttentionConfig::causal(self.n_heads, self.n_kv_heads, self.width)
        };
        match self.windows[layer] {
            Some(window) => config.within(window.saturating_sub(1)),
            None => config,
        }
    }

    /// The angles of so many places from one on.
    pub(super) fn rotary(&self, first: usize, n_places: usize) -> Rotary {
        let Frequencies { values, factor } = &self.frequencies;
        Rotary::starting_at(first, values, n_places, *factor)
    }

    /// Widths of queries, keys and values.
    pub(crate) fn qkv_shares(&self) -> Vec<usize> {
        let keys = self.n_kv_heads * self.width;
        vec![self.n_heads * self.width, keys, keys]
    }
}
