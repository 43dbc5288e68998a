//! Values and gradients that the Python originals gave for fixed scores.

use std::path::PathBuf;

use serde_json::Value;
use tamis_loss::{Bce, KlDivergence, Lce, Loss, MarginMse, Mse, Space};

use crate::{Batch, value_and_gradient};

/// Numbers of an array of any depth, in order.
fn flat(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        other => vec![other.as_f64().expect("a number") as f32],
    }
}

fn rows(values: &[f32], width: usize) -> Vec<Vec<f32>> {
    values.chunks(width).map(<[f32]>::to_vec).collect()
}

/// The loss and batch of a case, or `None` for losses that this crate does not have.
fn parse(case: &Value) -> Option<(Loss, Batch, Vec<f32>)> {
    let params = &case["params"];
    let inputs = &case["inputs"];
    let size = || params["group_size"].as_u64().map_or(1, |n| n as usize);
    let scores = || rows(&flat(&inputs["scores"]), size());
    let grad = || flat(&case["grad"]["scores"]);
    let first_positive = |scores: Vec<Vec<f32>>| {
        let label = |i: usize| if i == 0 { 1.0 } else { 0.0 };
        let labels = scores.iter().map(|row| (0..row.len()).map(label).collect()).collect();
        Batch::new(scores, labels)
    };
    let pointwise = || Batch::new(scores(), rows(&flat(&case["labels"]), 1));
    Some(match case["name"].as_str()? {
        "lce" | "flag_ce" => {
            let temperature = params["temperature"].as_f64().unwrap_or(1.0);
            (Loss::Lce(Lce { temperature }), first_positive(scores()), grad())
        }
        "point_ce" | "point_ce_fp16_labels" => (Loss::Bce(Bce::default()), pointwise(), grad()),
        "st_bce" => {
            let pos_weight = params["pos_weight"].as_f64().unwrap_or(1.0);
            (Loss::Bce(Bce { pos_weight }), pointwise(), grad())
        }
        "point_mse" | "point_mse_fp16_labels" => {
            (Loss::Mse(Mse { space: Space::Sigmoid }), pointwise(), grad())
        }
        "margin_mse" => {
            let pair = |place: &Value, a: &str, b: &str| -> Vec<Vec<f32>> {
                let (a, b) = (flat(&place[a]), flat(&place[b]));
                a.into_iter().zip(b).map(|(a, b)| vec![a, b]).collect()
            };
            let mut batch = first_positive(pair(inputs, "scores_pos", "scores_neg"));
            batch.teacher = pair(&case["labels"], "label_pos", "label_neg");
            let grad = pair(&case["grad"], "scores_pos", "scores_neg").concat();
            (Loss::MarginMse(MarginMse {}), batch, grad)
        }
        "kl_div_distill" => {
            let mut batch = first_positive(scores());
            batch.teacher = rows(&flat(&case["teacher_scores"]), size());
            (Loss::KlDivergence(KlDivergence::default()), batch, grad())
        }
        _ => return None,
    })
}

fn check(text: &str, at_least: usize) {
    let file: Value = serde_json::from_str(text).unwrap();
    let mut n_checked = 0;
    for case in file["cases"].as_array().unwrap() {
        let Some((loss, batch, expected_grad)) = parse(case) else { continue };
        let expected = case["loss"].as_f64().unwrap();
        let (value, grad) = value_and_gradient(&loss, &batch);
        let error = (f64::from(value) - expected).abs();
        assert!(error <= 1e-5 + 1e-5 * expected.abs(), "{loss:?}: {value}, expected {expected}");
        assert_eq!(grad.len(), expected_grad.len());
        for (found, expected) in grad.iter().zip(&expected_grad) {
            let close = (found - expected).abs() <= 1e-6 + 1e-4 * expected.abs();
            assert!(close, "{loss:?}: gradient {found}, expected {expected}");
        }
        n_checked += 1;
    }
    assert!(n_checked >= at_least, "{n_checked} cases were found, at least {at_least} are there");
}

#[test]
fn a_hand_made_case_agrees_with_torch() {
    // torch.nn.functional.cross_entropy([[2., 0., 1.]], [0]): softmax = .66524, .09003, .24473.
    check(
        r#"{"cases": [{"name": "lce", "params": {"group_size": 3}, "loss": 0.40760596,
            "inputs": {"scores": [2.0, 0.0, 1.0]},
            "grad": {"scores": [-0.33475904, 0.09003057, 0.24472847]}}]}"#,
        1,
    );
}

mod with_fixtures {
    use super::*;

    fn fixture(folder: &str) -> String {
        let root = std::env::var("TAMIS_FIXTURES").expect("TAMIS_FIXTURES names the fixtures");
        let path = PathBuf::from(root).join("losses").join(folder).join("expected.json");
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lce_is_that_of_reranker() {
        check(&fixture("luyug_lce"), 3);
    }

    #[test]
    fn margin_mse_is_that_of_its_authors() {
        check(&fixture("margin_mse"), 2);
    }

    #[test]
    fn pointwise_losses_are_those_of_rag_retrieval() {
        check(&fixture("rag_retrieval_point"), 4);
    }

    #[test]
    fn distillation_is_that_of_flag_embedding() {
        check(&fixture("flag_distill"), 2);
    }

    #[test]
    fn cross_entropy_is_that_of_sentence_transformers() {
        check(&fixture("sentence_transformers"), 3);
    }
}
