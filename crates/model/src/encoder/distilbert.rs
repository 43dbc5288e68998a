//! DistilBERT: BERT without segments and pooler, under names of its own.

use burn::tensor::Device;
use serde::Deserialize;

use super::Encoder;
use super::architecture::{
    Architecture, Draw, activation, check_dropouts, check_heads, checked_activation,
};
use super::post_norm::{LayerShape, Positions, PostNorm, PostNormShape, Projection};
use crate::head::HeadShape;
use crate::layer::Activation;

/// The keys of `config.json` that shape a DistilBERT.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct DistilBertConfig {
    /// Entries of the word table.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub dim: usize,
    /// Layers.
    pub n_layers: usize,
    /// Heads of each attention.
    pub n_heads: usize,
    /// Width between the two linear maps of a layer.
    pub hidden_dim: usize,
    /// The function between them.
    pub activation: String,
    /// Dropout of embeddings and of feed-forward blocks.
    pub dropout: f32,
    /// Dropout of attention probabilities.
    pub attention_dropout: f32,
    /// Dropout before the classifier.
    pub seq_classif_dropout: f32,
    /// Entries of the position table: the longest row. Sinusoidal positions are a table too.
    pub max_position_embeddings: usize,
    /// Standard deviation of newly drawn weights.
    pub initializer_range: f64,
}

impl Default for DistilBertConfig {
    /// transformers' own.
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            dim: 768,
            n_layers: 6,
            n_heads: 12,
            hidden_dim: 4 * 768,
            activation: "gelu".to_owned(),
            dropout: 0.1,
            attention_dropout: 0.1,
            seq_classif_dropout: 0.2,
            max_position_embeddings: 512,
            initializer_range: 0.02,
        }
    }
}

impl Architecture for DistilBertConfig {
    fn class(&self) -> &'static str {
        "DistilBertForSequenceClassification"
    }

    fn prefix(&self) -> &'static str {
        "distilbert"
    }

    fn check(&self) -> Result<(), String> {
        check_heads(("dim", self.dim), ("n_heads", self.n_heads))?;
        check_dropouts(&[self.dropout, self.attention_dropout, self.seq_classif_dropout])?;
        activation("activation", &self.activation).map(|_| ())
    }

    fn encoder(&self, device: &Device) -> Encoder {
        let shape = PostNormShape {
            n_words: self.vocab_size,
            positions: Some(Positions { table: self.max_position_embeddings, pad_id: None }),
            n_segments: 0,
            embedding: self.dim,
            projection: Projection::Absent,
            hidden: self.dim,
            n_layers: self.n_layers,
            schedule: Vec::new(),
            layer: LayerShape {
                n_heads: self.n_heads,
                inner: self.hidden_dim,
                activation: checked_activation(&self.activation),
                epsilon: 1e-12,
                attention_dropout: self.attention_dropout,
                attended_dropout: None,
                output_dropout: Some(self.dropout),
            },
            embedding_dropout: self.dropout,
        };
        Encoder::Bert(PostNorm::zeros(&shape, device))
    }

    fn head_shape(&self) -> Option<HeadShape> {
        Some(HeadShape::first_token(self.dim, Activation::Relu, self.seq_classif_dropout))
    }

    fn encoder_tensors(&self, path: &[&str]) -> Vec<String> {
        let fields: &[&str] = match path {
            ["layers", _, field, _] => match *field {
                "qkv" => &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
                "attention_output" => &["attention.out_lin"],
                "attention_norm" => &["sa_layer_norm"],
                "intermediate" => &["ffn.lin1"],
                "output" => &["ffn.lin2"],
                "output_norm" => &["output_layer_norm"],
                other => unreachable!("a layer has no field {other}"),
            },
            ["embedding_norm", _] => &["LayerNorm"],
            [table, _] => &[*table],
            other => unreachable!("a post-norm encoder has no parameter {other:?}"),
        };
        let tensor = path[path.len() - 1];
        let place = match path {
            ["layers", layer, ..] => format!("transformer.layer.{layer}"),
            _ => "embeddings".to_owned(),
        };
        fields.iter().map(|field| format!("{place}.{field}.{tensor}")).collect()
    }

    fn head_tensor(&self, path: &[&str]) -> String {
        match path {
            ["pooler", tensor] => format!("pre_classifier.{tensor}"),
            ["classifier", tensor] => format!("classifier.{tensor}"),
            other => unreachable!("a head has no parameter {other:?}"),
        }
    }

    fn n_words(&self) -> usize {
        self.vocab_size
    }

    fn n_layers(&self) -> Option<usize> {
        Some(self.n_layers)
    }

    fn max_positions(&self) -> usize {
        self.max_position_embeddings
    }

    fn draw(&self, _path: &[&str]) -> Draw {
        Draw::normal(self.initializer_range)
    }
}
