//! The length of a gradient over all parameters, and clipping to a largest length.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};

/// The L2 norm over all parameters together.
///
/// burn clips every parameter by itself; the norm that papers and PyTorch clip by is the global one.
pub(crate) fn global_norm<M: Module>(grads: &GradientsParams, model: &M) -> f64 {
    let mut visitor = SquaredNorm { grads, sum: 0.0 };
    model.visit(&mut visitor);
    visitor.sum.sqrt()
}

/// Scales all gradients so that their global norm is at most `max_norm`.
///
/// # Source
/// `torch.nn.utils.clip_grad_norm_`: the factor is `max_norm / (norm + 1e-6)` where that is below 1.
pub(crate) fn clip<M: Module>(grads: &mut GradientsParams, model: &M, norm: f64, max_norm: f64) {
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        scale(grads, model, factor);
    }
}

/// Multiplies all gradients by a factor.
pub(crate) fn scale<M: Module>(grads: &mut GradientsParams, model: &M, factor: f64) {
    model.visit(&mut Scale { grads, factor });
}

struct SquaredNorm<'a> {
    grads: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let squared: f32 = grad.cast(DType::F32).square().sum().into_scalar();
            self.sum += f64::from(squared);
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads.register(param.id, grad * self.factor);
        }
    }
}
