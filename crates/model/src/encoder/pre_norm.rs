//! A pre-norm transformer with rotary positions, gated feed-forward blocks and local attention.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use tamis_ops::{AttentionConfig, Rotary, Rows};

use crate::dropout_seeds::DropoutSeeds;
use crate::input::Input;
use crate::layer::{Activation, Embedding, LayerNorm, Linear};
use crate::split::Split;

/// What tells one pre-norm transformer from another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PreNormShape {
    pub(super) n_words: usize,
    /// Width of a hidden state.
    pub(super) hidden: usize,
    /// Width of the gated part of a feed-forward block.
    pub(super) inner: usize,
    pub(super) n_heads: usize,
    /// Which layers are local.
    pub(super) is_local: Vec<bool>,
    /// How far local layers see to either side.
    pub(super) reach: usize,
    /// The bases of rotary positions.
    pub(super) global_theta: f64,
    pub(super) local_theta: f64,
    pub(super) activation: Activation,
    /// The constant under the root of layer norms.
    pub(super) epsilon: f64,
    /// Which modules have biases.
    pub(super) norm_bias: bool,
    pub(super) attention_bias: bool,
    pub(super) inner_bias: bool,
    pub(super) embedding_dropout: f32,
    pub(super) attention_dropout: f32,
    pub(super) inner_dropout: f32,
}

/// A pre-norm transformer.
///
/// # Source
/// Warner et al. 2024, "Smarter, Better, Faster, Longer" (ModernBERT). Weights and numerics are those
/// of `transformers`' `ModernBertModel`.
#[derive(Module, Debug)]
pub struct PreNorm {
    word_embeddings: Embedding,
    embedding_norm: LayerNorm,
    layers: Vec<PreNormLayer>,
    final_norm: LayerNorm,
    split: Split,
    #[module(skip)]
    head: usize,
    #[module(skip)]
    reach: usize,
    #[module(skip)]
    thetas: [f64; 2],
    #[module(skip)]
    dropout: f32,
}

#[derive(Module, Debug)]
struct PreNormLayer {
    attention_norm: Option<LayerNorm>,
    qkv: Linear,
    attention_output: Linear,
    inner_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    #[module(skip)]
    is_local: bool,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    attention_dropout: f32,
    #[module(skip)]
    inner_dropout: f32,
}

/// What the layers of one forward pass share.
struct Pass<'a> {
    input: &'a Input,
    global: Rotary,
    local: Rotary,
    /// How far local layers see to either side.
    reach: usize,
}

impl PreNorm {
    /// The architecture with all weights zero, to be filled.
    pub(super) fn zeros(shape: &PreNormShape, device: &Device) -> Self {
        let epsilon = shape.epsilon as f32;
        let norm = || LayerNorm::identity_with(shape.hidden, epsilon, shape.norm_bias, device);
        let layer = |index: usize| PreNormLayer {
            // The first layer reads the embeddings, which have just been normalised.
            attention_norm: (index > 0).then(norm),
            qkv: Linear::zeros_with(shape.hidden, 3 * shape.hidden, shape.attention_bias, device),
            // No norm follows: what its rounding adds stays in the sum to the end. It is a twelfth of
            // the products, and with it in bfloat16 the logits drift twice as far.
            attention_output: Linear::zeros_with(
                shape.hidden,
                shape.hidden,
                shape.attention_bias,
                device,
            )
            .sensitive(),
            inner_norm: norm(),
            intermediate: Linear::zeros_with(
                shape.hidden,
                2 * shape.inner,
                shape.inner_bias,
                device,
            ),
            output: Linear::zeros_with(shape.inner, shape.hidden, shape.inner_bias, device),
            is_local: shape.is_local[index],
            n_heads: shape.n_heads,
            activation: shape.activation,
            attention_dropout: shape.attention_dropout,
            inner_dropout: shape.inner_dropout,
        };
        Self {
            word_embeddings: Embedding::zeros(shape.n_words, shape.hidden, device),
            embedding_norm: norm(),
            layers: (0..shape.is_local.len()).map(layer).collect(),
            final_norm: norm(),
            split: Split::default(),
            head: shape.hidden / shape.n_heads,
            reach: shape.reach,
            thetas: [shape.global_theta, shape.local_theta],
            dropout: shape.embedding_dropout,
        }
    }

    /// The last of them is what comes before the final norm.
    pub(super) fn hidden_states(&self, input: &Input, seeds: &mut DropoutSeeds) -> Vec<Tensor<2>> {
        let pass = self.pass(input);
        let mut states = vec![self.embed(input, seeds)];
        for index in 0..self.layers.len() {
            let last = states[states.len() - 1].clone();
            states.push(self.step(index, last, &pass, seeds));
        }
        states
    }

    pub(super) fn tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let pass = self.pass(input);
        let embedded = self.embed(input, seeds);
        let steps = 0..self.layers.len();
        self.final_norm.forward(steps.fold(embedded, |x, index| self.step(index, x, &pass, seeds)))
    }

    pub(super) fn first_tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let embedded = self.embed(input, seeds);
        self.first_tokens_from(0, embedded, input, seeds)
    }

    /// What is kept of every token below the split: `[tokens, kept]`.
    pub(super) fn lower(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let pass = self.pass(input);
        let mut x = self.embed(input, seeds);
        for index in 0..self.split.join_layer() {
            x = self.layers[index].forward(x, &pass, self.split.rows(index, input), seeds);
        }
        self.split.compress(x)
    }

    /// The first token of every row above the split, of what was kept: `[rows, hidden]`.
    pub(super) fn upper(
        &self,
        kept: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        self.first_tokens_from(self.split.join_layer(), self.split.restore(kept), input, seeds)
    }

    pub(super) fn n_layers(&self) -> usize {
        self.layers.len()
    }

    pub(super) fn layer(
        &self,
        index: usize,
        x: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        self.step(index, x, &self.pass(input), seeds)
    }

    pub(super) fn final_norm(&self, x: Tensor<2>) -> Tensor<2> {
        self.final_norm.forward(x)
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let layers = self.layers.iter_mut().flat_map(PreNormLayer::linears_mut);
        layers.chain(self.split.linears_mut()).collect()
    }

    pub(crate) fn split_mut(&mut self) -> &mut Split {
        &mut self.split
    }

    /// The last layer is only computed where it is read: after its attention, for first tokens alone.
    fn first_tokens_from(
        &self,
        step: usize,
        x: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let first = |x: Tensor<2>| x.select(0, input.first_tokens.clone());
        let n_layers = self.layers.len();
        if step == n_layers {
            return self.final_norm.forward(first(x));
        }
        let pass = self.pass(input);
        let x = (step..n_layers - 1).fold(x, |x, index| self.step(index, x, &pass, seeds));
        let last = &self.layers[n_layers - 1];
        let rows = self.split.rows(n_layers - 1, input);
        let context = last.context(x.clone(), &pass, rows, seeds);
        let x = last.finish(first(context), first(x), seeds);
        self.final_norm.forward(self.split.after(n_layers - 1, x))
    }

    fn step(
        &self,
        index: usize,
        x: Tensor<2>,
        pass: &Pass<'_>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let x = self.layers[index].forward(x, pass, self.split.rows(index, pass.input), seeds);
        self.split.after(index, x)
    }

    pub(super) fn embed(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let embedded = self.word_embeddings.forward(input.ids.clone());
        tamis_ops::dropout(self.embedding_norm.forward(embedded), seeds.next(self.dropout))
    }

    fn pass<'a>(&self, input: &'a Input) -> Pass<'a> {
        let [global, local] =
            self.thetas.map(|theta| angles(theta, self.head, input.rows.longest()));
        Pass { input, global, local, reach: self.reach }
    }
}

/// The angles of heads of a width, for a base.
fn angles(theta: f64, head: usize, n_places: usize) -> Rotary {
    // Rounded where transformers rounds, so that angles agree to the last bit.
    let frequencies: Vec<f32> = (0..head)
        .step_by(2)
        .map(|i| 1.0 / theta.powf(f64::from(i as f32 / head as f32)) as f32)
        .collect();
    Rotary::new(&frequencies, n_places, 1.0)
}

impl PreNormLayer {
    fn linears_mut(&mut self) -> [&mut Linear; 4] {
        [&mut self.qkv, &mut self.attention_output, &mut self.intermediate, &mut self.output]
    }

    fn forward(
        &self,
        x: Tensor<2>,
        pass: &Pass<'_>,
        rows: &Rows,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let context = self.context(x.clone(), pass, rows, seeds);
        self.finish(context, x, seeds)
    }

    /// What every token gathers from its row: `[tokens, hidden]`.
    fn context(
        &self,
        x: Tensor<2>,
        pass: &Pass<'_>,
        rows: &Rows,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let normal = match &self.attention_norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let rotary = if self.is_local { &pass.local } else { &pass.global };
        // Queries and keys are turned, values are not.
        let qkv = self.qkv.forward(normal);
        let qkv = tamis_ops::rotary(qkv, rows, rotary, 2 * self.n_heads);
        let dropout = seeds.next(self.attention_dropout);
        let config = AttentionConfig::bidirectional(self.n_heads, qkv.dims()[1] / 3 / self.n_heads);
        let config = if self.is_local { config.within(pass.reach) } else { config };
        tamis_ops::attention(qkv, rows, config, dropout)
    }

    /// Everything after attention, token by token: `[tokens, hidden]`, or any rows of it.
    fn finish(&self, context: Tensor<2>, x: Tensor<2>, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let attended = self.attention_output.forward(context);
        let x = x + tamis_ops::dropout(attended, seeds.next(self.attention_dropout));
        let normed = self.inner_norm.forward(x.clone());
        let gated = self.intermediate.forward_gated(normed, self.activation);
        let dropped = tamis_ops::dropout(gated, seeds.next(self.inner_dropout));
        x + self.output.forward(dropped)
    }
}
