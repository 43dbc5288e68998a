//! Decoders: a packed batch into one vector per token, each of which has seen the tokens before it.

pub mod config;

mod exits;
mod family;
mod keys;
mod layer;
mod prefix;
mod rope;
mod shape;
mod spans;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use tamis_ops::{Rotary, Rows};

use crate::cost::CostModel;
use crate::dropout_seeds::DropoutSeeds;
use crate::input::Input;
use crate::layer::{Embedding, Linear, RmsNorm};
use config::Published;
pub(crate) use exits::{Route, Stand, Weights};
use layer::DecoderLayer;
pub(crate) use prefix::Prefix;
pub(crate) use shape::DecoderShape;

/// A pre-norm transformer whose tokens see those before them.
///
/// # Source
/// Touvron et al. 2023, "LLaMA", section 2.2, and the families that are built like it. Weights and
/// numerics are those of `transformers`.
#[derive(Module, Debug)]
pub struct Decoder {
    word_embeddings: Embedding,
    layers: Vec<DecoderLayer>,
    final_norm: RmsNorm,
    #[module(skip)]
    shape: DecoderShape,
    #[module(skip)]
    published: Published,
}

/// What all layers need to know of a batch.
pub(crate) struct Pass<'a> {
    pub(crate) rows: &'a Rows,
    pub(crate) rotary: Rotary,
}

impl Decoder {
    /// The architecture with all weights zero, to be filled.
    #[must_use]
    pub(crate) fn zeros(shape: &DecoderShape, published: Published, device: &Device) -> Self {
        let layers = (0..shape.n_layers()).map(|index| DecoderLayer::zeros(shape, index, device));
        Self {
            word_embeddings: Embedding::zeros(shape.n_words, shape.hidden, device),
            layers: layers.collect(),
            final_norm: shape.norm(shape.hidden, device),
            shape: shape.clone(),
            published,
        }
    }

    /// The hidden states after the embeddings and after every layer, the last one normalised.
    pub(crate) fn hidden_states(&self, input: &Input, seeds: &mut DropoutSeeds) -> Vec<Tensor<2>> {
        let pass = self.pass(&input.rows);
        let mut states = vec![self.words(input.ids.clone())];
        for layer in &self.layers {
            let last = states[states.len() - 1].clone();
            states.push(layer.forward(last, &pass, seeds));
        }
        if let Some(last) = states.pop() {
            states.push(self.final_norm.forward(last));
        }
        states
    }

    /// What a head reads of every token: `[tokens, hidden]`.
    pub(crate) fn tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let pass = self.pass(&input.rows);
        let embedded = self.words(input.ids.clone());
        let x = self.layers.iter().fold(embedded, |x, layer| layer.forward(x, &pass, seeds));
        self.final_norm.forward(x)
    }

    /// The same for one token of every row: `[rows, hidden]`. The last layer is computed for them only,
    /// but for keys and values.
    pub(crate) fn tokens_at(
        &self,
        input: &Input,
        places: Vec<usize>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let chosen = |x: Tensor<2>| x.select(0, input.places(&places));
        let embedded = self.words(input.ids.clone());
        let Some((last, layers)) = self.layers.split_last() else {
            return self.final_norm.forward(chosen(embedded));
        };
        let pass = self.pass(&input.rows);
        let x = layers.iter().fold(embedded, |x, layer| layer.forward(x, &pass, seeds));
        let qkv = last.queries_keys_values(x.clone(), &pass);
        let context = last.attend_at(places.clone(), None, qkv, &pass, seeds);
        self.final_norm.forward(last.finish(context, chosen(x)))
    }

    /// How many layers there are.
    pub(crate) fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// What the first layer reads.
    pub(crate) fn embed(&self, input: &Input, _: &mut DropoutSeeds) -> Tensor<2> {
        self.words(input.ids.clone())
    }

    /// One layer.
    pub(crate) fn layer(
        &self,
        index: usize,
        x: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        self.layers[index].forward(x, &self.pass(&input.rows), seeds)
    }

    /// What comes after the last layer.
    pub(crate) fn end(&self, x: Tensor<2>) -> Tensor<2> {
        self.final_norm.forward(x)
    }

    /// What an effort costs.
    pub(crate) fn cost_model(&self) -> CostModel {
        CostModel::of(&self.shape)
    }

    /// What the published code of the family does.
    pub(crate) fn published(&self) -> Published {
        self.published
    }

    /// All linear maps, to be packed.
    pub(crate) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.layers.iter_mut().flat_map(DecoderLayer::linears_mut).collect()
    }

    /// The table of word vectors.
    pub(crate) fn words_mut(&mut self) -> &mut Embedding {
        &mut self.word_embeddings
    }

    fn words(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        let embedded = self.word_embeddings.forward(ids);
        match self.shape.embedding_scale {
            Some(scale) => embedded * scale,
            None => embedded,
        }
    }

    fn pass<'a>(&self, rows: &'a Rows) -> Pass<'a> {
        Pass { rows, rotary: self.shape.rotary(0, rows.longest()) }
    }
}
