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

/// Draws every weight of linear maps and tables from a normal distribution with the configuration's
/// `initializer_range`; biases become 0. Each parameter has its own stream, named by the seed and its
/// path, so the draw does not depend on the device or on other parameters.
///
/// # Source
/// `BertPreTrainedModel._init_weights` of transformers. Differs: the row of the padding token is
/// drawn too, since nothing is padded.
#[must_use]
pub fn initialise(model: CrossEncoder, config: &Config, seed: u64) -> CrossEncoder {
    let mut mapper = Initialise {
        path: Path::default(),
        deviation: config.initializer_range(),
        seed,
        only: None,
    };
    model.map(&mut mapper)
}

/// The same for those parameters alone whose dotted path is listed.
pub(super) fn initialise_only(
    model: CrossEncoder,
    config: &Config,
    seed: u64,
    paths: Vec<String>,
) -> CrossEncoder {
    let mut mapper = Initialise {
        path: Path::default(),
        deviation: config.initializer_range(),
        seed,
        only: Some(paths),
    };
    model.map(&mut mapper)
}

struct Initialise {
    path: Path,
    deviation: f64,
    seed: u64,
    only: Option<Vec<String>>,
}

impl ModuleMapper for Initialise {
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
        let normal = Normal::new(0.0, self.deviation).expect("a deviation is finite");
        param.map(|tensor| {
            let shape = tensor.shape();
            let values: Vec<f32> =
                (0..shape.num_elements()).map(|_| normal.sample(&mut rng) as f32).collect();
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
