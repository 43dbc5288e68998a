//! One layer of a decoder: attention to what came before, and a gated feed-forward block.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use tamis_ops::{AttentionConfig, Dropout, Rows};

use super::{DecoderShape, Pass};
use crate::dropout_seeds::DropoutSeeds;
use crate::layer::{Activation, Linear, RmsNorm};

/// A layer. What a block adds may be normalised and scaled before it is added.
#[derive(Module, Debug)]
pub(crate) struct DecoderLayer {
    attention_norm: RmsNorm,
    qkv: Linear,
    query_norm: Option<RmsNorm>,
    key_norm: Option<RmsNorm>,
    attention_output: Linear,
    attention_post_norm: Option<RmsNorm>,
    inner_norm: RmsNorm,
    intermediate: Linear,
    output: Linear,
    inner_post_norm: Option<RmsNorm>,
    #[module(skip)]
    attention: AttentionConfig,
    #[module(skip)]
    attention_dropout: f32,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    residual_scale: Option<f32>,
}

impl DecoderLayer {
    pub(super) fn zeros(shape: &DecoderShape, index: usize, device: &Device) -> Self {
        let attention = shape.attention(index);
        let head_norm = || shape.has_head_norms.then(|| shape.norm(shape.width, device));
        let post_norm = || shape.has_post_norms.then(|| shape.norm(shape.hidden, device));
        let context = shape.n_heads * shape.width;
        Self {
            attention_norm: shape.norm(shape.hidden, device),
            qkv: Linear::zeros_with(shape.hidden, attention.qkv_width(), shape.qkv_bias, device),
            query_norm: head_norm(),
            key_norm: head_norm(),
            // No norm follows: what its rounding adds stays in the sum to the end.
            attention_output: Linear::zeros_with(context, shape.hidden, shape.output_bias, device),
            attention_post_norm: post_norm(),
            inner_norm: shape.norm(shape.hidden, device),
            intermediate: Linear::zeros_with(
                shape.hidden,
                2 * shape.inner,
                shape.inner_bias,
                device,
            ),
            output: Linear::zeros_with(shape.inner, shape.hidden, shape.inner_bias, device),
            inner_post_norm: post_norm(),
            attention,
            attention_dropout: shape.attention_dropout,
            activation: shape.activation,
            residual_scale: shape.residual_scale,
        }
    }

    /// How the layer's queries meet its keys.
    pub(super) fn attention(&self) -> AttentionConfig {
        self.attention
    }

    pub(super) fn linears_mut(&mut self) -> [&mut Linear; 4] {
        [&mut self.qkv, &mut self.attention_output, &mut self.intermediate, &mut self.output]
    }

    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        pass: &Pass<'_>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let context = self.attend(self.queries_keys_values(x.clone(), pass), pass, seeds);
        self.finish(context, x)
    }

    /// Queries, keys and values of every token, side by side and turned to their places.
    pub(super) fn queries_keys_values(&self, x: Tensor<2>, pass: &Pass<'_>) -> Tensor<2> {
        let qkv = self.qkv.forward(self.attention_norm.forward(x));
        let AttentionConfig { n_heads, n_kv_heads, width, .. } = self.attention;
        let qkv = match (&self.query_norm, &self.key_norm) {
            (Some(query_norm), Some(key_norm)) => {
                let part = |first: usize, n: usize| qkv.clone().narrow(1, first * width, n * width);
                let queries = query_norm.forward_heads(part(0, n_heads));
                let keys = key_norm.forward_heads(part(n_heads, n_kv_heads));
                Tensor::cat(vec![queries, keys, part(n_heads + n_kv_heads, n_kv_heads)], 1)
            }
            _ => qkv,
        };
        // Queries and keys are turned, values are not.
        tamis_ops::rotary(qkv, pass.rows, &pass.rotary, n_heads + n_kv_heads)
    }

    /// What every token gathers from its row: `[tokens, heads * width]`.
    pub(super) fn attend(
        &self,
        qkv: Tensor<2>,
        pass: &Pass<'_>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let dropout = seeds.next(self.attention_dropout);
        tamis_ops::attention(qkv, pass.rows, self.attention, dropout)
    }

    /// The same for rows that go on where a prefix ends, without dropout.
    pub(super) fn attend_after(&self, prefix: Tensor<2>, qkv: Tensor<2>, rows: &Rows) -> Tensor<2> {
        tamis_ops::attention_after(Some(prefix), qkv, rows, self.attention, None, Dropout::NONE)
    }

    /// The same for one token of every row, by its place among all tokens: `[rows, heads * width]`. The rows may
    /// go on where a prefix ends.
    pub(super) fn attend_at(
        &self,
        places: Vec<usize>,
        prefix: Option<Tensor<2>>,
        qkv: Tensor<2>,
        pass: &Pass<'_>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let dropout = seeds.next(self.attention_dropout);
        let (rows, places) = (pass.rows, Some(places));
        tamis_ops::attention_after(prefix, qkv, rows, self.attention, places, dropout)
    }

    /// Everything after attention, token by token: `[tokens, hidden]`, or any rows of it.
    pub(super) fn finish(&self, context: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        let post_norm = self.attention_post_norm.as_ref();
        let x = self.add(&self.attention_output, context, x, post_norm);
        let normed = self.inner_norm.forward(x.clone());
        let inner = self.intermediate.forward_gated(normed, self.activation);
        self.add(&self.output, inner, x, self.inner_post_norm.as_ref())
    }

    /// `residual` and what the last map of a block makes of `x`.
    fn add(
        &self,
        linear: &Linear,
        x: Tensor<2>,
        residual: Tensor<2>,
        post_norm: Option<&RmsNorm>,
    ) -> Tensor<2> {
        if post_norm.is_none()
            && self.residual_scale.is_none()
            && let Some(sum) = linear.forward_add(&x, &residual)
        {
            return sum;
        }
        let mut added = linear.forward(x);
        if let Some(norm) = post_norm {
            added = norm.forward(added);
        }
        if let Some(scale) = self.residual_scale {
            added = added * scale;
        }
        residual + added
    }
}
