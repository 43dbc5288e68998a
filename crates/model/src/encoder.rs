//! The encoders, one architecture a file: a packed batch into one vector per token.

pub mod bert;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::config::EncoderConfig;
use crate::dropout_seeds::DropoutSeeds;
use crate::input::Input;
use crate::layer::Linear;
use bert::Bert;

/// An encoder of any supported architecture.
#[derive(Module, Debug)]
pub enum Encoder {
    /// BERT and everything with its `model_type`, MiniLM among them.
    Bert(Bert),
}

impl Encoder {
    /// The architecture with all weights zero, to be filled.
    #[must_use]
    pub fn zeros(config: &EncoderConfig, device: &Device) -> Self {
        let EncoderConfig::Bert(config) = config;
        Self::Bert(Bert::zeros(config, device))
    }

    /// Returns the hidden states after the embeddings and after every layer: `[tokens, hidden]` each.
    #[must_use]
    pub fn hidden_states(&self, input: &Input, seeds: &mut DropoutSeeds) -> Vec<Tensor<2>> {
        let Self::Bert(bert) = self;
        bert.hidden_states(input, seeds)
    }

    /// Returns the last hidden state of the first token of every row: `[rows, hidden]`.
    #[must_use]
    pub fn first_tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let Self::Bert(bert) = self;
        bert.first_tokens(input, seeds)
    }

    /// All linear maps, to be packed.
    pub(crate) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let Self::Bert(bert) = self;
        bert.linears_mut()
    }
}
