//! What every loss reads: scores, labels and a mask of the same shape, checked once.

use burn::tensor::{Bool, Tensor};

/// Tensors of a loss do not have one shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} have shape {found:?}, but scores have shape {expected:?}")]
pub struct ShapeError {
    /// Which tensor.
    pub what: &'static str,
    /// Its shape.
    pub found: [usize; 2],
    /// The shape of the scores.
    pub expected: [usize; 2],
}

/// The scores of a batch of groups, and what they should have been.
#[derive(Debug, Clone)]
pub struct LossInput {
    scores: Tensor<2>,
    labels: Tensor<2>,
    mask: Tensor<2, Bool>,
    teacher_scores: Option<Tensor<2>>,
}

impl LossInput {
    /// Takes scores, labels and mask.
    ///
    /// # Shapes
    /// - `scores`: `[groups, candidates]`, raw logits
    /// - `labels`: `[groups, candidates]`, training targets
    /// - `mask`: `[groups, candidates]`, `true` where there is a candidate
    ///
    /// # Errors
    /// When the three shapes are not one.
    pub fn new(
        scores: Tensor<2>,
        labels: Tensor<2>,
        mask: Tensor<2, Bool>,
    ) -> Result<Self, ShapeError> {
        let expected = scores.dims();
        check("labels", labels.dims(), expected)?;
        check("mask", mask.dims(), expected)?;
        Ok(Self { scores, labels, mask, teacher_scores: None })
    }

    /// Adds the raw scores of a teacher: `[groups, candidates]`.
    ///
    /// # Errors
    /// When their shape is not that of the scores.
    pub fn with_teacher_scores(mut self, teacher_scores: Tensor<2>) -> Result<Self, ShapeError> {
        check("teacher scores", teacher_scores.dims(), self.scores.dims())?;
        self.teacher_scores = Some(teacher_scores);
        Ok(self)
    }

    /// Raw logits: `[groups, candidates]`.
    #[must_use]
    pub fn scores(&self) -> Tensor<2> {
        self.scores.clone()
    }

    /// Raw logits: `[groups, candidates]`; 0, without a gradient, where there is no candidate.
    #[must_use]
    pub fn candidate_scores(&self) -> Tensor<2> {
        self.scores.clone().mask_fill(self.mask.clone().bool_not(), 0.0)
    }

    /// The same labels and mask with other scores of the same shape.
    #[must_use]
    pub(crate) fn with_scores(&self, scores: Tensor<2>) -> Self {
        Self { scores, ..self.clone() }
    }

    /// The same with the teacher's scores for labels.
    #[must_use]
    pub(crate) fn learning_from_teacher(&self) -> Self {
        Self { labels: self.teacher_scores(), ..self.clone() }
    }

    /// `true` for groups that have a candidate: `[groups, 1]`.
    #[must_use]
    pub(crate) fn occupied(&self) -> Tensor<2, Bool> {
        self.mask.clone().float().sum_dim(1).greater_elem(0.0)
    }

    /// Training targets: `[groups, candidates]`; 0 where there is no candidate.
    #[must_use]
    pub fn labels(&self) -> Tensor<2> {
        self.labels.clone().mask_fill(self.mask.clone().bool_not(), 0.0)
    }

    /// `true` where there is a candidate: `[groups, candidates]`.
    #[must_use]
    pub fn mask(&self) -> Tensor<2, Bool> {
        self.mask.clone()
    }

    /// `true` for candidates whose label is above 0: `[groups, candidates]`.
    #[must_use]
    pub fn positives(&self) -> Tensor<2, Bool> {
        self.labels().greater_elem(0.0)
    }

    /// The teacher's raw scores: `[groups, candidates]`.
    ///
    /// # Panics
    /// When there are none; [`Loss::needs_teacher`](crate::Loss::needs_teacher) tells beforehand.
    #[must_use]
    pub fn teacher_scores(&self) -> Tensor<2> {
        self.teacher_scores.clone().expect("a distillation loss is given teacher scores")
    }
}

fn check(what: &'static str, found: [usize; 2], expected: [usize; 2]) -> Result<(), ShapeError> {
    if found == expected { Ok(()) } else { Err(ShapeError { what, found, expected }) }
}
