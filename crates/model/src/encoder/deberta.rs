//! DeBERTa-v2 and v3: post-norm layers whose attention weighs content against relative positions.

mod attention;
mod convolution;
mod padded_rows;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use tamis_ops::Rows;

use self::attention::{DebertaLayer, RelativeShape, Relatives};
use self::convolution::{Convolution, ConvolutionShape};
use super::Encoder;
use super::architecture::{
    Architecture, Draw, activation, check_dropouts, check_heads, checked_activation,
};
use super::post_norm::{LayerShape, layer_field};
use crate::dropout_seeds::DropoutSeeds;
use crate::head::HeadShape;
use crate::input::Input;
use crate::layer::{Embedding, LayerNorm, Linear};

/// The keys of `config.json` that shape a DeBERTa-v2 or v3.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct DebertaConfig {
    /// Entries of the word table.
    pub vocab_size: usize,
    /// Width of the embeddings; that of hidden states when absent.
    pub embedding_size: Option<usize>,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Width between the two linear maps of a layer.
    pub intermediate_size: usize,
    /// The function between them.
    pub hidden_act: String,
    /// Dropout of embeddings, of relative positions, and of the end of each block.
    pub hidden_dropout_prob: f32,
    /// Dropout of attention probabilities.
    pub attention_probs_dropout_prob: f32,
    /// The longest row.
    pub max_position_embeddings: usize,
    /// Entries of the segment table; 0 for none.
    pub type_vocab_size: usize,
    /// Standard deviation of newly drawn weights.
    pub initializer_range: f64,
    /// The constant under the root of layer norms.
    pub layer_norm_eps: f64,
    /// Whether attention sees relative positions.
    pub relative_attention: bool,
    /// The furthest relative position; below 1, `max_position_embeddings`.
    pub max_relative_positions: i64,
    /// Relative positions share so many buckets on either side; below 1, each has its own.
    pub position_buckets: i64,
    /// Whether embeddings include absolute positions.
    pub position_biased_input: bool,
    /// `c2p` (content to position), `p2c`, both or none; a list, or joined with `|`.
    pub pos_att_type: Kinds,
    /// Whether positions go through the projections of content.
    pub share_att_key: bool,
    /// `layer_norm` when relative positions are normalised, `none` when not.
    pub norm_rel_ebd: String,
    /// Places that the convolution beside the first layer sees; 0 for no convolution.
    pub conv_kernel_size: usize,
    /// Groups of the convolution.
    pub conv_groups: usize,
    /// The function after the convolution.
    pub conv_act: String,
    /// Width of the head; that of hidden states when absent.
    pub pooler_hidden_size: Option<usize>,
    /// Dropout of what the head reads.
    pub pooler_dropout: f32,
    /// The function of the head.
    pub pooler_hidden_act: String,
    /// Dropout before the classifier; that of hidden states when absent.
    pub cls_dropout: Option<f32>,
}

/// Kinds of attention, in either way of writing them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Kinds {
    /// `"c2p|p2c"`
    Joined(String),
    /// `["c2p", "p2c"]`
    List(Vec<String>),
}

impl Kinds {
    fn names(&self) -> Vec<String> {
        let names: Vec<&str> = match self {
            Self::Joined(names) => names.split('|').collect(),
            Self::List(names) => names.iter().map(String::as_str).collect(),
        };
        names.into_iter().map(|name| name.trim().to_lowercase()).filter(|n| !n.is_empty()).collect()
    }
}

impl Default for DebertaConfig {
    /// transformers' own.
    fn default() -> Self {
        Self {
            vocab_size: 128_100,
            embedding_size: None,
            hidden_size: 1536,
            num_hidden_layers: 24,
            num_attention_heads: 24,
            intermediate_size: 6144,
            hidden_act: "gelu".to_owned(),
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 0,
            initializer_range: 0.02,
            layer_norm_eps: 1e-7,
            relative_attention: false,
            max_relative_positions: -1,
            position_buckets: -1,
            position_biased_input: true,
            pos_att_type: Kinds::List(Vec::new()),
            share_att_key: false,
            norm_rel_ebd: "none".to_owned(),
            conv_kernel_size: 0,
            conv_groups: 1,
            conv_act: "tanh".to_owned(),
            pooler_hidden_size: None,
            pooler_dropout: 0.0,
            pooler_hidden_act: "gelu".to_owned(),
            cls_dropout: None,
        }
    }
}

impl DebertaConfig {
    fn has(&self, kind: &str) -> bool {
        self.pos_att_type.names().iter().any(|name| name == kind)
    }

    fn embedding(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    fn classifier_dropout(&self) -> f32 {
        self.cls_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    fn normalises_positions(&self) -> bool {
        self.norm_rel_ebd.to_lowercase().split('|').any(|name| name.trim() == "layer_norm")
    }

    fn relative(&self) -> RelativeShape {
        let furthest = match usize::try_from(self.max_relative_positions) {
            Ok(furthest) if furthest > 0 => furthest,
            _ => self.max_position_embeddings,
        };
        RelativeShape {
            furthest,
            n_buckets: usize::try_from(self.position_buckets).ok().filter(|&n| n > 0),
            content_to_position: self.has("c2p"),
            position_to_content: self.has("p2c"),
            shares_projections: self.share_att_key,
            is_on: self.relative_attention,
            dropout: self.hidden_dropout_prob,
        }
    }
}

/// A DeBERTa encoder.
///
/// # Source
/// He et al. 2021, "DeBERTa", section 3.1, and "DeBERTaV3". Weights and numerics are those of
/// `transformers`' `DebertaV2Model`.
#[derive(Module, Debug)]
pub struct Deberta {
    word_embeddings: Embedding,
    position_embeddings: Option<Embedding>,
    token_type_embeddings: Option<Embedding>,
    projection: Option<Linear>,
    embedding_norm: LayerNorm,
    relative_embeddings: Option<Embedding>,
    relative_norm: Option<LayerNorm>,
    layers: Vec<DebertaLayer>,
    convolution: Option<Convolution>,
    #[module(skip)]
    relative: RelativeShape,
    #[module(skip)]
    dropout: f32,
}

impl Deberta {
    fn zeros(config: &DebertaConfig, device: &Device) -> Self {
        let (hidden, embedding) = (config.hidden_size, config.embedding());
        let epsilon = config.layer_norm_eps as f32;
        let table = |n_ids| Embedding::zeros(n_ids, embedding, device);
        let relative = config.relative();
        let layer = LayerShape {
            n_heads: config.num_attention_heads,
            inner: config.intermediate_size,
            activation: checked_activation(&config.hidden_act),
            epsilon: config.layer_norm_eps,
            attention_dropout: config.attention_probs_dropout_prob,
            attended_dropout: Some(config.hidden_dropout_prob),
            output_dropout: Some(config.hidden_dropout_prob),
        };
        let convolution = ConvolutionShape {
            width: hidden,
            n_places: config.conv_kernel_size,
            n_groups: config.conv_groups,
            activation: checked_activation(&config.conv_act),
            epsilon,
            dropout: config.hidden_dropout_prob,
        };
        Self {
            word_embeddings: table(config.vocab_size),
            position_embeddings: config
                .position_biased_input
                .then(|| table(config.max_position_embeddings)),
            token_type_embeddings: (config.type_vocab_size > 0)
                .then(|| table(config.type_vocab_size)),
            projection: (embedding != hidden)
                .then(|| Linear::zeros_with(embedding, hidden, false, device)),
            embedding_norm: LayerNorm::identity(hidden, epsilon, device),
            relative_embeddings: relative
                .is_on
                .then(|| Embedding::zeros(2 * relative.span(), hidden, device)),
            relative_norm: config
                .normalises_positions()
                .then(|| LayerNorm::identity(hidden, epsilon, device)),
            layers: (0..config.num_hidden_layers)
                .map(|_| DebertaLayer::zeros(hidden, &layer, &relative, device))
                .collect(),
            convolution: (config.conv_kernel_size > 0)
                .then(|| Convolution::zeros(&convolution, device)),
            relative,
            dropout: config.hidden_dropout_prob,
        }
    }

    pub(super) fn hidden_states(&self, input: &Input, seeds: &mut DropoutSeeds) -> Vec<Tensor<2>> {
        let relatives = self.relatives(input);
        let mut states = vec![self.embed(input, seeds)];
        for index in 0..self.layers.len() {
            let last = states[index].clone();
            states.push(self.step(index, last, &input.rows, relatives.as_ref(), seeds));
        }
        states
    }

    pub(super) fn tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let relatives = self.relatives(input);
        let embedded = self.embed(input, seeds);
        (0..self.layers.len())
            .fold(embedded, |x, index| self.step(index, x, &input.rows, relatives.as_ref(), seeds))
    }

    /// The last layer is only computed where it is read: after its attention, for first tokens alone.
    pub(super) fn first_tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let first = |x: Tensor<2>| x.select(0, input.first_tokens.clone());
        let n_before = match self.layers.len() {
            0 => return first(self.embed(input, seeds)),
            // The convolution beside the first layer reads the neighbours of first tokens.
            1 if self.convolution.is_some() => return first(self.tokens(input, seeds)),
            n_layers => n_layers - 1,
        };
        let relatives = self.relatives(input);
        let embedded = self.embed(input, seeds);
        let x = (0..n_before)
            .fold(embedded, |x, index| self.step(index, x, &input.rows, relatives.as_ref(), seeds));
        let last = &self.layers[n_before];
        let context = last.context(x.clone(), &input.rows, relatives.as_ref(), seeds);
        last.finish(first(context), first(x), seeds)
    }

    pub(super) fn n_layers(&self) -> usize {
        self.layers.len()
    }

    pub(super) fn layer(
        &self,
        index: usize,
        x: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let relatives = self.relatives(input);
        self.step(index, x, &input.rows, relatives.as_ref(), seeds)
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let layers = self.layers.iter_mut().flat_map(DebertaLayer::linears_mut);
        self.projection.iter_mut().chain(layers).collect()
    }

    fn step(
        &self,
        index: usize,
        x: Tensor<2>,
        rows: &Rows,
        relatives: Option<&Relatives>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let layer = &self.layers[index];
        let context = layer.context(x.clone(), rows, relatives, seeds);
        let output = layer.finish(context, x.clone(), seeds);
        match &self.convolution {
            Some(convolution) if index == 0 => convolution.forward(x, output, rows, seeds),
            _ => output,
        }
    }

    pub(super) fn embed(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let mut sum = self.word_embeddings.forward(input.ids.clone());
        if let Some(table) = &self.position_embeddings {
            sum = sum + table.forward(input.positions.clone());
        }
        if let Some(table) = &self.token_type_embeddings {
            sum = sum + table.forward(input.type_ids.clone());
        }
        if let Some(projection) = &self.projection {
            sum = projection.forward(sum);
        }
        tamis_ops::dropout(self.embedding_norm.forward(sum), seeds.next(self.dropout))
    }

    /// The relative positions that the layers of one forward pass share.
    fn relatives(&self, input: &Input) -> Option<Relatives> {
        let embeddings = self.positions()?;
        Some(Relatives::new(embeddings, &self.relative, input.rows.longest()))
    }

    /// The embeddings of all relative positions: `[2 * span, hidden]`.
    fn positions(&self) -> Option<Tensor<2>> {
        let embeddings = self.relative_embeddings.as_ref()?.vectors();
        Some(match &self.relative_norm {
            Some(norm) => norm.forward(embeddings),
            None => embeddings,
        })
    }

    /// Lets every layer project its positions once for all, where its maps are packed.
    pub(super) fn keep_positions(&mut self) {
        if let Some(positions) = self.positions() {
            self.layers.iter_mut().for_each(|layer| layer.keep_positions(positions.clone()));
        }
    }
}

impl Architecture for DebertaConfig {
    fn class(&self) -> &'static str {
        "DebertaV2ForSequenceClassification"
    }

    fn prefix(&self) -> &'static str {
        "deberta"
    }

    fn check(&self) -> Result<(), String> {
        check_heads(
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
        )?;
        check_dropouts(&[
            self.hidden_dropout_prob,
            self.attention_probs_dropout_prob,
            self.pooler_dropout,
            self.classifier_dropout(),
        ])?;
        for (key, name) in [
            ("hidden_act", &self.hidden_act),
            ("pooler_hidden_act", &self.pooler_hidden_act),
            ("conv_act", &self.conv_act),
        ] {
            activation(key, name)?;
        }
        if let Some(kind) = self.pos_att_type.names().iter().find(|k| *k != "c2p" && *k != "p2c") {
            return Err(format!("pos_att_type: expected `c2p` or `p2c`, found `{kind}`"));
        }
        if self.conv_kernel_size > 0 && self.conv_kernel_size.is_multiple_of(2) {
            return Err(format!(
                "conv_kernel_size: expected an odd number, found `{}`",
                self.conv_kernel_size
            ));
        }
        if self.conv_groups == 0 || !self.hidden_size.is_multiple_of(self.conv_groups) {
            return Err(format!(
                "hidden_size `{}` is not a multiple of conv_groups `{}`",
                self.hidden_size, self.conv_groups
            ));
        }
        match self.pooler_hidden_size {
            Some(width) if width != self.hidden_size => Err(format!(
                "pooler_hidden_size: expected hidden_size `{}`, found `{width}`",
                self.hidden_size
            )),
            _ => Ok(()),
        }
    }

    fn encoder(&self, device: &Device) -> Encoder {
        Encoder::Deberta(Deberta::zeros(self, device))
    }

    fn head_shape(&self) -> Option<HeadShape> {
        let activation = checked_activation(&self.pooler_hidden_act);
        let head = HeadShape::first_token(self.hidden_size, activation, self.classifier_dropout());
        Some(HeadShape { dropout_before: Some(self.pooler_dropout), ..head })
    }

    fn encoder_tensors(&self, path: &[&str]) -> Vec<String> {
        let [.., tensor] = path else { unreachable!("a parameter has a path") };
        let names: Vec<String> = match path {
            ["layers", layer, place @ .., field, _] => {
                let fields: &[&str] = match (*field, place.is_empty()) {
                    ("qkv", _) => &[
                        "attention.self.query_proj",
                        "attention.self.key_proj",
                        "attention.self.value_proj",
                    ],
                    ("pos_key", true) => &["attention.self.pos_key_proj"],
                    ("pos_query", true) => &["attention.self.pos_query_proj"],
                    (other, _) => layer_field(other),
                };
                fields.iter().map(|field| format!("encoder.layer.{layer}.{field}")).collect()
            }
            ["embedding_norm", _] => vec!["embeddings.LayerNorm".to_owned()],
            ["projection", _] => vec!["embeddings.embed_proj".to_owned()],
            ["relative_embeddings", _] => vec!["encoder.rel_embeddings".to_owned()],
            ["relative_norm", _] => vec!["encoder.LayerNorm".to_owned()],
            ["convolution", "kernel", _] => vec!["encoder.conv.conv".to_owned()],
            ["convolution", "norm", _] => vec!["encoder.conv.LayerNorm".to_owned()],
            [table, _] => vec![format!("embeddings.{table}")],
            other => unreachable!("a DeBERTa has no parameter {other:?}"),
        };
        names.into_iter().map(|name| format!("{name}.{tensor}")).collect()
    }

    fn head_tensor(&self, path: &[&str]) -> String {
        match path {
            ["pooler", tensor] => format!("pooler.dense.{tensor}"),
            ["classifier", tensor] => format!("classifier.{tensor}"),
            other => unreachable!("a head has no parameter {other:?}"),
        }
    }

    fn leaves_out(&self, name: &str) -> bool {
        // Pretraining keeps a table of absolute positions that the encoder does not read.
        !self.position_biased_input && name.contains("embeddings.position_embeddings.")
    }

    fn n_words(&self) -> usize {
        self.vocab_size
    }

    fn max_positions(&self) -> usize {
        self.max_position_embeddings
    }

    fn draw(&self, _path: &[&str]) -> Draw {
        Draw::normal(self.initializer_range)
    }
}
