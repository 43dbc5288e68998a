//! ALBERT: BERT with narrower embeddings and layers that share their weights.

use burn::tensor::Device;
use serde::Deserialize;

use super::Encoder;
use super::architecture::{
    Architecture, Draw, activation, check_dropouts, check_heads, checked_activation,
};
use super::post_norm::{LayerShape, Positions, PostNorm, PostNormShape, Projection};
use crate::head::HeadShape;
use crate::layer::Activation;

/// The keys of `config.json` that shape an ALBERT.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct AlbertConfig {
    /// Entries of the word table.
    pub vocab_size: usize,
    /// Width of the embeddings.
    pub embedding_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Steps of the forward pass.
    pub num_hidden_layers: usize,
    /// Groups of layers; a step goes through one group, and steps in a row share it.
    pub num_hidden_groups: usize,
    /// Layers of a group.
    pub inner_group_num: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Width between the two linear maps of a layer.
    pub intermediate_size: usize,
    /// The function between them.
    pub hidden_act: String,
    /// Dropout of embeddings and of what attention adds.
    pub hidden_dropout_prob: f32,
    /// Dropout of attention probabilities.
    pub attention_probs_dropout_prob: f32,
    /// Dropout before the classifier.
    pub classifier_dropout_prob: f32,
    /// Entries of the position table: the longest row.
    pub max_position_embeddings: usize,
    /// Entries of the segment table.
    pub type_vocab_size: usize,
    /// Standard deviation of newly drawn weights.
    pub initializer_range: f64,
    /// The constant under the root of layer norms.
    pub layer_norm_eps: f64,
    /// Only `absolute` is known.
    pub position_embedding_type: String,
}

impl Default for AlbertConfig {
    /// transformers' own.
    fn default() -> Self {
        Self {
            vocab_size: 30000,
            embedding_size: 128,
            hidden_size: 4096,
            num_hidden_layers: 12,
            num_hidden_groups: 1,
            inner_group_num: 1,
            num_attention_heads: 64,
            intermediate_size: 16384,
            hidden_act: "gelu_new".to_owned(),
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            classifier_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            position_embedding_type: "absolute".to_owned(),
        }
    }
}

impl AlbertConfig {
    /// The layers that the forward pass goes through, layers of a group beside each other.
    fn schedule(&self) -> Vec<usize> {
        let steps = 0..self.num_hidden_layers;
        steps
            .flat_map(|step| {
                let group = step * self.num_hidden_groups / self.num_hidden_layers;
                (0..self.inner_group_num).map(move |layer| group * self.inner_group_num + layer)
            })
            .collect()
    }
}

impl Architecture for AlbertConfig {
    fn class(&self) -> &'static str {
        "AlbertForSequenceClassification"
    }

    fn prefix(&self) -> &'static str {
        "albert"
    }

    fn check(&self) -> Result<(), String> {
        check_heads(
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
        )?;
        if self.num_hidden_groups == 0 || self.num_hidden_groups > self.num_hidden_layers {
            return Err(format!(
                "num_hidden_groups: expected 1 to num_hidden_layers `{}`, found `{}`",
                self.num_hidden_layers, self.num_hidden_groups
            ));
        }
        if self.position_embedding_type != "absolute" {
            return Err(format!(
                "position_embedding_type: expected `absolute`, found `{}`",
                self.position_embedding_type
            ));
        }
        check_dropouts(&[
            self.hidden_dropout_prob,
            self.attention_probs_dropout_prob,
            self.classifier_dropout_prob,
        ])?;
        activation("hidden_act", &self.hidden_act).map(|_| ())
    }

    fn encoder(&self, device: &Device) -> Encoder {
        let shape = PostNormShape {
            n_words: self.vocab_size,
            positions: Some(Positions { table: self.max_position_embeddings, pad_id: None }),
            n_segments: self.type_vocab_size,
            embedding: self.embedding_size,
            projection: Projection::AfterNorm,
            hidden: self.hidden_size,
            n_layers: self.num_hidden_groups * self.inner_group_num,
            schedule: self.schedule(),
            layer: LayerShape {
                n_heads: self.num_attention_heads,
                inner: self.intermediate_size,
                activation: checked_activation(&self.hidden_act),
                epsilon: self.layer_norm_eps,
                attention_dropout: self.attention_probs_dropout_prob,
                attended_dropout: Some(self.hidden_dropout_prob),
                output_dropout: None,
            },
            embedding_dropout: self.hidden_dropout_prob,
        };
        Encoder::Bert(PostNorm::zeros(&shape, device))
    }

    fn head_shape(&self) -> Option<HeadShape> {
        Some(HeadShape::first_token(
            self.hidden_size,
            Activation::Tanh,
            self.classifier_dropout_prob,
        ))
    }

    fn encoder_tensors(&self, path: &[&str]) -> Vec<String> {
        let [.., field, tensor] = path else {
            unreachable!("a post-norm encoder has no parameter {path:?}")
        };
        let ["layers", layer, ..] = path else {
            let name = match *field {
                "embedding_norm" => "embeddings.LayerNorm".to_owned(),
                "projection" => "encoder.embedding_hidden_mapping_in".to_owned(),
                table => format!("embeddings.{table}"),
            };
            return vec![format!("{name}.{tensor}")];
        };
        let layer: usize = layer.parse().expect("layers are numbered");
        let (group, inner) = (layer / self.inner_group_num, layer % self.inner_group_num);
        let names: &[&str] = match *field {
            "qkv" => &["attention.query", "attention.key", "attention.value"],
            "attention_output" => &["attention.dense"],
            "attention_norm" => &["attention.LayerNorm"],
            "intermediate" => &["ffn"],
            "output" => &["ffn_output"],
            "output_norm" => &["full_layer_layer_norm"],
            other => unreachable!("a layer has no field {other}"),
        };
        let layer = format!("encoder.albert_layer_groups.{group}.albert_layers.{inner}");
        names.iter().map(|name| format!("{layer}.{name}.{tensor}")).collect()
    }

    fn head_tensor(&self, path: &[&str]) -> String {
        match path {
            ["pooler", tensor] => format!("albert.pooler.{tensor}"),
            ["classifier", tensor] => format!("classifier.{tensor}"),
            other => unreachable!("a head has no parameter {other:?}"),
        }
    }

    fn n_words(&self) -> usize {
        self.vocab_size
    }

    fn n_layers(&self) -> Option<usize> {
        Some(self.num_hidden_layers * self.inner_group_num)
    }

    fn max_positions(&self) -> usize {
        self.max_position_embeddings
    }

    fn draw(&self, _path: &[&str]) -> Draw {
        Draw::normal(self.initializer_range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_in_a_row_share_a_group() {
        let config = AlbertConfig {
            num_hidden_layers: 5,
            num_hidden_groups: 2,
            inner_group_num: 2,
            ..AlbertConfig::default()
        };
        // transformers: group = int(step / (layers / groups)).
        assert_eq!(config.schedule(), [0, 1, 0, 1, 0, 1, 2, 3, 2, 3]);
    }
}
