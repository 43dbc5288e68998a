//! The loss of a model with several exits: each learns from the labels, a teacher, and deeper exits.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::input::LossInput;
use crate::lce::Lce;
use crate::masked;

/// Cascaded self-distillation: what every exit learns beside the labels, summed over exits.
///
/// # Formula
/// Exits are visited from the deepest, `j = 0`, to the shallowest; `f` are the scores of the same model
/// with all tokens, of which only the values count; `t` are the teacher's scores.
/// ```text
/// CE_j = LCE(s_j),  KD(s, p) = -1/|Q| Σ_q Σ_d p_qd log softmax(s_q)_d
/// L = Σ_j CE_j + [teacher] KD(s_j, softmax t) + [cascade] KD(s_j, softmax f_c(j))
/// ```
/// where `c(j)` is the deeper exit that `j` learns from, by [`CascadeMethod`].
///
/// # Source
/// Liu et al. 2025, "Matryoshka Re-Ranker" (arXiv 2501.16302), section 3.2, and the published training
/// code. Differs: `normal` works with teacher scores too, a cascade needs no teacher of the data, and the
/// passes of the cascade's teacher have neither gradients nor dropout.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cascade {
    /// Which deeper exit teaches which.
    pub method: CascadeMethod,
    /// In the methods with `fix-layer` in their name, how many exits one teaches; 8 in the original.
    pub every: usize,
    /// Whether the mean over exits is taken in place of the sum, so that their number leaves the
    /// learning rate alone.
    pub mean: bool,
}

/// Which deeper exit teaches which, and whom the teacher of the data teaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CascadeMethod {
    /// Labels alone.
    Normal,
    /// No teacher; from the deepest exit on every eighth teaches those below it.
    FixLayer,
    /// No teacher; every exit teaches the next.
    LastLayer,
    /// No teacher; the deepest exit teaches all others, as in BGE's layer-wise reranker.
    FinalLayer,
    /// The teacher teaches the deepest exit; from there every eighth exit teaches those below it.
    DistillFixLayer,
    /// The teacher teaches the deepest exit; every exit teaches the next.
    DistillLastLayer,
    /// The teacher teaches the deepest exit, and that teaches all others.
    DistillFinalLayer,
    /// The teacher teaches all exits; every eighth exit teaches those below it.
    #[default]
    DistillFixLayerTeacher,
    /// The teacher teaches all exits; every exit teaches the next.
    DistillLastLayerTeacher,
    /// The teacher teaches all exits, and none teaches another.
    DistillFinalLayerTeacher,
}

impl CascadeMethod {
    /// Whether the data must have teacher scores.
    #[must_use]
    pub fn needs_teacher(self) -> bool {
        !matches!(self, Self::Normal | Self::FixLayer | Self::LastLayer | Self::FinalLayer)
    }

    /// Whether an exit teaches another, which needs a pass with all tokens.
    #[must_use]
    pub fn needs_full_width(self) -> bool {
        !matches!(self, Self::Normal | Self::DistillFinalLayerTeacher)
    }

    fn teaches_all(self) -> bool {
        matches!(
            self,
            Self::DistillFixLayerTeacher
                | Self::DistillLastLayerTeacher
                | Self::DistillFinalLayerTeacher
        )
    }

    /// Whether the exit at a place from the deepest teaches those after it.
    fn teaches(self, place: usize, every: usize) -> bool {
        match self {
            Self::Normal | Self::DistillFinalLayerTeacher => false,
            Self::FixLayer | Self::DistillFixLayer | Self::DistillFixLayerTeacher => {
                place.is_multiple_of(every)
            }
            Self::LastLayer | Self::DistillLastLayer | Self::DistillLastLayerTeacher => true,
            Self::FinalLayer | Self::DistillFinalLayer => place == 0,
        }
    }
}

impl Default for Cascade {
    fn default() -> Self {
        Self { method: CascadeMethod::default(), every: 8, mean: false }
    }
}

impl Cascade {
    /// Returns the mean over groups: `[1]`.
    ///
    /// # Shapes
    /// - `exits`, `full`: `[groups, candidates]` each, the shallowest first; `full` only where the method
    ///   needs it
    /// - `input`: its labels, mask and teacher scores; its scores play no part
    ///
    /// # Panics
    /// When there is no exit, `full` has fewer than `exits`, or scores that the method needs are missing.
    #[must_use]
    pub fn forward(&self, exits: &[Tensor<2>], full: &[Tensor<2>], input: &LossInput) -> Tensor<1> {
        let mask = input.mask();
        let distribution = |scores: Tensor<2>| {
            let log = masked::log_softmax(scores.detach(), mask.clone());
            log.exp().mask_fill(mask.clone().bool_not(), 0.0)
        };
        let occupied = input.occupied();
        let distil = |scores: &Tensor<2>, target: &Tensor<2>| {
            let log = masked::log_softmax(scores.clone(), mask.clone());
            masked::mean((log * target.clone()).sum_dim(1).neg(), occupied.clone())
        };
        let method = self.method;
        let teacher = method.needs_teacher().then(|| distribution(input.teacher_scores()));
        let mut deeper: Option<Tensor<2>> = None;
        let mut total: Option<Tensor<1>> = None;
        for (place, scores) in exits.iter().rev().enumerate() {
            let mut loss = Lce::default().forward(&input.with_scores(scores.clone()));
            if let Some(teacher) = &teacher
                && (method.teaches_all() || place == 0)
            {
                loss = loss + distil(scores, teacher);
            }
            if let Some(target) = &deeper {
                loss = loss + distil(scores, target);
            }
            if method.teaches(place, self.every.max(1)) {
                deeper = Some(distribution(full[exits.len() - 1 - place].clone()));
            }
            total = Some(match total {
                Some(total) => total + loss,
                None => loss,
            });
        }
        let total = total.expect("a model has an exit");
        if self.mean { total / exits.len() as f64 } else { total }
    }
}
