//! Optimisers beside plain loops in 64 bits, and which parameters they treat how.

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use tamis_model::{Config, CrossEncoder};

use super::*;

/// A matrix and a bias, under names that the patterns know.
#[derive(Module, Debug)]
struct Weights {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

const SHAPE: [usize; 2] = [3, 4];

fn start(place: usize) -> f64 {
    (place as f64 * 1.3).sin() * 0.5 + 0.1
}

fn gradient(step: usize, place: usize) -> f64 {
    (place as f64 * 2.1 + step as f64 * 0.7).cos() * (1.0 + step as f64 * 0.3)
}

fn floats(n: usize, of: impl Fn(usize) -> f64) -> Vec<f32> {
    (0..n).map(|place| of(place) as f32).collect()
}

/// The matrix and the bias after `n` steps with rate 0.1.
fn after(recipe: OptimizerRecipe, n: usize) -> (Vec<f32>, Vec<f32>) {
    let device = Device::flex();
    let matrix = |values| Tensor::<2>::from_data(TensorData::new(values, SHAPE), &device);
    let vector = |values| Tensor::<1>::from_data(TensorData::new(values, [4]), &device);
    let model = Weights {
        weight: Param::from_tensor(matrix(floats(12, start))),
        bias: Param::from_tensor(vector(floats(4, start))),
    };
    let mut model = model.train();
    let mut optimizer = recipe.build();
    for step in 0..n {
        let mut grads = GradientsParams::new();
        grads.register(model.weight.id, matrix(floats(12, |place| gradient(step, place))));
        grads.register(model.bias.id, vector(floats(4, |place| gradient(step, place))));
        model = optimizer.step(0.1, model, grads);
    }
    let vec = |data: TensorData| data.try_into_vec::<f32>().unwrap();
    (vec(model.weight.val().into_data()), vec(model.bias.val().into_data()))
}

fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 2e-5, "{what}: {found} {expected}");
    }
}

#[test]
fn adamw_is_algorithm_2() {
    let recipe = AdamWRecipe { betas: [0.8, 0.95], epsilon: 1e-6, weight_decay: 0.3 };
    let (weight, bias) = after(recipe.into(), 4);
    let oracle = |n: usize, decay: f64| -> Vec<f64> {
        let one = |place: usize| {
            let (mut w, mut m, mut v) = (start(place), 0.0, 0.0);
            for step in 0..4 {
                let g = gradient(step, place);
                m = 0.8 * m + 0.2 * g;
                v = 0.95 * v + 0.05 * g * g;
                let t = step as i32 + 1;
                let (m, v) = (m / (1.0 - 0.8_f64.powi(t)), v / (1.0 - 0.95_f64.powi(t)));
                w = w * (1.0 - 0.1 * decay) - 0.1 * m / (v.sqrt() + 1e-6);
            }
            w
        };
        (0..n).map(one).collect()
    };
    assert_close(&weight, &oracle(12, f64::from(0.3_f32)), "the matrix decays");
    assert_close(&bias, &oracle(4, 0.0), "the bias does not");
}

#[test]
fn lion_follows_the_sign() {
    let recipe = LionRecipe { betas: [0.9, 0.99], weight_decay: 0.2 };
    let (weight, bias) = after(OptimizerRecipe::Lion(recipe), 4);
    let oracle = |n: usize, decay: f64| -> Vec<f64> {
        let one = |place: usize| {
            let (mut w, mut m) = (start(place), 0.0);
            for step in 0..4 {
                let g = gradient(step, place);
                let direction: f64 = if step == 0 { g } else { 0.9 * m + 0.1 * g };
                w = w * (1.0 - 0.1 * decay) - 0.1 * direction.signum();
                m = 0.99 * m + 0.01 * g;
            }
            w
        };
        (0..n).map(one).collect()
    };
    assert_close(&weight, &oracle(12, f64::from(0.2_f32)), "the matrix decays");
    assert_close(&bias, &oracle(4, 0.0), "the bias does not");
}

#[test]
fn adafactor_factors_its_second_moment() {
    let (weight, bias) = after(OptimizerRecipe::Adafactor(AdafactorRecipe::default()), 3);
    let [n_rows, n_columns] = SHAPE;
    let mut w: Vec<f64> = (0..12).map(start).collect();
    let (mut rows, mut columns) = (vec![0.0; n_rows], vec![0.0; n_columns]);
    let (mut b, mut second): (Vec<f64>, Vec<f64>) = ((0..4).map(start).collect(), vec![0.0; 4]);
    for step in 0..3 {
        let new = ((step + 1) as f64).powf(-0.8);
        let g: Vec<f64> = (0..12).map(|place| gradient(step, place)).collect();
        let square = |r: usize, c: usize| g[r * n_columns + c].powi(2) + 1e-30;
        for (r, row) in rows.iter_mut().enumerate() {
            let mean = (0..n_columns).map(|c| square(r, c)).sum::<f64>() / n_columns as f64;
            *row = (1.0 - new) * *row + new * mean;
        }
        for (c, column) in columns.iter_mut().enumerate() {
            let mean = (0..n_rows).map(|r| square(r, c)).sum::<f64>() / n_rows as f64;
            *column = (1.0 - new) * *column + new * mean;
        }
        let mean_row = rows.iter().sum::<f64>() / n_rows as f64;
        let update: Vec<f64> = (0..12)
            .map(|p| g[p] / (rows[p / n_columns] * columns[p % n_columns] / mean_row).sqrt())
            .collect();
        let rms = (update.iter().map(|u| u * u).sum::<f64>() / 12.0).sqrt().max(1.0);
        w.iter_mut().zip(&update).for_each(|(w, u)| *w -= 0.1 * u / rms);
        for (place, v) in second.iter_mut().enumerate() {
            *v = (1.0 - new) * *v + new * (gradient(step, place).powi(2) + 1e-30);
        }
        let update: Vec<f64> = (0..4).map(|p| gradient(step, p) / second[p].sqrt()).collect();
        let rms = (update.iter().map(|u| u * u).sum::<f64>() / 4.0).sqrt().max(1.0);
        b.iter_mut().zip(&update).for_each(|(b, u)| *b -= 0.1 * u / rms);
    }
    assert_close(&weight, &w, "the matrix");
    assert_close(&bias, &b, "the bias");
}

/// An encoder with a layer more than one.
fn encoder(model_type: &str) -> (Config, CrossEncoder) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let text = serde_json::json!({
        "model_type": model_type, "vocab_size": 30, "hidden_size": 16, "dim": 16, "n_layers": 2,
        "num_hidden_layers": 2, "num_attention_heads": 2, "n_heads": 2, "intermediate_size": 32,
        "hidden_dim": 32, "embedding_size": 16, "max_position_embeddings": 20, "num_labels": 1,
        "relative_attention": true, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8,
        "type_vocab_size": 2, "norm_rel_ebd": "layer_norm", "share_att_key": true,
        "position_biased_input": false, "pooler_hidden_size": 16,
    });
    std::fs::write(&path, text.to_string()).unwrap();
    let config = Config::read(&path).unwrap();
    let model = CrossEncoder::zeros(&config, &Device::flex());
    (config, model)
}

const ENCODERS: [&str; 7] =
    ["bert", "roberta", "distilbert", "electra", "albert", "modernbert", "deberta-v2"];

/// Path, kind of owner and rank of every parameter.
#[derive(Default)]
struct Parameters {
    path: Vec<String>,
    owners: Vec<String>,
    found: Vec<(String, String, usize)>,
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_owned());
        self.owners.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.owners.pop();
    }

    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        let owner = self.owners.last().cloned().unwrap_or_default();
        self.found.push((self.path.join("."), owner, D));
    }
}

fn parameters(model: &CrossEncoder) -> Vec<(String, String, usize)> {
    let mut parameters = Parameters::default();
    model.visit(&mut parameters);
    parameters.found
}

#[test]
fn no_bias_and_no_norm_decays_in_any_encoder() {
    let id = burn::module::ParamId::new();
    for model_type in ENCODERS {
        let parameters = parameters(&encoder(model_type).1);
        assert!(parameters.len() > 10);
        for (path, owner, rank) in parameters {
            let spared = group(&NO_DECAY).matches(&id, Some(&path));
            assert_eq!(spared, owner == "Struct:LayerNorm" || rank == 1, "{model_type} {path}");
            let muon = group(&[HIDDEN]).matches(&id, Some(&path)) && !spared;
            assert!(!muon || (rank == 2 && owner == "Struct:Linear"), "{model_type} {path}");
        }
    }
}

#[test]
fn rates_fall_from_the_head_to_the_embeddings() {
    let id = burn::module::ParamId::new();
    for model_type in ENCODERS.into_iter().filter(|&name| name != "albert") {
        let rates = LayerRates { decay: 0.5, head: 10.0, n_layers: 2 }.rates(8.0);
        assert_eq!(n_layers(&encoder(model_type).1), 2, "{model_type}");
        let rate = |path: &str| rates.lr_from_param(id, Some(path));
        for (path, ..) in parameters(&encoder(model_type).1) {
            let expected = if path.starts_with("head.") {
                80.0
            } else if path.contains(".layers.1.") || path.contains("final_norm") {
                4.0
            } else if path.contains(".layers.0.") {
                2.0
            } else {
                assert!(!path.contains("layers."), "{model_type} {path}");
                1.0
            };
            assert_eq!(rate(&path), expected, "{model_type} {path}");
        }
    }
    let same = LayerRates::default().rates(0.3);
    assert_eq!(same.lr_from_param(id, Some("anything")), 0.3);
}

#[test]
fn muon_makes_updates_orthogonal() {
    // Only in layers; elsewhere the step is AdamW's, of size 0.1.
    #[derive(Module, Debug)]
    struct Model {
        encoder: Vec<Weights>,
    }
    let device = Device::flex();
    let matrix = |of: fn(usize) -> f64| {
        Tensor::<2>::from_data(TensorData::new(floats(12, of), SHAPE), &device)
    };
    let layer = Weights {
        weight: Param::from_tensor(matrix(|_| 0.0)),
        bias: Param::from_tensor(Tensor::zeros([4], &device)),
    };
    let id = layer.weight.id;
    let model = Model { encoder: vec![layer] }.train();
    let mut grads = GradientsParams::new();
    grads.register(id, matrix(|place| gradient(0, place * place)));
    // The group by name, as the paths of encoders have it.
    let recipe = MuonRecipe { weight_decay: 0.0, ..MuonRecipe::default() };
    let muon = MuonConfig::new().with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
    let mut optimizer = OptimizerRecipe::Muon(recipe).build().with_group(
        group(&[r"^encoder\.0\.weight$"]),
        muon.build(),
        None,
    );
    let model = optimizer.step(0.1, model, grads);
    let update = model.valid().encoder[0].weight.val() / -0.1;
    // 0.2 √max(rows, columns) times a matrix whose singular values are about 1.
    let update = update / (0.2 * 2.0);
    let product = update.clone().matmul(update.transpose()).into_data();
    for (place, value) in product.try_into_vec::<f32>().unwrap().into_iter().enumerate() {
        let expected = if place % 4 == 0 { 1.0 } else { 0.0 };
        assert!((value - expected).abs() < 0.45, "place {place}: {value}");
    }
}
