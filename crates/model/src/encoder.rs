//! The encoders, one architecture a file: a packed batch into one vector per token.

pub mod albert;
pub mod bert;
pub mod deberta;
pub mod distilbert;
pub mod electra;
pub mod modernbert;
pub mod roberta;

mod architecture;
mod post_norm;
mod pre_norm;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::decoder::Decoder;
use crate::dropout_seeds::DropoutSeeds;
use crate::input::Input;
use crate::layer::Linear;
use crate::split::Split;
pub(crate) use architecture::{Architecture, Draw, activation, check_dropouts};
use deberta::Deberta;
pub use post_norm::PostNorm;
pub use pre_norm::PreNorm;

const NOT_SPLIT: &str = "a DeBERTa is not split: configurations are checked";

/// An encoder of any supported architecture.
#[derive(Module, Debug)]
pub enum Encoder {
    /// BERT and those built like it.
    Bert(PostNorm),
    /// ModernBERT.
    ModernBert(PreNorm),
    /// DeBERTa-v2 and v3.
    Deberta(Deberta),
    /// Llama and those built like it.
    Decoder(Decoder),
}

impl Encoder {
    /// Returns the hidden states after the embeddings and after every layer: `[tokens, hidden]` each.
    #[must_use]
    pub fn hidden_states(&self, input: &Input, seeds: &mut DropoutSeeds) -> Vec<Tensor<2>> {
        match self {
            Self::Bert(encoder) => encoder.hidden_states(input, seeds),
            Self::ModernBert(encoder) => encoder.hidden_states(input, seeds),
            Self::Deberta(encoder) => encoder.hidden_states(input, seeds),
            Self::Decoder(decoder) => decoder.hidden_states(input, seeds),
        }
    }

    /// Returns what the head reads of every token: `[tokens, hidden]`.
    #[must_use]
    pub fn tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        match self {
            Self::Bert(encoder) => encoder.tokens(input, seeds),
            Self::ModernBert(encoder) => encoder.tokens(input, seeds),
            Self::Deberta(encoder) => encoder.tokens(input, seeds),
            Self::Decoder(decoder) => decoder.tokens(input, seeds),
        }
    }

    /// The same for the first token of every row alone, which is less work: `[rows, hidden]`.
    #[must_use]
    pub fn first_tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        match self {
            Self::Bert(encoder) => encoder.first_tokens(input, seeds),
            Self::ModernBert(encoder) => encoder.first_tokens(input, seeds),
            Self::Deberta(encoder) => encoder.first_tokens(input, seeds),
            Self::Decoder(decoder) => decoder.tokens_at(input, input.first_places(), seeds),
        }
    }

    /// The same for one token of each row, by its place among all tokens: `[rows, hidden]`.
    #[must_use]
    pub fn tokens_at(
        &self,
        input: &Input,
        places: Vec<usize>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        match self {
            Self::Decoder(decoder) => decoder.tokens_at(input, places, seeds),
            _ => self.tokens(input, seeds).select(0, input.places(&places)),
        }
    }

    /// How many layers a forward pass goes through; shared ones count every time.
    #[must_use]
    pub fn n_layers(&self) -> usize {
        match self {
            Self::Bert(encoder) => encoder.n_layers(),
            Self::ModernBert(encoder) => encoder.n_layers(),
            Self::Deberta(encoder) => encoder.n_layers(),
            Self::Decoder(decoder) => decoder.n_layers(),
        }
    }

    /// What the first layer reads: `[tokens, hidden]`.
    pub(crate) fn embed(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        match self {
            Self::Bert(encoder) => encoder.embed(input, seeds),
            Self::ModernBert(encoder) => encoder.embed(input, seeds),
            Self::Deberta(encoder) => encoder.embed(input, seeds),
            Self::Decoder(decoder) => decoder.embed(input, seeds),
        }
    }

    /// One layer: `[tokens, hidden]` to the same.
    pub(crate) fn layer(
        &self,
        index: usize,
        x: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        match self {
            Self::Bert(encoder) => encoder.layer(index, x, input, seeds),
            Self::ModernBert(encoder) => encoder.layer(index, x, input, seeds),
            Self::Deberta(encoder) => encoder.layer(index, x, input, seeds),
            Self::Decoder(decoder) => decoder.layer(index, x, input, seeds),
        }
    }

    /// What comes after the last layer, token by token.
    pub(crate) fn end(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Bert(_) | Self::Deberta(_) => x,
            Self::ModernBert(encoder) => encoder.final_norm(x),
            Self::Decoder(decoder) => decoder.end(x),
        }
    }

    /// Returns what is kept of every token below the split, each part of a row for itself:
    /// `[tokens, kept]`.
    ///
    /// # Panics
    /// When the encoder cannot be split.
    #[must_use]
    pub fn lower(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        match self {
            Self::Bert(encoder) => encoder.lower(input, seeds),
            Self::ModernBert(encoder) => encoder.lower(input, seeds),
            Self::Deberta(_) | Self::Decoder(_) => panic!("{NOT_SPLIT}"),
        }
    }

    /// Returns what the head reads of the first token of every row, from what was kept below the
    /// split: `[rows, hidden]`.
    ///
    /// # Panics
    /// When the encoder cannot be split.
    #[must_use]
    pub fn upper(&self, kept: Tensor<2>, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        match self {
            Self::Bert(encoder) => encoder.upper(kept, input, seeds),
            Self::ModernBert(encoder) => encoder.upper(kept, input, seeds),
            Self::Deberta(_) | Self::Decoder(_) => panic!("{NOT_SPLIT}"),
        }
    }

    /// Gets ready to compute the last layer for first tokens alone, where there is a faster way.
    pub(crate) fn pack_first_token(&mut self) {
        if let Self::Bert(encoder) = self {
            encoder.pack_first_token();
        }
    }

    /// The split, where the encoder can have one.
    pub(crate) fn split_mut(&mut self) -> Option<&mut Split> {
        match self {
            Self::Bert(encoder) => Some(encoder.split_mut()),
            Self::ModernBert(encoder) => Some(encoder.split_mut()),
            Self::Deberta(_) | Self::Decoder(_) => None,
        }
    }

    /// Computes once what follows from weights alone, which must not change afterwards.
    pub(crate) fn settle(&mut self) {
        if let Self::Deberta(encoder) = self {
            encoder.keep_positions();
        }
    }

    /// All linear maps, to be packed.
    pub(crate) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        match self {
            Self::Bert(encoder) => encoder.linears_mut(),
            Self::ModernBert(encoder) => encoder.linears_mut(),
            Self::Deberta(encoder) => encoder.linears_mut(),
            Self::Decoder(decoder) => decoder.linears_mut(),
        }
    }
}
