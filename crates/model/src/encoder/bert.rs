//! BERT: embeddings of words, positions and segments, then post-norm transformer layers.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::dropout_seeds::DropoutSeeds;
use crate::input::Input;
use crate::layer::{Activation, Embedding, LayerNorm, Linear};

/// The keys of `config.json` that shape a BERT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Entries of the word table.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Width between the two linear maps of a layer.
    pub intermediate_size: usize,
    /// `gelu`, `gelu_new`, `relu` or `silu`.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Dropout of embeddings and of the end of each block.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f32,
    /// Dropout of attention probabilities.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f32,
    /// Dropout before the classifier; that of hidden states when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier_dropout: Option<f32>,
    /// Entries of the position table: the longest row.
    #[serde(default = "positions")]
    pub max_position_embeddings: usize,
    /// Entries of the segment table.
    #[serde(default = "segments")]
    pub type_vocab_size: usize,
    /// Standard deviation of newly drawn weights.
    #[serde(default = "range")]
    pub initializer_range: f64,
    /// The constant under the root of layer norms.
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f64,
    /// Only `absolute` is known.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
    /// The id that fills padded batches; kept for other readers of the file.
    #[serde(default)]
    pub pad_token_id: u32,
}

// The defaults are transformers' own.
fn gelu() -> String {
    "gelu".to_owned()
}
fn absolute() -> String {
    "absolute".to_owned()
}
fn tenth() -> f32 {
    0.1
}
fn positions() -> usize {
    512
}
fn segments() -> usize {
    2
}
fn range() -> f64 {
    0.02
}
fn epsilon() -> f64 {
    1e-12
}

impl BertConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.num_attention_heads == 0
            || !self.hidden_size.is_multiple_of(self.num_attention_heads)
        {
            return Err(format!(
                "hidden_size `{}` is not a multiple of num_attention_heads `{}`",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if self.position_embedding_type != "absolute" {
            return Err(format!(
                "position_embedding_type: expected `absolute`, found `{}`",
                self.position_embedding_type
            ));
        }
        let dropouts = [self.hidden_dropout_prob, self.attention_probs_dropout_prob];
        if let Some(bad) = dropouts.iter().find(|p| !(0.0..1.0).contains(*p)) {
            return Err(format!("dropout: expected a number from 0 to below 1, found `{bad}`"));
        }
        self.activation().map(|_| ())
    }

    pub(crate) fn activation(&self) -> Result<Activation, String> {
        serde_json::from_value(serde_json::Value::String(self.hidden_act.clone())).map_err(|_| {
            format!(
                "hidden_act: expected `gelu`, `gelu_new`, `relu` or `silu`, found `{}`",
                self.hidden_act
            )
        })
    }
}

/// A BERT encoder.
///
/// # Source
/// Devlin et al. 2019, "BERT". Weights and numerics are those of `transformers`' `BertModel`.
/// Differs: rows are packed instead of padded, and the three projections of attention are one
/// matrix; a checkpoint on disk has them apart.
#[derive(Module, Debug)]
pub struct Bert {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    embedding_norm: LayerNorm,
    layers: Vec<BertLayer>,
    #[module(skip)]
    hidden_dropout: f32,
}

#[derive(Module, Debug)]
struct BertLayer {
    qkv: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    attention_dropout: f32,
    #[module(skip)]
    hidden_dropout: f32,
}

impl Bert {
    /// The architecture with all weights zero, to be filled.
    ///
    /// # Panics
    /// When the configuration was not checked; [`Config::read`](crate::Config::read) does that.
    #[must_use]
    pub fn zeros(config: &BertConfig, device: &Device) -> Self {
        let width = config.hidden_size;
        let norm = || LayerNorm::identity(width, config.layer_norm_eps as f32, device);
        let table = |n_ids| Embedding::zeros(n_ids, width, device);
        Self {
            word_embeddings: table(config.vocab_size),
            position_embeddings: table(config.max_position_embeddings),
            token_type_embeddings: table(config.type_vocab_size),
            embedding_norm: norm(),
            layers: (0..config.num_hidden_layers)
                .map(|_| BertLayer::zeros(config, device))
                .collect(),
            hidden_dropout: config.hidden_dropout_prob,
        }
    }

    /// Returns the hidden states after the embeddings and after every layer: `[tokens, hidden]` each.
    #[must_use]
    pub fn hidden_states(&self, input: &Input, seeds: &mut DropoutSeeds) -> Vec<Tensor<2>> {
        let mut states = vec![self.embed(input, seeds)];
        for layer in &self.layers {
            let last = states[states.len() - 1].clone();
            states.push(layer.forward(last, input, seeds));
        }
        states
    }

    /// Returns the last hidden state of the first token of every row: `[rows, hidden]`.
    ///
    /// The last layer is only computed where it is read: after its attention, for first tokens alone.
    #[must_use]
    pub fn first_tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let first = |x: Tensor<2>| x.select(0, input.first_tokens.clone());
        let embedded = self.embed(input, seeds);
        let Some((last, layers)) = self.layers.split_last() else { return first(embedded) };
        let x = layers.iter().fold(embedded, |x, layer| layer.forward(x, input, seeds));
        let context = last.context(x.clone(), input, seeds);
        last.finish(first(context), first(x), seeds)
    }

    fn embed(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let sum = self.word_embeddings.forward(input.ids.clone())
            + self.token_type_embeddings.forward(input.type_ids.clone())
            + self.position_embeddings.forward(input.positions.clone());
        let dropout = seeds.next(self.hidden_dropout);
        tamis_ops::dropout(self.embedding_norm.forward(sum), dropout)
    }

    /// All linear maps, to be packed.
    pub(crate) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.layers.iter_mut().flat_map(BertLayer::linears_mut).collect()
    }

    /// The names under which a checkpoint holds a parameter of this module, to be joined along the
    /// outputs. The path is that of the module's fields.
    pub(crate) fn tensor_names(path: &[&str]) -> Vec<String> {
        let name = |base: &str, tensor: &str| format!("{base}.{tensor}");
        match path {
            ["layers", layer, block, tensor] => {
                let layer = format!("encoder.layer.{layer}");
                let one = |block: &str| vec![name(&format!("{layer}.{block}"), tensor)];
                match *block {
                    "qkv" => ["query", "key", "value"]
                        .iter()
                        .map(|part| name(&format!("{layer}.attention.self.{part}"), tensor))
                        .collect(),
                    "attention_output" => one("attention.output.dense"),
                    "attention_norm" => one("attention.output.LayerNorm"),
                    "intermediate" => one("intermediate.dense"),
                    "output" => one("output.dense"),
                    "output_norm" => one("output.LayerNorm"),
                    other => unreachable!("BertLayer has no field {other}"),
                }
            }
            ["embedding_norm", tensor] => vec![name("embeddings.LayerNorm", tensor)],
            [table, tensor] => vec![name(&format!("embeddings.{table}"), tensor)],
            other => unreachable!("Bert has no parameter {other:?}"),
        }
    }
}

impl BertLayer {
    fn zeros(config: &BertConfig, device: &Device) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let norm = || LayerNorm::identity(width, config.layer_norm_eps as f32, device);
        Self {
            qkv: Linear::zeros(width, 3 * width, device),
            attention_output: Linear::zeros(width, width, device),
            attention_norm: norm(),
            intermediate: Linear::zeros(width, inner, device),
            output: Linear::zeros(inner, width, device),
            output_norm: norm(),
            n_heads: config.num_attention_heads,
            activation: config.activation().expect("the configuration was checked"),
            attention_dropout: config.attention_probs_dropout_prob,
            hidden_dropout: config.hidden_dropout_prob,
        }
    }

    fn linears_mut(&mut self) -> [&mut Linear; 4] {
        [&mut self.qkv, &mut self.attention_output, &mut self.intermediate, &mut self.output]
    }

    fn forward(&self, x: Tensor<2>, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let context = self.context(x.clone(), input, seeds);
        self.finish(context, x, seeds)
    }

    /// What every token gathers from its row: `[tokens, hidden]`.
    fn context(&self, x: Tensor<2>, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let qkv = self.qkv.forward(x);
        let dropout = seeds.next(self.attention_dropout);
        tamis_ops::attention(qkv, &input.rows, self.n_heads, dropout)
    }

    /// Everything after attention, token by token: `[tokens, hidden]`, or any rows of it.
    fn finish(&self, context: Tensor<2>, x: Tensor<2>, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let drop = seeds.next(self.hidden_dropout);
        let x = self.attention_norm.forward_block(&self.attention_output, context, x, drop);
        let inner = self.intermediate.forward_activated(x.clone(), self.activation);
        let drop = seeds.next(self.hidden_dropout);
        self.output_norm.forward_block(&self.output, inner, x, drop)
    }
}
