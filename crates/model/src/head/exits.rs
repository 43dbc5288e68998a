//! Heads after several layers, one row each.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Pooling;
use crate::layer::Linear;

/// Which layers have a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExitShape {
    /// The first depth that has one: so many layers are below it.
    pub(crate) start: usize,
    /// From one depth to the next.
    pub(crate) step: usize,
    pub(crate) n_layers: usize,
    /// Whether all exits share one head.
    pub(crate) is_shared: bool,
}

/// The depths that are to have an exit: from `start` to the last layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitLayers {
    /// The first depth that has one: so many layers are below it.
    pub start: usize,
    /// From one depth to the next.
    #[serde(default = "one")]
    pub step: usize,
}

fn one() -> usize {
    1
}

impl ExitShape {
    /// The depths that have a head, the shallowest first.
    pub(crate) fn depths(&self) -> impl Iterator<Item = usize> {
        (self.start..self.n_layers + 1).step_by(self.step)
    }

    /// The place of a depth among them.
    pub(crate) fn place(&self, depth: usize) -> Option<usize> {
        self.depths().position(|found| found == depth)
    }

    fn n_heads(&self) -> usize {
        if self.is_shared { 1 } else { self.depths().count() }
    }
}

/// One linear map of the last token for every exit.
///
/// # Source
/// Liu et al. 2025, "Matryoshka Re-Ranker" (arXiv 2501.16302), and the heads of BGE's layer-wise and
/// lightweight rerankers.
#[derive(Module, Debug)]
pub struct ExitHeads {
    heads: Vec<Linear>,
    #[module(skip)]
    shape: ExitShape,
    /// Where set, a logit becomes `cap * tanh(logit / cap)`.
    #[module(skip)]
    cap: Option<f32>,
}

impl ExitHeads {
    pub(crate) fn zeros(
        hidden: usize,
        shape: &ExitShape,
        cap: Option<f32>,
        device: &Device,
    ) -> Self {
        let head = |_| Linear::zeros_with(hidden, 1, false, device);
        Self { heads: (0..shape.n_heads()).map(head).collect(), shape: shape.clone(), cap }
    }

    /// The same heads, each with this weight: `[hidden, 1]`.
    pub(crate) fn filled(mut self, weight: &Tensor<2>) -> Self {
        self.heads.iter_mut().for_each(|head| head.fill(weight.clone()));
        self
    }

    pub(super) fn pooling() -> Pooling {
        Pooling::Last { padding: None }
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.heads.iter_mut().collect()
    }

    /// Which layers have a head.
    pub(crate) fn shape(&self) -> &ExitShape {
        &self.shape
    }

    /// The logits of the deepest exit.
    pub(super) fn forward(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.forward_at(self.shape.depths().count() - 1, pooled)
    }

    /// The logits of an exit, by its place among all.
    ///
    /// # Shapes
    /// - `pooled`: `[rows, hidden]`
    /// - result: `[rows, 1]`
    pub(crate) fn forward_at(&self, place: usize, pooled: Tensor<2>) -> Tensor<2> {
        let head = &self.heads[if self.shape.is_shared { 0 } else { place }];
        let logits = head.forward(pooled);
        match self.cap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }
}
