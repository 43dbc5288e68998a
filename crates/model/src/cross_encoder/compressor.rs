//! A cross-encoder with a compressor into what the compressor costs, and into one whose compressor alone
//! learns.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use tamis_data::Batch;

use super::CrossEncoder;
use crate::config::Config;
use crate::encoder::Encoder;
use crate::input::Input;
use crate::split::{CompressorConfig, SplitConfig};

impl CrossEncoder {
    /// Puts a compressor at the split that begins with the directions in which `states`, `[tokens, hidden]`, vary
    /// most: what is kept below the split, of a store without a compressor for instance. The model and its
    /// configuration.
    ///
    /// # Errors
    /// When the model is not split or has a compressor already, or when states are narrower or fewer than the values
    /// that are to be kept of each.
    pub fn with_principal_compressor(
        mut self,
        config: &Config,
        states: Tensor<2>,
        shape: CompressorConfig,
    ) -> Result<(Self, Config), String> {
        let Some(split) = config.split() else {
            return Err("expected a model that is split, found one that is not".to_owned());
        };
        if split.compressor.is_some() {
            return Err("expected a model without a compressor, found one with it".to_owned());
        }
        let [n, hidden] = states.dims();
        if shape.width == 0 || shape.width > hidden || n <= shape.width {
            return Err(format!(
                "width: expected 1 to {hidden} and less than the {n} tokens, found `{}`",
                shape.width
            ));
        }
        let split = SplitConfig { compressor: Some(shape), ..split };
        let config = config.clone().with_split(split, false)?;
        match &mut self.encoder {
            Encoder::Bert(encoder) => encoder.split_mut().compress_like(states, shape),
            Encoder::ModernBert(encoder) => encoder.split_mut().compress_like(states, shape),
            Encoder::Deberta(_) | Encoder::Decoder(_) => unreachable!("these cannot be split"),
        }
        Ok((self, config))
    }

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
