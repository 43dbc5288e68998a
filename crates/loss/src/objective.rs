//! The losses by name, and the weighted sum of them that a recipe asks for.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::{Bce, KlDivergence, Lce, MarginMse, Mse};

/// Every loss of this crate, under its name in a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Loss {
    /// `lce`
    Lce(Lce),
    /// `bce`
    Bce(Bce),
    /// `mse`
    Mse(Mse),
    /// `margin-mse`
    MarginMse(MarginMse),
    /// `kl`
    #[serde(rename = "kl")]
    KlDivergence(KlDivergence),
}

impl Loss {
    /// Returns the loss of a batch: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        match self {
            Self::Lce(loss) => loss.forward(input),
            Self::Bce(loss) => loss.forward(input),
            Self::Mse(loss) => loss.forward(input),
            Self::MarginMse(loss) => loss.forward(input),
            Self::KlDivergence(loss) => loss.forward(input),
        }
    }

    /// Whether it reads teacher scores.
    #[must_use]
    pub fn needs_teacher(&self) -> bool {
        matches!(self, Self::MarginMse(_) | Self::KlDivergence(_))
    }

    /// What is wrong with its parameters, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let positive = |name: &str, value: f64| {
            (!value.is_finite() || value <= 0.0)
                .then(|| format!("{name} must be above 0, found `{value}`"))
        };
        match self {
            Self::Lce(loss) => positive("temperature", loss.temperature),
            Self::Bce(loss) => positive("pos_weight", loss.pos_weight),
            Self::Mse(_) | Self::MarginMse(_) => None,
            Self::KlDivergence(loss) => positive("temperature", loss.temperature)
                .or_else(|| positive("teacher_temperature", loss.teacher_temperature)),
        }
    }
}

/// One loss and how much it counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// The loss.
    #[serde(flatten)]
    pub loss: Loss,
    /// Its factor in the sum.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// A weighted sum of losses: what training minimises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Objective {
    /// At least one term.
    pub terms: Vec<Term>,
}

impl Objective {
    /// One loss alone.
    #[must_use]
    pub fn single(loss: Loss) -> Self {
        Self { terms: vec![Term { loss, weight: 1.0 }] }
    }

    /// Returns the weighted sum: `[1]`.
    ///
    /// # Panics
    /// When there is no term.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        self.terms
            .iter()
            .map(|term| term.loss.forward(input) * term.weight)
            .reduce(|sum, term| sum + term)
            .expect("an objective has at least one term")
    }

    /// Whether any term reads teacher scores.
    #[must_use]
    pub fn needs_teacher(&self) -> bool {
        self.terms.iter().any(|term| term.loss.needs_teacher())
    }
}
