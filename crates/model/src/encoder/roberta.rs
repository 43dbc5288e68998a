//! RoBERTa, XLM-RoBERTa and CamemBERT: BERT with positions that begin after the padding token's id,
//! and a head without a pooler.

use burn::tensor::Device;

use super::Encoder;
use super::architecture::{Architecture, Draw};
use super::bert::{BertConfig, bert_tensors};
use super::post_norm::{Positions, PostNorm};
use crate::head::HeadShape;
use crate::layer::Activation;

/// The keys of `config.json` that shape a RoBERTa: those of BERT.
#[derive(Debug, Clone, PartialEq)]
pub struct RobertaConfig {
    /// Which of the family it is, which only names its class.
    pub family: RobertaFamily,
    /// The numbers. Positions begin one after `pad_token_id`, whose default here is 1.
    pub bert: BertConfig,
}

/// Architectures that differ in their names alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RobertaFamily {
    /// `roberta`
    Roberta,
    /// `xlm-roberta`
    XlmRoberta,
    /// `camembert`
    Camembert,
}

impl Architecture for RobertaConfig {
    fn class(&self) -> &'static str {
        match self.family {
            RobertaFamily::Roberta => "RobertaForSequenceClassification",
            RobertaFamily::XlmRoberta => "XLMRobertaForSequenceClassification",
            RobertaFamily::Camembert => "CamembertForSequenceClassification",
        }
    }

    fn prefix(&self) -> &'static str {
        "roberta"
    }

    fn check(&self) -> Result<(), String> {
        let (table, pad_id) = (self.bert.max_position_embeddings, self.bert.pad_token_id);
        if table <= pad_id as usize + 1 {
            return Err(format!(
                "max_position_embeddings `{table}` leaves no position after pad_token_id `{pad_id}`"
            ));
        }
        self.bert.check()
    }

    fn encoder(&self, device: &Device) -> Encoder {
        let mut shape = self.bert.shape();
        let table = self.bert.max_position_embeddings;
        shape.positions = Some(Positions { table, pad_id: Some(self.bert.pad_token_id) });
        Encoder::Bert(PostNorm::zeros(&shape, device))
    }

    fn head_shape(&self) -> Option<HeadShape> {
        let dropout = self.bert.head_dropout();
        let head = HeadShape::first_token(self.bert.hidden_size, Activation::Tanh, dropout);
        Some(HeadShape { dropout_before: Some(dropout), ..head })
    }

    fn encoder_tensors(&self, path: &[&str]) -> Vec<String> {
        bert_tensors(path)
    }

    fn head_tensor(&self, path: &[&str]) -> String {
        classifier_tensor(path)
    }

    fn leaves_out(&self, name: &str) -> bool {
        // Early versions of the class had a pooler that nothing read.
        name.starts_with("roberta.pooler.")
    }

    fn n_words(&self) -> usize {
        self.bert.vocab_size
    }

    fn n_layers(&self) -> Option<usize> {
        Some(self.bert.num_hidden_layers)
    }

    fn max_positions(&self) -> usize {
        self.bert.max_position_embeddings - self.bert.pad_token_id as usize - 1
    }

    fn draw(&self, path: &[&str]) -> Draw {
        self.bert.draw(path)
    }
}

/// Where checkpoints hold a head that is one module of its own.
pub(super) fn classifier_tensor(path: &[&str]) -> String {
    match path {
        ["pooler", tensor] => format!("classifier.dense.{tensor}"),
        ["classifier", tensor] => format!("classifier.out_proj.{tensor}"),
        other => unreachable!("a head has no parameter {other:?}"),
    }
}
