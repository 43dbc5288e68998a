//! A cross-encoder with a compressor into what the compressor costs, and into one whose compressor alone
//! learns.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use tamis_data::Batch;

use super::CrossEncoder;
use crate::encoder::Encoder;
use crate::input::Input;

impl CrossEncoder {
    /// How far the compressor moves the attention of the layers above it, which is what it is trained to
    /// keep before anything else learns: the mean over layers, heads and pairs of tokens of `(A - A')²`,
    /// `A` without the compressor and `A'` with it. `[1]`, without dropout.
    ///
    /// `None` where there is no compressor, no layer above it, or the encoder is not one of BERT's kind.
    ///
    /// # Source
    /// MacAvaney et al. 2020, "Efficient Document Re-Ranking for Transformers by Precomputing Term
    /// Representations", section 3.3. Which layers and tokens count is not said there; here all do.
    #[must_use]
    pub fn attention_gap(&self, batch: &Batch, device: &Device) -> Option<Tensor<1>> {
        match &self.encoder {
            Encoder::Bert(encoder) => encoder.attention_gap(&Input::new(batch, device)),
            _ => None,
        }
    }

    /// Whether [`attention_gap`](Self::attention_gap) has something to compare.
    #[must_use]
    pub fn can_match_attention(&self) -> bool {
        matches!(&self.encoder, Encoder::Bert(encoder) if encoder.can_match_attention())
    }

    /// Freezes everything but the compressor: what is frozen has no gradient, and none is computed.
    #[must_use]
    pub fn learning_compressor(self) -> Self {
        self.map(&mut Freeze { depth: 0 })
    }

    /// Computes the last layer for all tokens, as an encoder does that is read at all of them: the same
    /// scores, and more work. It is there to be measured; encoders that are not of BERT's kind ignore it.
    #[must_use]
    pub fn with_whole_last_layer(mut self) -> Self {
        if let Encoder::Bert(encoder) = &mut self.encoder {
            encoder.compute_last_layer_whole();
        }
        self
    }
}

/// How many modules called `compressor` the walk is in.
struct Freeze {
    depth: usize,
}

impl ModuleMapper for Freeze {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.depth += usize::from(name == "compressor");
    }

    fn exit_module(&mut self, name: &str, _: &str) {
        self.depth -= usize::from(name == "compressor");
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.depth > 0 { param } else { param.no_grad() }
    }
}
