//! New weights from a seed, as transformers draws them.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use sha2::{Digest, Sha256};

use super::parameters::Path;
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;

/// Draws every weight of linear maps and tables from a normal distribution around 0, as wide as the
/// architecture says; biases become 0. Each parameter has its own stream, named by the seed and its
/// path, so the draw does not depend on the device or on other parameters.
///
/// # Source
/// `_init_weights` of the architectures in transformers. Differs: the row of the padding token is
/// drawn too, since nothing is padded.
#[must_use]
pub fn initialise(model: CrossEncoder, config: &Config, seed: u64) -> CrossEncoder {
    model.map(&mut Initialise { path: Path::default(), config, seed, only: None })
}

/// The same for those parameters alone whose dotted path is listed.
pub(super) fn initialise_only(
    model: CrossEncoder,
    config: &Config,
    seed: u64,
    paths: Vec<String>,
) -> CrossEncoder {
    model.map(&mut Initialise { path: Path::default(), config, seed, only: Some(paths) })
}

struct Initialise<'a> {
    path: Path,
    config: &'a Config,
    seed: u64,
    only: Option<Vec<String>>,
}

impl ModuleMapper for Initialise<'_> {
    fn enter_module(&mut self, name: &str, owner: &str) {
        self.path.enter(name, owner);
    }

    fn exit_module(&mut self, _name: &str, _owner: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dotted = self.path.dotted();
        let wanted = self.only.as_ref().is_none_or(|paths| paths.contains(&dotted));
        if !wanted || !self.path.is_drawn() {
            return param;
        }
        let mut rng = stream(self.seed, &dotted);
        let draw = self.config.architecture().draw(&self.path.fields());
        let normal = Normal::new(0.0, draw.deviation).expect("a deviation is finite");
        let furthest = draw.cutoff.unwrap_or(f64::INFINITY);
        param.map(|tensor| {
            let shape = tensor.shape();
            let values: Vec<f32> = std::iter::repeat_with(|| normal.sample(&mut rng))
                .filter(|value: &f64| value.abs() <= furthest)
                .map(|value| value as f32)
                .take(shape.num_elements())
                .collect();
            Tensor::from_data(TensorData::new(values, shape), &tensor.device())
        })
    }
}

fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}
