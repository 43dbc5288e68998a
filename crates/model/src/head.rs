//! Classification heads: the first token's hidden state into one logit per label.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::config::{Config, EncoderConfig};
use crate::dropout_seeds::DropoutSeeds;
use crate::layer::Linear;

/// A head of any supported architecture.
#[derive(Module, Debug)]
pub enum Head {
    /// BERT's pooler (dense, tanh), dropout and classifier.
    Bert(BertHead),
}

/// `tanh(W h + b)`, dropout, then a linear map to the labels.
#[derive(Module, Debug)]
pub struct BertHead {
    pooler: Linear,
    classifier: Linear,
    #[module(skip)]
    dropout: f32,
}

impl Head {
    /// The head with all weights zero, to be filled.
    #[must_use]
    pub fn zeros(config: &Config, device: &Device) -> Self {
        let EncoderConfig::Bert(bert) = &config.encoder;
        Self::Bert(BertHead {
            pooler: Linear::zeros(bert.hidden_size, bert.hidden_size, device),
            classifier: Linear::zeros(bert.hidden_size, config.n_labels, device),
            dropout: bert.classifier_dropout.unwrap_or(bert.hidden_dropout_prob),
        })
    }

    /// # Shapes
    /// - `first`: `[rows, hidden]`, the hidden states of first tokens
    /// - result: `[rows, labels]`
    #[must_use]
    pub fn forward(&self, first: Tensor<2>, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let Self::Bert(head) = self;
        let pooled = head.pooler.forward(first).tanh();
        head.classifier.forward(tamis_ops::dropout(pooled, seeds.next(head.dropout)))
    }

    /// All linear maps, to be packed.
    pub(crate) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let Self::Bert(head) = self;
        vec![&mut head.pooler, &mut head.classifier]
    }

    /// The name under which a checkpoint holds a parameter of this module.
    pub(crate) fn tensor_name(path: &[&str]) -> String {
        match path {
            ["pooler", tensor] => format!("pooler.dense.{tensor}"),
            ["classifier", tensor] => format!("classifier.{tensor}"),
            other => unreachable!("BertHead has no parameter {other:?}"),
        }
    }
}
