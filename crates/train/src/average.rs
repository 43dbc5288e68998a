//! The exponential moving average of a model's weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// `average · decay + model · (1 - decay)`, parameter by parameter; both have the same identities.
///
/// # Source
/// Polyak and Juditsky 1992; the exponential form of Tarvainen and Valpola 2017, section 2.
pub(crate) fn blend<M: Module>(average: M, model: &M, decay: f64) -> M {
    let mut weights = Collect(GradientsParams::new());
    model.visit(&mut weights);
    average.map(&mut Blend { weights: weights.0, decay })
}

/// The weights by identity.
struct Collect(GradientsParams);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val());
    }
}

struct Blend {
    weights: GradientsParams,
    decay: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(new) = self.weights.remove::<D>(param.id) else { return param };
        param.map(|old| old * self.decay + new * (1.0 - self.decay))
    }
}
