//! Squared error of every candidate by itself.

use burn::tensor::{Tensor, activation::sigmoid};
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::masked;

/// What is compared with the label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// The score itself; labels have any range.
    #[default]
    Logit,
    /// `σ(score)`; labels are in `[0, 1]` (RAG-Retrieval's `point_mse`).
    Sigmoid,
}

/// Mean squared error between scores and labels, the mean over candidates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mse {
    /// What is compared with the label.
    pub space: Space,
}

impl Mse {
    /// Returns the mean over candidates: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        let predicted = match self.space {
            Space::Logit => input.scores(),
            Space::Sigmoid => sigmoid(input.scores()),
        };
        masked::mean((predicted - input.labels()).square(), input.mask())
    }
}
