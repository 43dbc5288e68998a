//! The losses by name, and the weighted sum of them that a recipe asks for.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::{
    AdrMse, ApproxMrr, ApproxNdcg, Bce, CrossEntropy, Hinge, KlDivergence, LambdaLoss, Lce,
    ListMle, ListNet, MarginMse, Mse, MultipleNegatives, PListMle, Pearson, RankNet, Space,
};

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
    /// `cross-entropy`
    CrossEntropy(CrossEntropy),
    /// `margin-mse`
    MarginMse(MarginMse),
    /// `kl`
    #[serde(rename = "kl")]
    KlDivergence(KlDivergence),
    /// `ranknet`
    #[serde(rename = "ranknet")]
    RankNet(RankNet),
    /// `lambda`
    #[serde(rename = "lambda")]
    LambdaLoss(LambdaLoss),
    /// `hinge`
    Hinge(Hinge),
    /// `listnet`
    #[serde(rename = "listnet")]
    ListNet(ListNet),
    /// `listmle`
    #[serde(rename = "listmle")]
    ListMle(ListMle),
    /// `p-listmle`
    #[serde(rename = "p-listmle")]
    PListMle(PListMle),
    /// `approx-ndcg`
    ApproxNdcg(ApproxNdcg),
    /// `approx-mrr`
    ApproxMrr(ApproxMrr),
    /// `adr-mse`
    AdrMse(AdrMse),
    /// `multiple-negatives`
    MultipleNegatives(MultipleNegatives),
    /// `pearson`
    Pearson(Pearson),
}

impl Loss {
    /// Every loss with its default parameters.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::Lce(Lce::default()),
            Self::CrossEntropy(CrossEntropy::default()),
            Self::MultipleNegatives(MultipleNegatives::default()),
            Self::Bce(Bce::default()),
            Self::Mse(Mse::default()),
            Self::RankNet(RankNet::default()),
            Self::LambdaLoss(LambdaLoss::default()),
            Self::Hinge(Hinge::default()),
            Self::ListNet(ListNet::default()),
            Self::ListMle(ListMle::default()),
            Self::PListMle(PListMle::default()),
            Self::ApproxNdcg(ApproxNdcg::default()),
            Self::ApproxMrr(ApproxMrr::default()),
            Self::AdrMse(AdrMse::default()),
            Self::Pearson(Pearson::default()),
            Self::MarginMse(MarginMse::default()),
            Self::KlDivergence(KlDivergence::default()),
        ]
    }

    /// Returns the loss of a batch: `[1]`.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        match self {
            Self::Lce(loss) => loss.forward(input),
            Self::Bce(loss) => loss.forward(input),
            Self::Mse(loss) => loss.forward(input),
            Self::CrossEntropy(loss) => loss.forward(input),
            Self::MarginMse(loss) => loss.forward(input),
            Self::KlDivergence(loss) => loss.forward(input),
            Self::RankNet(loss) => loss.forward(input),
            Self::LambdaLoss(loss) => loss.forward(input),
            Self::Hinge(loss) => loss.forward(input),
            Self::ListNet(loss) => loss.forward(input),
            Self::ListMle(loss) => loss.forward(input),
            Self::PListMle(loss) => loss.forward(input),
            Self::ApproxNdcg(loss) => loss.forward(input),
            Self::ApproxMrr(loss) => loss.forward(input),
            Self::AdrMse(loss) => loss.forward(input),
            Self::MultipleNegatives(loss) => loss.forward(input),
            Self::Pearson(loss) => loss.forward(input),
        }
    }

    /// Whether it reads teacher scores, whatever the term's target is.
    #[must_use]
    pub fn needs_teacher(&self) -> bool {
        matches!(self, Self::MarginMse(_) | Self::KlDivergence(_))
    }

    /// Whether it learns probabilities: `σ(score)` then means something by itself.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        match self {
            Self::Bce(_) => true,
            Self::Mse(mse) => mse.space == Space::Sigmoid,
            _ => false,
        }
    }

    /// Whether a constant scorer has the loss ln G on groups of G candidates with one positive, which
    /// tells a model that learns nothing.
    #[must_use]
    pub fn is_softmax_over_group(&self) -> bool {
        match self {
            Self::Lce(_) => true,
            Self::CrossEntropy(loss) => loss.label_smoothing == 0.0,
            Self::MultipleNegatives(_) => true,
            _ => false,
        }
    }

    /// What is wrong with its parameters, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let above = |name: &str, value: f64| {
            (!value.is_finite() || value <= 0.0)
                .then(|| format!("{name} must be above 0, found `{value}`"))
        };
        let cutoff =
            |k: Option<usize>| (k == Some(0)).then(|| "k must be above 0, found `0`".to_owned());
        match self {
            Self::Lce(loss) => above("temperature", loss.temperature),
            Self::Bce(loss) => above("pos_weight", loss.pos_weight),
            Self::CrossEntropy(loss) => {
                let value = loss.label_smoothing;
                (!(0.0..1.0).contains(&value))
                    .then(|| format!("label_smoothing must be 0 to below 1, found `{value}`"))
            }
            Self::KlDivergence(loss) => above("temperature", loss.temperature)
                .or_else(|| above("teacher_temperature", loss.teacher_temperature)),
            Self::RankNet(loss) => above("sigma", loss.sigma).or_else(|| cutoff(loss.k)),
            Self::LambdaLoss(loss) => above("sigma", loss.sigma)
                .or_else(|| above("mu", loss.mu))
                .or_else(|| cutoff(loss.k)),
            Self::Hinge(loss) => (!loss.margin.is_finite() || loss.margin < 0.0)
                .then(|| format!("margin must be 0 or above, found `{}`", loss.margin)),
            Self::ListNet(loss) => above("temperature", loss.temperature)
                .or_else(|| above("label_temperature", loss.label_temperature)),
            Self::ApproxNdcg(loss) => above("temperature", loss.temperature),
            Self::ApproxMrr(loss) => above("temperature", loss.temperature),
            Self::AdrMse(loss) => above("alpha", loss.alpha),
            Self::MultipleNegatives(loss) => above("scale", loss.scale),
            Self::Mse(_)
            | Self::MarginMse(_)
            | Self::ListMle(_)
            | Self::PListMle(_)
            | Self::Pearson(_) => None,
        }
    }
}

/// What a loss takes for labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The labels of the dataset.
    #[default]
    Label,
    /// The teacher's scores, which makes a distillation loss of any loss.
    TeacherScore,
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
    /// What it takes for labels.
    #[serde(default)]
    pub target: Target,
}

fn one() -> f64 {
    1.0
}

impl Term {
    /// What is wrong with it, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if !self.weight.is_finite() {
            return Some(format!("weight must be finite, found `{}`", self.weight));
        }
        if self.target == Target::TeacherScore && self.loss.needs_teacher() {
            return Some("target: this loss reads teacher scores beside the labels".to_owned());
        }
        self.loss.problem()
    }

    fn forward(&self, input: &LossInput) -> Tensor<1> {
        let value = match self.target {
            Target::Label => self.loss.forward(input),
            Target::TeacherScore => self.loss.forward(&input.learning_from_teacher()),
        };
        value * self.weight
    }
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
        Self { terms: vec![Term { loss, weight: 1.0, target: Target::Label }] }
    }

    /// Returns the weighted sum: `[1]`.
    ///
    /// # Panics
    /// When there is no term.
    #[must_use]
    pub fn forward(&self, input: &LossInput) -> Tensor<1> {
        self.forward_shares(input, &vec![1.0; self.terms.len()])
    }

    /// The same with every term multiplied by a share: what this part adds to the loss of a larger
    /// batch, when the share is the part's count over the batch's.
    ///
    /// # Panics
    /// When there is no term, or not one share per term.
    #[must_use]
    pub fn forward_shares(&self, input: &LossInput, shares: &[f64]) -> Tensor<1> {
        assert_eq!(shares.len(), self.terms.len(), "one share per term");
        self.terms
            .iter()
            .zip(shares)
            .map(|(term, share)| term.forward(input) * *share)
            .reduce(|sum, term| sum + term)
            .expect("an objective has at least one term")
    }

    /// [`Loss::count`] of every term for one group.
    ///
    /// # Panics
    /// When a term reads teacher scores and there are none.
    #[must_use]
    pub fn counts(&self, labels: &[f32], teacher_scores: Option<&[f32]>) -> Vec<f64> {
        let of = |term: &Term| match term.target {
            Target::Label => term.loss.count(labels),
            Target::TeacherScore => term
                .loss
                .count(teacher_scores.expect("a distillation loss is given teacher scores")),
        };
        self.terms.iter().map(of).collect()
    }

    /// Whether any term reads teacher scores.
    #[must_use]
    pub fn needs_teacher(&self) -> bool {
        let reads = |term: &Term| term.loss.needs_teacher() || term.target == Target::TeacherScore;
        self.terms.iter().any(reads)
    }
}
