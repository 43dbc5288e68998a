//! One micro-batch into what its compressor lacks to keep attention, and the gradient of that.

use burn::optim::GradientsAccumulator;
use tamis_model::CrossEncoder;

use super::{Backward, number};
use crate::batches::MicroBatch;

impl Backward<'_> {
    /// One pass with the compressor beside one without it.
    pub(super) fn matched(
        &self,
        micro: &MicroBatch,
        share: f64,
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) -> f64 {
        let model = self.in_precision(self.model);
        let gap = model.attention_gap(&micro.batch, self.device);
        let loss = gap.expect("training starts with a compressor and a layer above it") * share;
        let value = number(&loss);
        self.add(loss, grads);
        value
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Tensor, TensorData};
    use serde_json::json;
    use tamis_data::Batch;
    use tamis_loss::Objective;
    use tamis_model::{Config, CrossEncoder, checkpoint};

    use crate::batches::MicroBatch;
    use crate::learner::Learner;
    use crate::optimizer::OptimizerRecipe;
    use crate::schedule::Schedule;

    fn learner() -> Learner {
        let config = json!({
            "model_type": "distilbert", "architectures": ["PreTTR"], "join_layer_idx": 1,
            "compress_size": 3, "vocab_size": 20, "dim": 8, "n_layers": 3, "n_heads": 2,
            "hidden_dim": 16, "max_position_embeddings": 32, "initializer_range": 0.4,
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let config = Config::read(&path).unwrap();
        let zeros = CrossEncoder::zeros(&config, &Device::flex());
        let model = checkpoint::initialise(zeros, &config, 7).learning_compressor();
        let objective = Objective::single(tamis_loss::Loss::Lce(tamis_loss::Lce::default()));
        let optimizer = OptimizerRecipe::default();
        let schedule = Schedule::default();
        Learner::new(model, &optimizer, objective, schedule, None, 3, &Device::flex())
            .with_attention_matching(true)
    }

    /// Gradients under their paths.
    struct Found<'a> {
        grads: &'a GradientsParams,
        path: Vec<String>,
        found: Vec<(String, Vec<f32>)>,
    }

    impl ModuleVisitor for Found<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.get::<D>(param.id) {
                let values = grad.into_data().try_into_vec::<f32>().unwrap();
                self.found.push((self.path.join("."), values));
            }
        }
    }

    /// Adds to one number of one parameter.
    struct Nudge<'a> {
        wanted: &'a str,
        path: Vec<String>,
        place: usize,
        by: f32,
    }

    impl ModuleMapper for Nudge<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.path.join(".") != self.wanted {
                return param;
            }
            param.map(|tensor| {
                let (shape, device) = (tensor.shape(), tensor.device());
                let mut values = tensor.into_data().try_into_vec::<f32>().unwrap();
                values[self.place] += self.by;
                Tensor::<D>::from_data(TensorData::new(values, shape), &device).require_grad()
            })
        }
    }

    #[test]
    fn the_gradient_is_the_slope_and_only_the_compressor_has_one() {
        let learner = learner();
        let mut batch = Batch::new();
        batch.push_pair(&[2, 5, 6, 3, 10, 11, 3], &[0; 7], 4, 9);
        batch.push_pair(&[2, 7, 3, 12, 3], &[0; 5], 3, 9);
        batch.end_group();
        let micro = [MicroBatch { batch, labels: vec![1.0, 0.0], teacher_scores: None }];
        let (_, grads) = learner.gradients(learner.trained(), 0, &micro).unwrap();
        let mut with = Found { grads: &grads, path: Vec::new(), found: Vec::new() };
        learner.trained().visit(&mut with);
        assert_eq!(with.found.len(), 6, "two linear maps and a norm");
        let mut largest = 0.0_f64;
        for (path, grad) in with.found {
            assert!(path.contains("compressor"), "{path} is frozen");
            for place in [0, grad.len() / 2, grad.len() - 1] {
                let loss = |by: f32| {
                    let mut nudge = Nudge { wanted: &path, path: Vec::new(), place, by };
                    let nudged = learner.trained().clone().map(&mut nudge);
                    learner.gradients(&nudged, 0, &micro).unwrap().0
                };
                let slope = (loss(2e-3) - loss(-2e-3)) / 4e-3;
                let error = (slope - f64::from(grad[place])).abs();
                largest = largest.max(slope.abs());
                assert!(
                    error < 2e-5 + 2e-2 * slope.abs(),
                    "{path} {place}: {} {slope}",
                    grad[place]
                );
            }
        }
        assert!(largest > 1e-4, "the slopes are not all zero: {largest}");
    }
}
