//! What a configuration says of a decoder: its shape, and what reads its last states.

use burn::tensor::Device;
use serde_json::{Map, Value};

pub use super::family::Family;
use super::keys::DecoderKeys;
use super::{Decoder, DecoderShape};
use crate::encoder::{Architecture, Draw, Encoder};
use crate::head::{Answers, ExitHeads, ExitShape, Head, LastTokenHead, Pooling};

/// The configuration of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    family: Family,
    shape: DecoderShape,
    reads: Reads,
    /// Whether the rows of the language-model head are the word vectors.
    ties_words: bool,
    max_positions: usize,
    padding: Option<u32>,
    deviation: f64,
    /// Where set, a logit becomes `cap * tanh(logit / cap)`.
    logit_cap: Option<f32>,
    /// What logits of words are divided by.
    logit_divisor: f32,
}

/// What makes scores of the last states.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reads {
    /// A sequence-classification head.
    Labels,
    /// The rows of one or two words in the language-model head.
    Answers(Answers),
    /// One row per exit.
    Exits(ExitShape),
}

/// What becomes of the logits of words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WordLogits {
    /// Where set, a logit becomes `cap * tanh(logit / cap)`.
    pub(crate) cap: Option<f32>,
    /// What logits are divided by before.
    pub(crate) divisor: f32,
}

/// What the published code of a family does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    /// Whether all tokens count alike when they are merged.
    pub(crate) merges_alike: bool,
    /// Whether heads are taken in the order in which exits were asked for.
    pub(crate) heads_as_asked: bool,
    /// The token that fills rows.
    pub(crate) padding: u32,
}

impl DecoderConfig {
    /// Reads the keys of a family.
    ///
    /// # Errors
    /// The key, its value and what was expected.
    pub(crate) fn parse(raw: &Map<String, Value>, family: Family) -> Result<Self, String> {
        let mut keys: DecoderKeys = crate::config::parse(raw)?;
        // A key that says null is not one that says nothing: it switches the cap or window off.
        let is_absent = |key: &str| !raw.contains_key(key);
        if matches!(family, Family::Gemma2 | Family::CostWiseGemma) {
            if is_absent("attn_logit_softcapping") {
                keys.attn_logit_softcapping = Some(50.0);
            }
            if is_absent("final_logit_softcapping") {
                keys.final_logit_softcapping = Some(30.0);
            }
            if is_absent("sliding_window") {
                keys.sliding_window = Some(4096);
            }
        }
        let shape = family.shape(&keys)?;
        let class = raw.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str);
        let reads = match exits(&keys, family)? {
            Some(exits) => Reads::Exits(exits),
            None if class.is_some_and(|class| class.ends_with("ForCausalLM")) => {
                Reads::Answers(Answers::unknown())
            }
            None => Reads::Labels,
        };
        let logit_divisor = match keys.dim_model_base {
            Some(base) if family == Family::MiniCpm => (keys.hidden_size as f64 / base) as f32,
            _ => 1.0,
        };
        Ok(Self {
            family,
            reads,
            ties_words: keys.tie_word_embeddings.unwrap_or(family.ties_words()),
            max_positions: keys.max_positions(),
            padding: keys.pad_token_id,
            deviation: keys.initializer_range.unwrap_or(0.02),
            logit_cap: keys.final_logit_softcapping,
            logit_divisor,
            shape,
        })
    }

    /// What makes scores of the last states.
    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The name of the template that such models were trained with.
    pub(crate) fn default_template(&self) -> Option<&'static str> {
        match (&self.reads, self.family) {
            (Reads::Labels, _) => None,
            (Reads::Answers(_), _) | (_, Family::MiniCpm) => Some("bge"),
            (Reads::Exits(_), _) => Some("bge-predict"),
        }
    }

    /// What becomes of the logits of words, if words answer.
    pub(crate) fn word_logits(&self) -> Option<WordLogits> {
        let words = WordLogits { cap: self.logit_cap, divisor: self.logit_divisor };
        matches!(self.reads, Reads::Answers(_)).then_some(words)
    }

    /// What the published code of the family does.
    pub(crate) fn published(&self) -> Published {
        Published {
            merges_alike: self.family == Family::CostWiseGemma,
            heads_as_asked: self.family == Family::MiniCpm,
            padding: self.padding.unwrap_or(0),
        }
    }

    /// The same with other readers.
    pub(crate) fn reading(self, reads: Reads) -> Self {
        Self { reads, ..self }
    }
}

/// The exits of a layer-wise model.
fn exits(keys: &DecoderKeys, family: Family) -> Result<Option<ExitShape>, String> {
    let says_heads = family == Family::MiniCpm && keys.head_multi.is_some();
    let is_layer_wise = says_heads || keys.layer_wise == Some(true);
    if !is_layer_wise {
        return Ok(None);
    }
    let n_layers = keys.num_hidden_layers;
    let start = keys.start_layer.unwrap_or(n_layers);
    let step = keys.layer_sep.unwrap_or(1);
    if step == 0 || start == 0 || start > n_layers {
        return Err(format!(
            "expected start_layer from 1 to num_hidden_layers `{n_layers}` and layer_sep above 0, found \
             `{start}` and `{step}`"
        ));
    }
    if family == Family::MiniCpm
        && let Some(kind @ ("raw" | "complex")) = keys.head_type.as_deref()
    {
        return Err(format!("head_type: expected `simple`, found `{kind}`"));
    }
    let is_shared = family == Family::MiniCpm && keys.head_multi == Some(false);
    Ok(Some(ExitShape { start, step, n_layers, is_shared }))
}

impl Architecture for DecoderConfig {
    fn class(&self) -> &'static str {
        self.family.class(self.reads != Reads::Labels)
    }

    fn prefix(&self) -> &'static str {
        "model"
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn encoder(&self, device: &Device) -> Encoder {
        Encoder::Decoder(Decoder::zeros(&self.shape, self.published(), device))
    }

    fn hidden(&self) -> usize {
        self.shape.hidden
    }

    fn head(&self, n_labels: usize, device: &Device) -> Head {
        let hidden = self.shape.hidden;
        match &self.reads {
            Reads::Labels => {
                let pooling = Pooling::Last { padding: self.padding };
                Head::Last(LastTokenHead::zeros(hidden, n_labels, pooling, device))
            }
            Reads::Answers(answers) => {
                let pooling = Pooling::Last { padding: None };
                let n = answers.n(self.shape.n_words);
                let head = LastTokenHead::zeros(hidden, n, pooling, device);
                let among_all = answers.among_all.then_some(answers.yes as usize);
                Head::Last(head.of_words(self.logit_cap, self.logit_divisor, among_all))
            }
            Reads::Exits(exits) => {
                Head::Exits(ExitHeads::zeros(hidden, exits, self.logit_cap, device))
            }
        }
    }

    fn encoder_tensors(&self, path: &[&str]) -> Vec<String> {
        match path {
            ["word_embeddings", tensor] => vec![format!("embed_tokens.{tensor}")],
            ["final_norm", tensor] => vec![format!("norm.{tensor}")],
            ["layers", layer, field, tensor] => {
                let fields: &[&str] = match *field {
                    "attention_norm" => &["input_layernorm"],
                    "qkv" => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                    "query_norm" => &["self_attn.q_norm"],
                    "key_norm" => &["self_attn.k_norm"],
                    "attention_output" => &["self_attn.o_proj"],
                    "attention_post_norm" => &["post_attention_layernorm"],
                    "inner_norm" if self.shape.has_post_norms => &["pre_feedforward_layernorm"],
                    "inner_norm" => &["post_attention_layernorm"],
                    "intermediate" => &["mlp.gate_proj", "mlp.up_proj"],
                    "output" => &["mlp.down_proj"],
                    "inner_post_norm" => &["post_feedforward_layernorm"],
                    other => unreachable!("a layer has no field {other}"),
                };
                let name = |field: &&str| format!("layers.{layer}.{field}.{tensor}");
                fields.iter().map(name).collect()
            }
            other => unreachable!("a decoder has no parameter {other:?}"),
        }
    }

    fn shares(&self, path: &[&str]) -> Option<Vec<usize>> {
        matches!(path, ["layers", _, "qkv", _]).then(|| self.shape.qkv_shares())
    }

    fn head_tensor(&self, path: &[&str]) -> String {
        match (&self.reads, path) {
            (Reads::Labels, ["classifier", tensor]) => format!("score.{tensor}"),
            (Reads::Answers(_), ["classifier", tensor]) if self.ties_words => {
                format!("model.embed_tokens.{tensor}")
            }
            (Reads::Answers(_), ["classifier", tensor]) => format!("lm_head.{tensor}"),
            (Reads::Exits(exits), ["heads", _, tensor]) if exits.is_shared => {
                format!("lm_head.linear_head.{tensor}")
            }
            (Reads::Exits(_), ["heads", place, tensor]) => {
                format!("lm_head.{place}.linear_head.{tensor}")
            }
            (_, other) => unreachable!("a head has no parameter {other:?}"),
        }
    }

    fn head_rows(&self) -> Option<Vec<usize>> {
        match &self.reads {
            Reads::Answers(answers) => answers.rows(),
            Reads::Labels | Reads::Exits(_) => None,
        }
    }

    fn leaves_out(&self, name: &str) -> bool {
        let is_unread_head = name == "lm_head.weight" && self.ties_words;
        is_unread_head || name.ends_with("rotary_emb.inv_freq")
    }

    fn n_words(&self) -> usize {
        self.shape.n_words
    }

    fn max_positions(&self) -> usize {
        self.max_positions
    }

    fn draw(&self, _: &[&str]) -> Draw {
        Draw::normal(self.deviation)
    }
}
