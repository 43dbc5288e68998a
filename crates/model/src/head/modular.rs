//! A head of sentence-transformers: linear maps and layer norms, one after the other.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::Pooling;
use crate::config::{Modules, Step, StepKind};
use crate::layer::{Activation, LayerNorm, Linear};

/// The constant under the root of PyTorch's layer norms.
const EPSILON: f32 = 1e-5;

/// A chain of modules.
#[derive(Module, Debug)]
pub struct ModularHead {
    steps: Vec<HeadStep>,
    #[module(skip)]
    pooling: Pooling,
}

/// A linear map or a layer norm.
#[derive(Module, Debug)]
struct HeadStep {
    linear: Option<Linear>,
    norm: Option<LayerNorm>,
    #[module(skip)]
    activation: Option<Activation>,
}

impl ModularHead {
    pub(super) fn zeros(modules: &Modules, device: &Device) -> Self {
        let step = |step: &Step| match step.kind {
            StepKind::Dense { n_in, n_out, bias, activation } => HeadStep {
                linear: Some(Linear::zeros_with(n_in, n_out, bias, device)),
                norm: None,
                activation,
            },
            StepKind::Norm { width } => HeadStep {
                linear: None,
                norm: Some(LayerNorm::identity(width, EPSILON, device)),
                activation: None,
            },
        };
        Self { steps: modules.steps.iter().map(step).collect(), pooling: modules.pooling }
    }

    pub(super) fn pooling(&self) -> Pooling {
        self.pooling
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.steps.iter_mut().filter_map(|step| step.linear.as_mut()).collect()
    }

    /// # Shapes
    /// - `pooled`: `[rows, hidden]`
    /// - result: `[rows, labels]`
    pub(super) fn forward(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.steps.iter().fold(pooled, |mut x, step| {
            if let Some(linear) = &step.linear {
                x = linear.forward(x);
            }
            if let Some(norm) = &step.norm {
                x = norm.forward(x);
            }
            match step.activation {
                Some(activation) => activation.forward(x),
                None => x,
            }
        })
    }
}
