//! ModernBERT: pre-norm layers with rotary positions, gated feed-forward blocks, and attention that
//! is local in most layers.

use burn::tensor::Device;
use serde::Deserialize;
use serde_json::Value;

use super::Encoder;
use super::architecture::{
    Architecture, Draw, activation, check_dropouts, check_heads, checked_activation,
};
use super::pre_norm::{PreNorm, PreNormShape};
use crate::head::{HeadShape, NormShape, Pooling};

/// The keys of `config.json` that shape a ModernBERT.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ModernBertConfig {
    /// Entries of the word table.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Width of the gated part of a feed-forward block.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// The function of the gated part.
    pub hidden_activation: String,
    /// The longest row; positions have no table.
    pub max_position_embeddings: usize,
    /// Standard deviation of newly drawn weights.
    pub initializer_range: f64,
    /// Newly drawn weights are at most so many deviations from 0.
    pub initializer_cutoff_factor: f64,
    /// The constant under the root of layer norms.
    pub norm_eps: f64,
    /// Whether layer norms shift.
    pub norm_bias: bool,
    /// Whether the linear maps of attention have biases.
    pub attention_bias: bool,
    /// Dropout of attention probabilities and of what attention adds.
    pub attention_dropout: f32,
    /// Every layer's `full_attention` or `sliding_attention`, if it is said layer by layer.
    pub layer_types: Option<Vec<String>>,
    /// Otherwise the first of so many layers is global.
    pub global_attn_every_n_layers: usize,
    /// The width of the window of local layers: half of it on either side.
    pub local_attention: usize,
    /// Rotary positions of either kind of layer, in the layout of transformers 5.
    pub rope_parameters: Option<Value>,
    /// The base of rotary positions in global layers.
    pub global_rope_theta: f64,
    /// The base of rotary positions in local layers.
    pub local_rope_theta: f64,
    /// Dropout of the embeddings.
    pub embedding_dropout: f32,
    /// Whether the linear maps of feed-forward blocks have biases.
    pub mlp_bias: bool,
    /// Dropout inside feed-forward blocks.
    pub mlp_dropout: f32,
    /// What the head reads: `cls`, the first token, or `mean`.
    pub classifier_pooling: String,
    /// Dropout before the classifier.
    pub classifier_dropout: f32,
    /// Whether the head's first linear map has a bias.
    pub classifier_bias: bool,
    /// The function after it.
    pub classifier_activation: String,
}

impl Default for ModernBertConfig {
    /// transformers' own.
    fn default() -> Self {
        Self {
            vocab_size: 50368,
            hidden_size: 768,
            intermediate_size: 1152,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            hidden_activation: "gelu".to_owned(),
            max_position_embeddings: 8192,
            initializer_range: 0.02,
            initializer_cutoff_factor: 2.0,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            attention_dropout: 0.0,
            layer_types: None,
            global_attn_every_n_layers: 3,
            local_attention: 128,
            rope_parameters: None,
            global_rope_theta: 160_000.0,
            local_rope_theta: 10_000.0,
            embedding_dropout: 0.0,
            mlp_bias: false,
            mlp_dropout: 0.0,
            classifier_pooling: "cls".to_owned(),
            classifier_dropout: 0.0,
            classifier_bias: false,
            classifier_activation: "gelu".to_owned(),
        }
    }
}

impl ModernBertConfig {
    /// Which layers are local.
    fn is_local(&self) -> Result<Vec<bool>, String> {
        let Some(types) = &self.layer_types else {
            let every = self.global_attn_every_n_layers;
            if every == 0 {
                return Err("global_attn_every_n_layers: expected 1 or more, found `0`".to_owned());
            }
            return Ok((0..self.num_hidden_layers).map(|layer| layer % every != 0).collect());
        };
        if types.len() != self.num_hidden_layers {
            return Err(format!(
                "layer_types: expected `{}` of them, found `{}`",
                self.num_hidden_layers,
                types.len()
            ));
        }
        let one = |name: &String| match name.as_str() {
            "full_attention" => Ok(false),
            "sliding_attention" => Ok(true),
            other => Err(format!(
                "layer_types: expected `full_attention` or `sliding_attention`, found `{other}`"
            )),
        };
        types.iter().map(one).collect()
    }

    /// The bases of rotary positions: global, local.
    fn thetas(&self) -> Result<[f64; 2], String> {
        let theta = |kind: &str, old: f64| {
            let parameters = self.rope_parameters.as_ref().and_then(|all| all.get(kind));
            let Some(parameters) = parameters.filter(|value| !value.is_null()) else {
                return Ok(old);
            };
            match parameters.get("rope_type").and_then(Value::as_str) {
                None | Some("default") => {
                    Ok(parameters.get("rope_theta").and_then(Value::as_f64).unwrap_or(old))
                }
                Some(other) => Err(format!("rope_type: expected `default`, found `{other}`")),
            }
        };
        Ok([
            theta("full_attention", self.global_rope_theta)?,
            theta("sliding_attention", self.local_rope_theta)?,
        ])
    }

    fn pooling(&self) -> Result<Pooling, String> {
        match self.classifier_pooling.as_str() {
            "cls" => Ok(Pooling::First),
            "mean" => Ok(Pooling::Mean),
            other => Err(format!("classifier_pooling: expected `cls` or `mean`, found `{other}`")),
        }
    }

    fn deviation(&self, path: &[&str]) -> f64 {
        let out = self.initializer_range / (2.0 * self.num_hidden_layers as f64).sqrt();
        match path {
            ["head", _, "classifier", _] => (self.hidden_size as f64).powf(-0.5),
            ["head", ..] | [.., "attention_output" | "output", _] => out,
            _ => self.initializer_range,
        }
    }
}

impl Architecture for ModernBertConfig {
    fn class(&self) -> &'static str {
        "ModernBertForSequenceClassification"
    }

    fn prefix(&self) -> &'static str {
        "model"
    }

    fn check(&self) -> Result<(), String> {
        check_heads(
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
        )?;
        if !(self.hidden_size / self.num_attention_heads).is_multiple_of(2) {
            return Err(format!(
                "hidden_size `{}` and num_attention_heads `{}` make an odd width of heads",
                self.hidden_size, self.num_attention_heads
            ));
        }
        check_dropouts(&[
            self.attention_dropout,
            self.embedding_dropout,
            self.mlp_dropout,
            self.classifier_dropout,
        ])?;
        activation("hidden_activation", &self.hidden_activation)?;
        activation("classifier_activation", &self.classifier_activation)?;
        self.is_local()?;
        self.thetas()?;
        self.pooling().map(|_| ())
    }

    fn encoder(&self, device: &Device) -> Encoder {
        let checked = "the configuration was checked";
        let [global_theta, local_theta] = self.thetas().expect(checked);
        let shape = PreNormShape {
            n_words: self.vocab_size,
            hidden: self.hidden_size,
            inner: self.intermediate_size,
            n_heads: self.num_attention_heads,
            is_local: self.is_local().expect(checked),
            reach: self.local_attention / 2,
            global_theta,
            local_theta,
            activation: checked_activation(&self.hidden_activation),
            epsilon: self.norm_eps,
            norm_bias: self.norm_bias,
            attention_bias: self.attention_bias,
            inner_bias: self.mlp_bias,
            embedding_dropout: self.embedding_dropout,
            attention_dropout: self.attention_dropout,
            inner_dropout: self.mlp_dropout,
        };
        Encoder::ModernBert(PreNorm::zeros(&shape, device))
    }

    fn head_shape(&self) -> Option<HeadShape> {
        Some(HeadShape {
            pooling: self.pooling().expect("the configuration was checked"),
            hidden: self.hidden_size,
            inner: self.hidden_size,
            bias: self.classifier_bias,
            dropout_before: None,
            activation: checked_activation(&self.classifier_activation),
            norm: Some(NormShape { epsilon: self.norm_eps, bias: self.norm_bias }),
            dropout_after: self.classifier_dropout,
        })
    }

    fn encoder_tensors(&self, path: &[&str]) -> Vec<String> {
        let name = match path {
            ["word_embeddings", tensor] => format!("embeddings.tok_embeddings.{tensor}"),
            ["embedding_norm", tensor] => format!("embeddings.norm.{tensor}"),
            ["final_norm", tensor] => format!("final_norm.{tensor}"),
            ["layers", layer, field, tensor] => {
                let field = match *field {
                    "attention_norm" => "attn_norm",
                    "qkv" => "attn.Wqkv",
                    "attention_output" => "attn.Wo",
                    "inner_norm" => "mlp_norm",
                    "intermediate" => "mlp.Wi",
                    "output" => "mlp.Wo",
                    other => unreachable!("a layer has no field {other}"),
                };
                format!("layers.{layer}.{field}.{tensor}")
            }
            other => unreachable!("a pre-norm encoder has no parameter {other:?}"),
        };
        vec![name]
    }

    fn head_tensor(&self, path: &[&str]) -> String {
        match path {
            ["pooler", tensor] => format!("head.dense.{tensor}"),
            ["norm", tensor] => format!("head.norm.{tensor}"),
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

    fn draw(&self, path: &[&str]) -> Draw {
        let deviation = self.deviation(path);
        Draw { deviation, cutoff: Some(self.initializer_cutoff_factor * deviation) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_local_by_list_or_by_rule() {
        let mut config = ModernBertConfig { num_hidden_layers: 4, ..ModernBertConfig::default() };
        assert_eq!(config.is_local().unwrap(), [false, true, true, false]);
        let types = ["sliding_attention", "full_attention", "full_attention", "full_attention"];
        config.layer_types = Some(types.map(str::to_owned).to_vec());
        assert_eq!(config.is_local().unwrap(), [true, false, false, false]);
        config.layer_types = Some(vec!["causal".to_owned(); 4]);
        assert!(config.is_local().unwrap_err().ends_with("found `causal`"));
        config.layer_types = Some(Vec::new());
        assert_eq!(config.is_local().unwrap_err(), "layer_types: expected `4` of them, found `0`");
    }

    #[test]
    fn rotary_bases_have_an_old_and_a_new_place() {
        let mut config = ModernBertConfig::default();
        assert_eq!(config.thetas().unwrap(), [160_000.0, 10_000.0]);
        config.rope_parameters = Some(serde_json::json!({
            "full_attention": {"rope_type": "default", "rope_theta": 5.0}, "sliding_attention": null
        }));
        assert_eq!(config.thetas().unwrap(), [5.0, 10_000.0]);
        config.rope_parameters =
            Some(serde_json::json!({"sliding_attention": {"rope_type": "yarn"}}));
        assert_eq!(config.thetas().unwrap_err(), "rope_type: expected `default`, found `yarn`");
    }
}
