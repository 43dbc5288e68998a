//! BERT and everything with its `model_type`, MiniLM among them.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::Encoder;
use super::architecture::{
    Architecture, Draw, activation, check_dropouts, check_heads, checked_activation,
};
use super::post_norm::{LayerShape, Positions, PostNorm, PostNormShape, Projection, layer_field};
use crate::head::HeadShape;
use crate::layer::Activation;

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
    /// `gelu`, `gelu_new`, `relu`, `silu` or `tanh`.
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
    /// The encoder that these numbers make, without a projection.
    pub(super) fn shape(&self) -> PostNormShape {
        let positions = Positions { table: self.max_position_embeddings, pad_id: None };
        PostNormShape {
            n_words: self.vocab_size,
            positions: Some(positions),
            n_segments: self.type_vocab_size,
            embedding: self.hidden_size,
            projection: Projection::Absent,
            hidden: self.hidden_size,
            n_layers: self.num_hidden_layers,
            schedule: Vec::new(),
            layer: LayerShape {
                n_heads: self.num_attention_heads,
                inner: self.intermediate_size,
                activation: checked_activation(&self.hidden_act),
                epsilon: self.layer_norm_eps,
                attention_dropout: self.attention_probs_dropout_prob,
                attended_dropout: Some(self.hidden_dropout_prob),
                output_dropout: Some(self.hidden_dropout_prob),
            },
            embedding_dropout: self.hidden_dropout_prob,
        }
    }

    /// Dropout before the classifier.
    pub(super) fn head_dropout(&self) -> f32 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }
}

/// Where checkpoints of BERT and its like hold a parameter of the encoder, without the prefix.
pub(super) fn bert_tensors(path: &[&str]) -> Vec<String> {
    match path {
        ["layers", layer, field, tensor] => layer_field(field)
            .iter()
            .map(|name| format!("encoder.layer.{layer}.{name}.{tensor}"))
            .collect(),
        ["embedding_norm", tensor] => vec![format!("embeddings.LayerNorm.{tensor}")],
        ["projection", tensor] => vec![format!("embeddings_project.{tensor}")],
        [table, tensor] => vec![format!("embeddings.{table}.{tensor}")],
        other => unreachable!("a post-norm encoder has no parameter {other:?}"),
    }
}

impl Architecture for BertConfig {
    fn class(&self) -> &'static str {
        "BertForSequenceClassification"
    }

    fn prefix(&self) -> &'static str {
        "bert"
    }

    fn check(&self) -> Result<(), String> {
        check_heads(
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
        )?;
        if self.position_embedding_type != "absolute" {
            return Err(format!(
                "position_embedding_type: expected `absolute`, found `{}`",
                self.position_embedding_type
            ));
        }
        check_dropouts(&[
            self.hidden_dropout_prob,
            self.attention_probs_dropout_prob,
            self.head_dropout(),
        ])?;
        activation("hidden_act", &self.hidden_act).map(|_| ())
    }

    fn encoder(&self, device: &Device) -> Encoder {
        Encoder::Bert(PostNorm::zeros(&self.shape(), device))
    }

    fn head_shape(&self) -> Option<HeadShape> {
        Some(HeadShape::first_token(self.hidden_size, Activation::Tanh, self.head_dropout()))
    }

    fn encoder_tensors(&self, path: &[&str]) -> Vec<String> {
        bert_tensors(path)
    }

    fn head_tensor(&self, path: &[&str]) -> String {
        match path {
            ["pooler", tensor] => format!("bert.pooler.dense.{tensor}"),
            ["classifier", tensor] => format!("classifier.{tensor}"),
            other => unreachable!("a head has no parameter {other:?}"),
        }
    }

    fn n_words(&self) -> usize {
        self.vocab_size
    }

    fn n_layers(&self) -> Option<usize> {
        Some(self.num_hidden_layers)
    }

    fn max_positions(&self) -> usize {
        self.max_position_embeddings
    }

    fn draw(&self, _path: &[&str]) -> Draw {
        Draw::normal(self.initializer_range)
    }
}
