//! ELECTRA's discriminator: BERT with narrower embeddings and a head without a pooler.

use burn::tensor::Device;
use serde::Deserialize;

use super::Encoder;
use super::architecture::{Architecture, Draw};
use super::bert::{BertConfig, bert_tensors};
use super::post_norm::{PostNorm, Projection};
use super::roberta::classifier_tensor;
use crate::head::HeadShape;
use crate::layer::Activation;

/// The keys of `config.json` that shape an ELECTRA: those of BERT and one more.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ElectraConfig {
    /// The numbers of BERT.
    #[serde(flatten)]
    pub bert: BertConfig,
    /// Width of the embeddings.
    #[serde(default = "embedding_size")]
    pub embedding_size: usize,
}

/// transformers' own default.
fn embedding_size() -> usize {
    128
}

impl Architecture for ElectraConfig {
    fn class(&self) -> &'static str {
        "ElectraForSequenceClassification"
    }

    fn prefix(&self) -> &'static str {
        "electra"
    }

    fn check(&self) -> Result<(), String> {
        self.bert.check()
    }

    fn encoder(&self, device: &Device) -> Encoder {
        let mut shape = self.bert.shape();
        if self.embedding_size != self.bert.hidden_size {
            shape.embedding = self.embedding_size;
            shape.projection = Projection::AfterNorm;
        }
        Encoder::Bert(PostNorm::zeros(&shape, device))
    }

    fn head_shape(&self) -> Option<HeadShape> {
        let dropout = self.bert.head_dropout();
        let head = HeadShape::first_token(self.bert.hidden_size, Activation::Gelu, dropout);
        Some(HeadShape { dropout_before: Some(dropout), ..head })
    }

    fn encoder_tensors(&self, path: &[&str]) -> Vec<String> {
        bert_tensors(path)
    }

    fn head_tensor(&self, path: &[&str]) -> String {
        classifier_tensor(path)
    }

    fn n_words(&self) -> usize {
        self.bert.vocab_size
    }

    fn n_layers(&self) -> Option<usize> {
        Some(self.bert.num_hidden_layers)
    }

    fn max_positions(&self) -> usize {
        self.bert.max_position_embeddings
    }

    fn draw(&self, path: &[&str]) -> Draw {
        self.bert.draw(path)
    }
}
