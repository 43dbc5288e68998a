//! One post-norm layer: attention and a feed-forward block, each followed by the norm of a sum.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use tamis_ops::{AttentionConfig, Dropout, Rows};

use super::LayerShape;
use super::first_token::FirstToken;
use crate::dropout_seeds::DropoutSeeds;
use crate::layer::{Activation, LayerNorm, Linear};

/// A layer of BERT and its like.
#[derive(Module, Debug)]
pub(crate) struct PostNormLayer {
    qkv: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    /// The projections once more, where first tokens are all that is asked for.
    #[module(skip)]
    first_token: Option<FirstToken>,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    attention_dropout: f32,
    #[module(skip)]
    attended_dropout: Option<f32>,
    #[module(skip)]
    output_dropout: Option<f32>,
}

impl PostNormLayer {
    pub(crate) fn zeros(hidden: usize, shape: &LayerShape, device: &Device) -> Self {
        let norm = || LayerNorm::identity(hidden, shape.epsilon as f32, device);
        Self {
            qkv: Linear::zeros(hidden, 3 * hidden, device),
            attention_output: Linear::zeros(hidden, hidden, device),
            attention_norm: norm(),
            intermediate: Linear::zeros(hidden, shape.inner, device),
            output: Linear::zeros(shape.inner, hidden, device),
            output_norm: norm(),
            first_token: None,
            n_heads: shape.n_heads,
            activation: shape.activation,
            attention_dropout: shape.attention_dropout,
            attended_dropout: shape.attended_dropout,
            output_dropout: shape.output_dropout,
        }
    }

    pub(crate) fn forward(&self, x: Tensor<2>, rows: &Rows, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let context = self.context(x.clone(), rows, seeds);
        self.finish(context, x, seeds)
    }

    /// What every token gathers from its row: `[tokens, hidden]`.
    pub(crate) fn context(&self, x: Tensor<2>, rows: &Rows, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let dropout = seeds.next(self.attention_dropout);
        let config = AttentionConfig::bidirectional(self.n_heads, x.dims()[1] / self.n_heads);
        tamis_ops::attention(self.queries_keys_values(x), rows, config, dropout)
    }

    /// Takes the projections as first tokens need them, before they are packed for all.
    pub(crate) fn pack_first_token(&mut self) {
        self.qkv.merge();
        let (weight, bias) = self.qkv.parameters();
        self.first_token = FirstToken::new(weight, bias, self.n_heads);
    }

    /// What the first token of every row gathers, and its own state: `[rows, hidden]` both.
    pub(crate) fn first_context(
        &self,
        x: Tensor<2>,
        first_tokens: &Tensor<1, Int>,
        rows: &Rows,
        seeds: &mut DropoutSeeds,
    ) -> (Tensor<2>, Tensor<2>) {
        let first = x.clone().select(0, first_tokens.clone());
        let context = match &self.first_token {
            // With a part of every row alone there are more rows than first tokens.
            Some(own) if rows.len() == first.dims()[0] => own.context(&x, first.clone(), rows),
            _ => self.context(x, rows, seeds).select(0, first_tokens.clone()),
        };
        (context, first)
    }

    pub(crate) fn n_heads(&self) -> usize {
        self.n_heads
    }

    /// The three projections side by side: `[tokens, 3 * hidden]`.
    pub(crate) fn queries_keys_values(&self, x: Tensor<2>) -> Tensor<2> {
        self.qkv.forward(x)
    }

    /// Everything after attention, token by token: `[tokens, hidden]`, or any rows of it.
    pub(crate) fn finish(
        &self,
        context: Tensor<2>,
        x: Tensor<2>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let mut next = |dropout: Option<f32>| dropout.map_or(Dropout::NONE, |p| seeds.next(p));
        let drop = next(self.attended_dropout);
        let x = self.attention_norm.forward_block(&self.attention_output, context, x, drop);
        let inner = self.intermediate.forward_activated(x.clone(), self.activation);
        let drop = next(self.output_dropout);
        self.output_norm.forward_block(&self.output, inner, x, drop)
    }

    pub(crate) fn linears_mut(&mut self) -> [&mut Linear; 4] {
        [&mut self.qkv, &mut self.attention_output, &mut self.intermediate, &mut self.output]
    }
}

/// Where BERT's checkpoints hold a field of a layer, below the layer's own name.
pub(in crate::encoder) fn layer_field(field: &str) -> &'static [&'static str] {
    match field {
        "qkv" => &["attention.self.query", "attention.self.key", "attention.self.value"],
        "attention_output" => &["attention.output.dense"],
        "attention_norm" => &["attention.output.LayerNorm"],
        "intermediate" => &["intermediate.dense"],
        "output" => &["output.dense"],
        "output_norm" => &["output.LayerNorm"],
        other => unreachable!("a layer has no field {other}"),
    }
}
