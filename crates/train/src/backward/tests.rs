//! Gradients in parts, with dropout and on several workers, beside those of one pass.

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use tamis_loss::{Lce, Loss};
use tamis_model::encoder::bert::BertConfig;
use tamis_model::{Config, checkpoint};

use super::*;
use crate::collective::Threads;
use crate::learner::Learner;
use crate::optimizer::OptimizerRecipe;
use crate::schedule::{Schedule, ScheduleKind};

fn config(dropout: f64) -> Config {
    let text = serde_json::json!({
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 16, "initializer_range": 0.3,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
    });
    let config: BertConfig = serde_json::from_value(text).unwrap();
    Config::bert(&config)
}

fn model(dropout: f64) -> CrossEncoder {
    let config = config(dropout);
    checkpoint::initialise(CrossEncoder::zeros(&config, &Device::flex()), &config, 5)
}

fn learner(dropout: f64, objective: &Objective) -> Learner {
    let schedule = Schedule { kind: ScheduleKind::Constant, peak: 1e-2, ..Schedule::default() };
    let optimizer = OptimizerRecipe::default();
    let device = Device::flex();
    Learner::new(model(dropout), &optimizer, objective.clone(), schedule, None, 3, &device)
}

#[test]
fn activations_worked_out_again_give_the_same_gradient() {
    let objective = Objective::single(Loss::Lce(Lce::default()));
    let micro_batches = [micro_batch(&[4, 3, 4]), micro_batch(&[2, 3])];
    let expected = gradients(&learner(0.0, &objective), &micro_batches);
    for cache in [None, Some(3)] {
        let learner = learner(0.0, &objective).with_gradient_cache(cache).with_recomputation(true);
        assert_close(&gradients(&learner, &micro_batches), &expected, "worked out again");
    }
}

#[test]
fn blocks_drop_the_same_elements_when_they_are_worked_out_again() {
    let objective = Objective::single(Loss::Lce(Lce::default()));
    let micro = micro_batch(&[4, 3]);
    let learner = learner(0.3, &objective).with_recomputation(true);
    let found = gradients(&learner, std::slice::from_ref(&micro));
    // The same blocks with the same seeds in one graph.
    let device = Device::flex().autodiff();
    let seeds = DropoutSeeds::training(crate::learner::mix(3, 0, 0));
    let (model, input) = (learner.trained(), tamis_model::Input::new(&micro.batch, &device));
    let logits = (0..model.n_blocks())
        .fold(None, |x, index| Some(model.block(index, x, &input, seeds.of_block(index))));
    let scores = Scores::new(logits.unwrap().reshape([7]), micro.batch.group_offsets());
    let loss = super::loss(&objective, &micro, &scores, &[1.0], &device);
    let value = number(&loss);
    let grads = GradientsParams::from_grads(loss.backward(), model);
    assert_close(&found, &(value, flat(model, &grads)), "in one graph");
}

#[test]
fn halves_have_nearly_the_gradient_of_single_precision() {
    let objective = Objective::single(Loss::Lce(Lce::default()));
    let micro_batches = [micro_batch(&[4, 3, 4])];
    let (loss, full) = gradients(&learner(0.0, &objective), &micro_batches);
    let length = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    for (precision, tolerance) in [(Precision::Bf16, 0.05), (Precision::F16, 0.01)] {
        for cache in [None, Some(2)] {
            let learner =
                learner(0.0, &objective).with_precision(precision, None).with_gradient_cache(cache);
            let factor = learner.loss_scale().factor() as f32;
            let (half_loss, scaled) = gradients(&learner, &micro_batches);
            assert!((half_loss - loss).abs() < 0.02, "{half_loss} and {loss}");
            let apart: Vec<f32> = full.iter().zip(&scaled).map(|(a, b)| a - b / factor).collect();
            let apart = length(&apart) / length(&full);
            assert!(apart > 0.0 && apart < tolerance, "{precision:?}, {cache:?}: {apart}");
        }
    }
}

#[test]
fn both_passes_drop_the_same_elements_in_halves() {
    let objective = Objective::single(Loss::Lce(Lce::default()));
    let micro_batches = [micro_batch(&[4, 3])];
    let found = |cache| {
        let learner = learner(0.3, &objective)
            .with_precision(Precision::Bf16, None)
            .with_gradient_cache(cache);
        gradients(&learner, &micro_batches)
    };
    // One sub-batch of all rows: the same seeds, the same gradient.
    let ((direct, gradient), (cached, of_cached)) = (found(None), found(Some(7)));
    assert_eq!(direct, cached);
    let apart = gradient.iter().zip(&of_cached).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = gradient.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
    assert!(apart <= 0.02 * largest, "{apart} of {largest}");
}

#[test]
fn a_gradient_that_overflows_is_skipped_and_the_scale_halved() {
    let objective = Objective::single(Loss::Lce(Lce::default()));
    let huge: crate::precision::LossScale =
        serde_json::from_value(serde_json::json!({"factor": 1e30, "finite": 0})).unwrap();
    let mut learner = learner(0.0, &objective).with_precision(Precision::F16, Some(huge));
    let before = flat_parameters(learner.trained());
    let taken = learner.step(0, &[micro_batch(&[4, 4])]).unwrap();
    assert!(taken.skipped && taken.loss.is_finite());
    assert_eq!(learner.loss_scale().factor(), 5e29);
    assert_eq!(flat_parameters(learner.trained()), before);
    let fits = crate::precision::LossScale::first(Precision::F16);
    let mut learner = learner.with_precision(Precision::F16, Some(fits));
    let taken = learner.step(1, &[micro_batch(&[4, 4])]).unwrap();
    assert!(!taken.skipped && taken.grad_norm > 0.0);
    assert_ne!(flat_parameters(learner.trained()), before);
}

/// All parameters, one after the other.
fn flat_parameters(model: &CrossEncoder) -> Vec<f32> {
    struct Flat(Vec<f32>);
    impl ModuleVisitor for Flat {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().try_into_vec::<f32>().unwrap());
        }
    }
    let mut flat = Flat(Vec::new());
    model.visit(&mut flat);
    flat.0
}

/// Groups of the given sizes, with labels and teacher scores that differ.
fn micro_batch(sizes: &[usize]) -> MicroBatch {
    let width = sizes.iter().copied().max().unwrap();
    let mut batch = Batch::new();
    let (mut labels, mut teacher) = (Vec::new(), Vec::new());
    for (group, &size) in sizes.iter().enumerate() {
        for row in 0..size {
            let n = 3 + (group * 5 + row * 3) % 9;
            let ids: Vec<u32> =
                (0..n).map(|i| (group * 31 + row * 17 + i * 7) as u32 % 50).collect();
            batch.push_row(&ids, &vec![0; n]);
        }
        batch.end_group();
        for place in 0..width {
            let there = place < size;
            labels.push(if there { [1.0, 0.0, 0.5, 0.0][place % 4] } else { 0.0 });
            teacher.push(if there { ((group + place) as f32 * 1.7).sin() * 3.0 } else { 0.0 });
        }
    }
    MicroBatch { batch, labels, teacher_scores: Some(teacher) }
}

/// All gradients, parameter after parameter.
fn flat(model: &CrossEncoder, grads: &GradientsParams) -> Vec<f32> {
    struct Flat<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let grad = self.0.get::<D>(param.id).expect("every parameter has a gradient");
            self.1.extend(grad.into_data().try_into_vec::<f32>().unwrap());
        }
    }
    let mut flat = Flat(grads, Vec::new());
    model.visit(&mut flat);
    flat.1
}

fn gradients(learner: &Learner, micro_batches: &[MicroBatch]) -> (f64, Vec<f32>) {
    let model = learner.trained();
    let (loss, grads) = learner.gradients(model, 0, micro_batches).unwrap();
    (loss, flat(model, &grads))
}

fn assert_close(found: &(f64, Vec<f32>), expected: &(f64, Vec<f32>), what: &str) {
    assert!((found.0 - expected.0).abs() < 1e-5, "{what}: {} {}", found.0, expected.0);
    assert_eq!(found.1.len(), expected.1.len());
    let largest = expected.1.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    let worst = found.1.iter().zip(&expected.1).fold(0.0_f32, |a, (b, c)| a.max((b - c).abs()));
    assert!(worst <= 1e-5 * (1.0 + largest), "{what}: {worst} of {largest}");
}

#[test]
fn the_cached_gradient_is_the_gradient_of_every_loss() {
    let batches = [micro_batch(&[4, 3, 4])];
    for loss in Loss::all() {
        let objective = Objective::single(loss);
        let expected = gradients(&learner(0.0, &objective), &batches);
        // One row at a time, a ragged last sub-batch, and one that holds everything.
        for rows in [1, 4, 100] {
            let cached = learner(0.0, &objective).with_gradient_cache(Some(rows));
            assert_close(&gradients(&cached, &batches), &expected, &format!("{loss:?} {rows}"));
        }
    }
}

#[test]
fn both_passes_drop_the_same_elements() {
    let objective = Objective::single(Loss::Lce(Lce::default()));
    let micro = micro_batch(&[4, 3]);
    let cached = learner(0.3, &objective).with_gradient_cache(Some(3));
    // The same sub-batches in one graph, back-propagated at once.
    let plain = learner(0.3, &objective);
    let device = Device::flex().autodiff();
    let backward = Backward {
        model: plain.trained(),
        objective: &objective,
        device: &device,
        cache_rows: None,
        worker: None,
        recompute: false,
        match_attention: false,
        exits: None,
        precision: Precision::F32,
        scale: 1.0,
    };
    let seed = crate::learner::mix(3, 0, 0);
    let scores = [0..3, 3..6, 6..7].map(|rows| {
        let seeds = DropoutSeeds::training(sub_seed(seed, rows.start));
        plain.trained().scores(&part(&micro.batch, rows), &device, seeds).rows()
    });
    let scores = Scores::new(Tensor::cat(scores.to_vec(), 0), micro.batch.group_offsets());
    let loss = backward.loss(&micro, &scores, &[1.0]);
    let mut grads = GradientsAccumulator::new();
    let value = number(&loss);
    backward.add(loss, &mut grads);
    let expected = (value, flat(plain.trained(), &grads.grads()));
    assert_close(&gradients(&cached, std::slice::from_ref(&micro)), &expected, "dropout");
    // With one sub-batch it is the direct pass itself, and dropout does act.
    let whole = learner(0.3, &objective).with_gradient_cache(Some(7));
    let direct = gradients(&plain, std::slice::from_ref(&micro));
    assert_close(&gradients(&whole, std::slice::from_ref(&micro)), &direct, "one sub-batch");
    let without = gradients(&learner(0.0, &objective), &[micro]);
    assert!((without.0 - direct.0).abs() > 1e-3, "dropout changes the loss");
}

#[test]
fn micro_batches_make_the_loss_of_the_larger_batch() {
    let whole = [micro_batch(&[4, 3, 2, 4])];
    let slice = |rows: std::ops::Range<usize>, groups: std::ops::Range<usize>, width: usize| {
        let mut batch = Batch::new();
        let offsets = whole[0].batch.group_offsets();
        for row in rows {
            let (ids, types) = whole[0].batch.row(row);
            batch.push_row(ids, types);
            if offsets.contains(&(row as u32 + 1)) {
                batch.end_group();
            }
        }
        let places = |values: &[f32]| -> Vec<f32> {
            groups.clone().flat_map(|g| values[g * 4..g * 4 + width].to_vec()).collect()
        };
        let teacher_scores = whole[0].teacher_scores.as_deref().map(places);
        MicroBatch { batch, labels: places(&whole[0].labels), teacher_scores }
    };
    let parts = [slice(0..4, 0..1, 4), slice(4..9, 1..3, 3), slice(9..13, 3..4, 4)];
    for loss in Loss::all() {
        let objective = Objective::single(loss);
        let learner = learner(0.0, &objective);
        let expected = gradients(&learner, &whole);
        assert_close(&gradients(&learner, &parts), &expected, &format!("{loss:?}"));
    }
}

/// The gradients of `size` workers, each on a replica of its own.
fn on_workers(
    size: usize,
    split: Split,
    make: &(impl Fn() -> Learner + Sync),
    batches: &[MicroBatch],
) -> Vec<(f64, Vec<f32>)> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = Threads::group(size)
            .into_iter()
            .map(|threads| {
                let worker = Worker { collective: Box::new(threads), split };
                scope.spawn(move || gradients(&make().with_worker(worker), batches))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_group_split_over_workers_has_the_true_gradient() {
    let objective = Objective::single(Loss::Lce(Lce { temperature: 0.5 }));
    let batches = [micro_batch(&[4, 3]), micro_batch(&[4])];
    let expected = gradients(&learner(0.0, &objective), &batches);
    // Three workers divide seven rows unevenly; of eight some have nothing to do.
    for size in [1, 2, 3, 8] {
        for cache in [None, Some(2)] {
            let make = || learner(0.0, &objective).with_gradient_cache(cache);
            let found = on_workers(size, Split::Rows, &make, &batches);
            assert!(found.iter().all(|one| *one == found[0]), "all workers have the same");
            assert_close(&found[0], &expected, &format!("{size} workers, {cache:?}"));
        }
    }
}

#[test]
fn data_parallel_workers_are_one_device_with_the_larger_batch() {
    let objective = Objective::single(Loss::Bce(tamis_loss::Bce::default()));
    let batches = [micro_batch(&[4, 3]), micro_batch(&[2]), micro_batch(&[4, 4])];
    // Dropout too: a micro-batch has the same masks wherever it is worked off.
    let make = || learner(0.2, &objective);
    let expected = gradients(&make(), &batches);
    for size in [2, 3, 4] {
        let found = on_workers(size, Split::Batches, &make, &batches);
        assert!(found.iter().all(|one| *one == found[0]), "all workers have the same");
        assert_close(&found[0], &expected, &format!("{size} workers"));
    }
}

/// Adds to one number of one parameter.
struct Nudge {
    id: burn::module::ParamId,
    place: usize,
    by: f32,
}

impl ModuleMapper for Nudge {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.id != self.id {
            return param;
        }
        param.map(|tensor| {
            let shape = tensor.shape();
            let device = tensor.device();
            let mut values = tensor.into_data().try_into_vec::<f32>().unwrap();
            values[self.place] += self.by;
            Tensor::<D>::from_data(TensorData::new(values, shape), &device).require_grad()
        })
    }
}

/// Identity and gradient of every parameter that has one.
struct WithGradient<'a> {
    grads: &'a GradientsParams,
    path: Vec<String>,
    found: Vec<(String, burn::module::ParamId, Vec<f32>)>,
    n_all: usize,
}

impl ModuleVisitor for WithGradient<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.n_all += 1;
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let values = grad.into_data().try_into_vec::<f32>().unwrap();
            self.found.push((self.path.join("."), param.id, values));
        }
    }
}

/// Checks the gradient of an adapted model against central differences, and that it is only the
/// adapter's and the head's.
fn check_adapter(model: CrossEncoder, config: &Config, micro: MicroBatch) {
    use tamis_model::adapter::{LoraConfig, attach, freeze_base};
    let objective = Objective::single(Loss::Lce(Lce::default()));
    let schedule = Schedule { kind: ScheduleKind::Constant, peak: 3e-2, ..Schedule::default() };
    let lora = LoraConfig {
        rank: 3,
        alpha: 6.0,
        targets: vec!["query".to_owned(), "value".to_owned(), "output.dense".to_owned()],
        ..LoraConfig::default()
    };
    let model = freeze_base(attach(model, config, &lora, 1).unwrap(), true);
    let optimizer = OptimizerRecipe::default();
    let mut learner =
        Learner::new(model, &optimizer, objective, schedule, None, 3, &Device::flex());
    let batches = [micro];
    // A new adapter's second matrix is zero, and so is the gradient of its first.
    for step in 0..3 {
        learner.step(step, &batches).unwrap();
    }
    let (_, grads) = learner.gradients(learner.trained(), 0, &batches).unwrap();
    let mut with = WithGradient { grads: &grads, path: Vec::new(), found: Vec::new(), n_all: 0 };
    learner.trained().visit(&mut with);
    let n_adapters = with.found.iter().filter(|(path, ..)| path.contains("adapters")).count();
    assert!(n_adapters >= 2 * 4 && with.found.len() < with.n_all, "{n_adapters}");
    for (path, ..) in &with.found {
        assert!(path.contains("adapters") || path.starts_with("head."), "{path} is frozen");
    }
    let mut largest = 0.0_f64;
    for (path, id, grad) in with.found {
        for place in [0, grad.len() / 2, grad.len() - 1] {
            let loss = |by: f32| {
                let nudged = learner.trained().clone().map(&mut Nudge { id, place, by });
                learner.gradients(&nudged, 0, &batches).unwrap().0
            };
            let slope = (loss(5e-3) - loss(-5e-3)) / 1e-2;
            let error = (slope - f64::from(grad[place])).abs();
            largest = largest.max(slope.abs());
            assert!(error < 1e-4 + 2e-2 * slope.abs(), "{path} {place}: {} {slope}", grad[place]);
        }
    }
    assert!(largest > 1e-3, "the slopes are not all zero");
}

#[test]
fn an_adapter_alone_learns_and_its_gradient_is_the_slope() {
    check_adapter(model(0.0), &config(0.0), micro_batch(&[4, 3]));
}

mod with_fixtures {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use burn::optim::GradientsParams;
    use safetensors::SafeTensors;
    use serde_json::Value;
    use tamis_model::{Activation, Settings};

    use super::*;

    /// Puts gradients where the weights are, so that saving names them.
    struct Replace<'a>(&'a GradientsParams);

    impl ModuleMapper for Replace<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let grad = self.0.get::<D>(param.id).expect("every parameter has a gradient");
            param.map(|_| grad)
        }
    }

    fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let values = |data: &[u8]| {
            data.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        file.tensors().into_iter().map(|(name, t)| (name, values(t.data()))).collect()
    }

    #[test]
    fn an_adapter_on_the_bert_of_the_fixtures_has_the_slope_for_its_gradient() {
        let root = std::env::var("TAMIS_FIXTURES").expect("TAMIS_FIXTURES names the fixtures");
        let folder = PathBuf::from(root).join("training/bert_lce");
        let source = without_dropout(&folder);
        let loaded = checkpoint::load(source.path(), None, &Device::flex()).unwrap();
        let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let micro = padded(&expected["batches"][0]);
        check_adapter(loaded.model, &loaded.config, micro);
    }

    /// The checkpoint of a fixture, which was made with dropout off whatever its file says.
    fn without_dropout(folder: &Path) -> tempfile::TempDir {
        let source = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(folder.join("init/config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["hidden_dropout_prob"] = 0.0.into();
        config["attention_probs_dropout_prob"] = 0.0.into();
        std::fs::write(source.path().join("config.json"), config.to_string()).unwrap();
        let weights = "model.safetensors";
        std::fs::copy(folder.join("init").join(weights), source.path().join(weights)).unwrap();
        source
    }

    /// A padded batch of groups of four, packed.
    fn padded(batch: &Value) -> MicroBatch {
        let ids = |row: &Value| -> Vec<u32> {
            row.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
        };
        let rows = |key: &str| -> Vec<Vec<u32>> {
            batch[key].as_array().unwrap().iter().map(ids).collect()
        };
        let (input_ids, mask, types) =
            (rows("input_ids"), rows("attention_mask"), rows("token_type_ids"));
        let mut packed = Batch::new();
        for (row, ids) in input_ids.iter().enumerate() {
            let n = mask[row].iter().sum::<u32>() as usize;
            packed.push_row(&ids[..n], &types[row][..n]);
            if row % 4 == 3 {
                packed.end_group();
            }
        }
        let label = |row: usize| if row.is_multiple_of(4) { 1.0 } else { 0.0 };
        let labels = (0..input_ids.len()).map(label).collect();
        MicroBatch { batch: packed, labels, teacher_scores: None }
    }

    #[test]
    fn the_cached_gradient_is_that_of_pytorch() {
        let root = std::env::var("TAMIS_FIXTURES").expect("TAMIS_FIXTURES names the fixtures");
        let folder = PathBuf::from(root).join("training/gradcache");
        let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let batches = [padded(&expected["batch"])];
        let source = without_dropout(&folder);
        let weights = "model.safetensors";
        let known = tensors(&folder.join("grads.safetensors"));
        assert!(known.len() > 30);
        for rows in [None, Some(1), Some(3), Some(4), Some(8)] {
            let loaded = checkpoint::load(source.path(), None, &Device::flex()).unwrap();
            let objective = Objective::single(Loss::Lce(Lce::default()));
            let schedule = Schedule { peak: 1e-3, ..Schedule::default() };
            let learner = Learner::new(
                loaded.model,
                &OptimizerRecipe::default(),
                objective,
                schedule,
                None,
                0,
                &Device::flex(),
            )
            .with_gradient_cache(rows);
            let (loss, grads) = learner.gradients(learner.trained(), 0, &batches).unwrap();
            let direct = expected["direct"]["loss"].as_f64().unwrap();
            assert!((loss - direct).abs() < 1e-5, "{loss} {direct}");
            let named = learner.trained().clone().map(&mut Replace(&grads)).valid();
            let settings = Settings {
                max_length: 16,
                query_max_length: 8,
                truncation: tamis_data::Truncation::SecondOnly,
                activation: Activation::None,
                parts: None,
                template: None,
                answers: None,
                effort: Default::default(),
                compatibility: Default::default(),
            };
            let out = source.path().join("gradients");
            let contents = checkpoint::Contents {
                model: &named,
                config: &loaded.config,
                settings: &settings,
                tokenizer: source.path(),
            };
            checkpoint::save(contents, &out).unwrap();
            let found = tensors(&out.join(weights));
            for (name, known) in &known {
                let found = &found[name];
                assert_eq!(found.len(), known.len(), "{name}");
                for (found, known) in found.iter().zip(known) {
                    let error = (found - known).abs();
                    assert!(error <= 1e-5 + 1e-3 * known.abs(), "{rows:?} {name}: {found} {known}");
                }
            }
        }
    }
}
