//! Cascaded self-distillation beside the published code's values and gradients.

use std::path::PathBuf;

use burn::tensor::{Bool, Device, Tensor, TensorData};
use serde_json::Value;
use tamis_loss::{Cascade, CascadeMethod, LossInput};

const METHODS: [(&str, CascadeMethod); 7] = [
    ("normal", CascadeMethod::Normal),
    ("distill_fix_layer", CascadeMethod::DistillFixLayer),
    ("distill_last_layer", CascadeMethod::DistillLastLayer),
    ("distill_final_layer", CascadeMethod::DistillFinalLayer),
    ("distill_fix_layer_teacher", CascadeMethod::DistillFixLayerTeacher),
    ("distill_last_layer_teacher", CascadeMethod::DistillLastLayerTeacher),
    ("distill_final_layer_teacher", CascadeMethod::DistillFinalLayerTeacher),
];

/// Scores of exits and of the pass with all tokens, as flat groups.
struct Case {
    exits: Vec<Vec<f32>>,
    full: Vec<Vec<f32>>,
    teacher: Vec<f32>,
    dims: [usize; 2],
}

impl Case {
    /// The loss, the gradient of every exit, and whether the full pass has one.
    fn run(&self, cascade: Cascade) -> (f32, Vec<Vec<f32>>, bool) {
        let device = Device::flex().autodiff();
        let tensor = |values: &Vec<f32>| {
            Tensor::<2>::from_data(TensorData::new(values.clone(), self.dims), &device)
        };
        let exits: Vec<Tensor<2>> =
            self.exits.iter().map(|values| tensor(values).require_grad()).collect();
        let full: Vec<Tensor<2>> =
            self.full.iter().map(|values| tensor(values).require_grad()).collect();
        let labels: Vec<f32> = (0..self.teacher.len())
            .map(|place| f32::from(u8::from(place.is_multiple_of(self.dims[1]))))
            .collect();
        let mask = TensorData::new(vec![true; self.teacher.len()], self.dims);
        let mask = Tensor::<2, Bool>::from_data(mask, &device);
        let input = LossInput::new(exits[0].clone(), tensor(&labels), mask)
            .and_then(|input| input.with_teacher_scores(tensor(&self.teacher)))
            .unwrap();
        let loss = cascade.forward(&exits, &full, &input);
        let grads = loss.backward();
        let values = |x: Tensor<2>| x.into_data().try_into_vec::<f32>().unwrap();
        let gradients = exits.iter().map(|exit| values(exit.grad(&grads).unwrap())).collect();
        let full_learns = full.iter().any(|full| full.grad(&grads).is_some());
        (loss.into_scalar(), gradients, full_learns)
    }
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}: {a}, expected {b}");
    }
}

/// Appendix A.3 of the specification: 18 exits, 2 groups of 4.
fn appendix() -> Case {
    let scores = |exit: usize, of: fn(f64, f64, f64) -> f64| -> Vec<f32> {
        (0..8).map(|i| of(exit as f64, f64::from(i / 4), f64::from(i % 4)) as f32).collect()
    };
    Case {
        exits: (0..18).map(|l| scores(l, |l, b, g| (1.3 * l + 0.7 * b + 2.1 * g).sin())).collect(),
        full: (0..18).map(|l| scores(l, |l, b, g| (0.9 * l + 1.1 * b + 0.5 * g).cos())).collect(),
        teacher: scores(0, |_, b, g| 3.0 * (b + 2.0 * g).sin()),
        dims: [2, 4],
    }
}

#[test]
fn losses_and_gradients_of_every_method() {
    let case = appendix();
    let with_teacher = [-0.34027, -0.359818, 0.52664, 0.173448];
    let expected: [(&str, f32, [f32; 4], [f32; 4]); 7] = [
        (
            "normal",
            28.099575,
            [-0.405286, 0.047287, 0.264853, 0.093145],
            [-0.44862, 0.11003, 0.287686, 0.050904],
        ),
        (
            "distill_fix_layer_teacher",
            84.31663,
            with_teacher,
            [-0.566526, -0.247887, 0.765554, 0.048858],
        ),
        (
            "distill_last_layer_teacher",
            84.35088,
            with_teacher,
            [-0.566526, -0.247887, 0.765554, 0.048858],
        ),
        (
            "distill_final_layer_teacher",
            57.17093,
            with_teacher,
            [-0.426937, -0.234332, 0.572305, 0.088964],
        ),
        ("distill_fix_layer", 57.469902, with_teacher, [-0.588208, 0.096475, 0.480935, 0.010798]),
        ("distill_last_layer", 57.50417, with_teacher, [-0.588208, 0.096475, 0.480935, 0.010798]),
        (
            "distill_final_layer",
            57.496094,
            with_teacher,
            [-0.506007, 0.119438, 0.456584, -0.070015],
        ),
    ];
    for (name, loss, deepest, middle) in expected {
        let (_, method) = METHODS.into_iter().find(|(known, _)| *known == name).unwrap();
        let (found, grads, full_learns) = case.run(Cascade { method, ..Cascade::default() });
        assert_close(&[found], &[loss], 1e-6, name);
        assert_close(&grads[17][..4], &deepest, 1e-6, name);
        assert_close(&grads[8][..4], &middle, 1e-6, name);
        assert!(!full_learns, "{name}: the pass with all tokens only teaches");
        let mean = Cascade { method, mean: true, ..Cascade::default() };
        assert_close(&[case.run(mean).0], &[loss / 18.0], 1e-6, name);
    }
}

mod with_fixtures {
    use super::*;

    fn flat(value: &Value) -> Vec<f32> {
        match value {
            Value::Array(items) => items.iter().flat_map(flat).collect(),
            other => vec![other.as_f64().unwrap() as f32],
        }
    }

    #[test]
    fn losses_and_gradients_of_the_published_code() {
        let root = std::env::var("TAMIS_FIXTURES").expect("TAMIS_FIXTURES names the fixtures");
        let path = PathBuf::from(root).join("losses/matroyshka_self_distill/expected.json");
        let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let mut n = 0;
        for case in all["cases"].as_array().unwrap() {
            let name = case["params"]["train_method"].as_str().unwrap();
            let Some((_, method)) = METHODS.into_iter().find(|(known, _)| *known == name) else {
                continue;
            };
            if case.get("error").is_some() || case["name"] != "matroyshka_self_distill" {
                continue;
            }
            let inputs: Vec<Vec<f32>> =
                case["inputs"].as_object().unwrap().values().map(flat).collect();
            let number = |key: &str| case["params"][key].as_u64().unwrap() as usize;
            let full = case["full_logits"]
                .as_array()
                .map_or(Vec::new(), |all| all.iter().map(flat).collect());
            let teacher = match &case["teacher_scores"] {
                Value::Null => vec![0.0; number("batch") * number("group_size")],
                scores => flat(scores),
            };
            let dims = [number("batch"), number("group_size")];
            let fixed = Case { exits: inputs, full, teacher, dims };
            let (loss, grads, _) = fixed.run(Cascade { method, ..Cascade::default() });
            assert_close(&[loss], &[flat(&case["loss"])[0]], 1e-5, name);
            for (found, expected) in grads.iter().zip(case["grad"].as_object().unwrap().values()) {
                assert_close(found, &flat(expected), 1e-5, name);
            }
            n += 1;
        }
        assert_eq!(n, METHODS.len(), "every method has a case");
    }
}

/// Without a teacher of the data a cascade lacks what that teaches, and nothing else.
#[test]
fn a_cascade_needs_no_teacher() {
    let case = appendix();
    let run = |method| case.run(Cascade { method, every: 3, ..Cascade::default() });
    let mut shares = Vec::new();
    for (with, without) in [
        (CascadeMethod::DistillFixLayer, CascadeMethod::FixLayer),
        (CascadeMethod::DistillLastLayer, CascadeMethod::LastLayer),
        (CascadeMethod::DistillFinalLayer, CascadeMethod::FinalLayer),
    ] {
        assert!(!without.needs_teacher() && without.needs_full_width());
        let ((with, of_with, _), (without, of_without, _)) = (run(with), run(without));
        shares.push(with - without);
        // The teacher of the data teaches the deepest exit alone.
        assert_close(&of_with[..17].concat(), &of_without[..17].concat(), 1e-6, "shallower exits");
        assert!(of_with[17].iter().zip(&of_without[17]).any(|(a, b)| (a - b).abs() > 1e-2));
    }
    assert_close(&shares, &[shares[0]; 3], 1e-5, "what the teacher teaches");
    // With one anchor in three the cascades differ.
    let losses = [CascadeMethod::FixLayer, CascadeMethod::LastLayer, CascadeMethod::FinalLayer];
    let losses = losses.map(|method| run(method).0);
    assert!(losses[0] != losses[1] && losses[1] != losses[2] && losses[0] != losses[2]);
}
