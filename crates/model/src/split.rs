//! The layers in which query and document are read apart, and what is kept between them and the rest.

mod principal;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tamis_ops::Rows;

use crate::input::Input;
use crate::layer::{Activation, LayerNorm, Linear};

/// The constant under the root of the compressor's norm.
const EPSILON: f32 = 1e-12;

/// How an encoder is split.
///
/// # Source
/// MacAvaney et al. 2020, "Efficient Document Re-Ranking for Transformers by Precomputing Term
/// Representations" (PreTTR), section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitConfig {
    /// Layers in which a token sees its own part of the row only; 0 for none, as in any
    /// cross-encoder.
    pub join_layer: usize,
    /// What narrows hidden states between those layers and the rest.
    pub compressor: Option<CompressorConfig>,
    /// What a head of its own makes a score of.
    pub score: SplitScore,
}

/// What a split encoder's own head makes a score of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitScore {
    /// The first token of the row, as in PreTTR.
    #[default]
    FirstToken,
    /// The first tokens of both parts, as in BERT_Dot.
    Dot,
    /// All tokens of both parts, as in ColBERT.
    MaxSim,
}

impl SplitScore {
    /// The name of the class in `config.json`.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::FirstToken => "PreTTR",
            Self::Dot => "BERT_Dot",
            Self::MaxSim => "ColBERT",
        }
    }

    /// The class that a `config.json` names.
    pub(crate) fn of_classes(classes: &[Value]) -> Option<Self> {
        let all = [Self::FirstToken, Self::Dot, Self::MaxSim];
        all.into_iter().find(|score| classes.iter().any(|class| class == score.class()))
    }

    /// Whether query and document never read each other.
    #[must_use]
    pub fn is_apart(self) -> bool {
        self != Self::FirstToken
    }
}

/// The shape of a [`Compressor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressorConfig {
    /// Values of a token.
    pub width: usize,
    /// Whether they are rounded to `f16`, as they are stored.
    pub is_half: bool,
}

impl SplitConfig {
    /// Reads the keys `join_layer_idx`, `compress_size` and `compress_fp16`; `None` without the first.
    pub(crate) fn parse(
        raw: &Map<String, Value>,
        score: SplitScore,
        n_layers: Option<usize>,
    ) -> Result<Option<Self>, String> {
        let number = |key: &str| match raw.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number as usize)),
                None => Err(format!("{key}: expected a number from 0, found `{value}`")),
            },
        };
        let width = number("compress_size")?.unwrap_or(0);
        let is_half = raw.get("compress_fp16").and_then(Value::as_bool).unwrap_or(false);
        let compressor = (width > 0).then_some(CompressorConfig { width, is_half });
        let join_layer = number("join_layer_idx")?;
        match if score.is_apart() { join_layer.or(n_layers) } else { join_layer } {
            Some(join_layer) => Ok(Some(Self { join_layer, compressor, score })),
            None if width > 0 => {
                Err(format!("compress_size `{width}`: expected join_layer_idx beside it"))
            }
            None => Ok(None),
        }
    }

    /// Writes the same keys.
    pub(crate) fn write(&self, raw: &mut Map<String, Value>) {
        raw.insert("join_layer_idx".to_owned(), json!(self.join_layer));
        raw.remove("compress_size");
        raw.remove("compress_fp16");
        if let Some(CompressorConfig { width, is_half }) = self.compressor {
            raw.insert("compress_size".to_owned(), json!(width));
            raw.insert("compress_fp16".to_owned(), json!(is_half));
        }
    }

    /// Why an encoder of so many layers (none: it cannot be split) is not split like this.
    pub(crate) fn check(&self, n_layers: Option<usize>) -> Result<(), String> {
        let Self { join_layer, compressor, score } = *self;
        let Some(n_layers) = n_layers else {
            let problem = "this architecture cannot be split, its positions are relative";
            return Err(format!("join_layer_idx `{join_layer}`: {problem}"));
        };
        if join_layer > n_layers {
            return Err(format!("join_layer_idx: expected 0 to {n_layers}, found `{join_layer}`"));
        }
        if score.is_apart() && (join_layer < n_layers || compressor.is_some()) {
            return Err(format!(
                "join_layer_idx `{join_layer}`: a {} has query and document apart in all {n_layers} \
                 layers, and no compressor",
                score.class()
            ));
        }
        if join_layer == 0 && compressor.is_some() {
            return Err("compress_size: expected join_layer_idx above 0, found `0`".to_owned());
        }
        Ok(())
    }
}

/// Hidden states into few values each, and back: `norm(W_up gelu(W_down x + b) + b')`.
///
/// # Source
/// MacAvaney et al. 2020 (as above), section 3.3.
#[derive(Module, Debug)]
pub struct Compressor {
    down: Linear,
    up: Linear,
    norm: LayerNorm,
    #[module(skip)]
    is_half: bool,
}

impl Compressor {
    /// All weights zero, to be filled.
    #[must_use]
    pub fn zeros(hidden: usize, config: CompressorConfig, device: &Device) -> Self {
        Self {
            down: Linear::zeros(hidden, config.width, device),
            up: Linear::zeros(config.width, hidden, device),
            norm: LayerNorm::identity(hidden, EPSILON, device),
            is_half: config.is_half,
        }
    }

    /// What is stored of every token.
    ///
    /// # Shapes
    /// - `x`: `[tokens, hidden]`
    /// - result: `[tokens, width]`
    #[must_use]
    pub fn compress(&self, x: Tensor<2>) -> Tensor<2> {
        let narrow = self.down.forward_activated(x, Activation::Gelu);
        if !self.is_half {
            return narrow;
        }
        let dtype = narrow.dtype();
        narrow.cast(DType::F16).cast(dtype)
    }

    /// What the next layer reads of it.
    ///
    /// # Shapes
    /// - `narrow`: `[tokens, width]`
    /// - result: `[tokens, hidden]`
    #[must_use]
    pub fn restore(&self, narrow: Tensor<2>) -> Tensor<2> {
        self.norm.forward(self.up.forward(narrow))
    }

    pub(crate) fn linears_mut(&mut self) -> [&mut Linear; 2] {
        [&mut self.down, &mut self.up]
    }
}

/// An encoder's own split: how many layers are apart, and the compressor after them.
#[derive(Module, Debug, Default)]
pub(crate) struct Split {
    compressor: Option<Compressor>,
    #[module(skip)]
    join_layer: usize,
}

impl Split {
    pub(crate) fn zeros(config: &SplitConfig, hidden: usize, device: &Device) -> Self {
        let compressor = config.compressor.map(|shape| Compressor::zeros(hidden, shape, device));
        Self { compressor, join_layer: config.join_layer }
    }

    /// Layers in which a token sees its own part only.
    pub(crate) fn join_layer(&self) -> usize {
        self.join_layer
    }

    pub(crate) fn set_join_layer(&mut self, join_layer: usize) {
        self.join_layer = join_layer;
    }

    /// The rows in which the tokens of a layer see each other.
    pub(crate) fn rows<'a>(&self, layer: usize, input: &'a Input) -> &'a Rows {
        if layer < self.join_layer { &input.parts } else { &input.rows }
    }

    /// What the next layer reads of a layer's output.
    pub(crate) fn after(&self, layer: usize, x: Tensor<2>) -> Tensor<2> {
        match &self.compressor {
            Some(compressor) if layer + 1 == self.join_layer => {
                compressor.restore(compressor.compress(x))
            }
            _ => x,
        }
    }

    /// Whether there is a compressor.
    pub(crate) fn compresses(&self) -> bool {
        self.compressor.is_some()
    }

    #[cfg(test)]
    pub(crate) fn remove_compressor(&mut self) {
        self.compressor = None;
    }

    /// What is kept of the layers below the split.
    pub(crate) fn compress(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.compressor {
            Some(compressor) => compressor.compress(x),
            None => x,
        }
    }

    /// What the layers above read of it.
    pub(crate) fn restore(&self, kept: Tensor<2>) -> Tensor<2> {
        match &self.compressor {
            Some(compressor) => compressor.restore(kept),
            None => kept,
        }
    }

    /// Puts a compressor there that begins with the directions in which `states` vary most.
    pub(crate) fn compress_like(&mut self, states: Tensor<2>, config: CompressorConfig) {
        self.compressor = Some(Compressor::principal(states, config));
    }

    pub(crate) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.compressor.iter_mut().flat_map(Compressor::linears_mut)
    }
}

/// Where a checkpoint holds a parameter of the compressor.
pub(crate) fn compressor_tensor(path: &[&str]) -> String {
    format!("compressor.{}", path.join("."))
}
