//! Values and gradients that the Python originals gave for fixed scores.

use std::path::PathBuf;

use serde_json::Value;
use tamis_loss::{
    AdrMse, Bce, CrossEntropy, KlDivergence, LambdaLoss, Lce, ListMle, ListNet, Loss, MarginMse,
    Mse, MultipleNegatives, PListMle, RankNet, Space, Weighting,
};

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

/// What a case says: the loss and its factor, the batch, and the gradient that is expected.
struct Case {
    loss: Loss,
    factor: f64,
    batch: Batch,
    grad: Vec<f32>,
}

/// A case, or `None` for those that are sums of losses or belong to a model's training.
fn parse(case: &Value) -> Option<Case> {
    if case.get("error").is_some() {
        return None;
    }
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
    let number = |key: &str, default: f64| params[key].as_f64().unwrap_or(default);
    let cutoff = params["k"].as_u64().map(|k| k as usize);
    let space = match params["activation_fn"].as_str() {
        Some("sigmoid") => Space::Sigmoid,
        _ => Space::Logit,
    };
    let bits = if params["reduction_log"] == "natural" { 1.0 } else { std::f64::consts::LOG2_E };
    let (loss, factor, batch, grad) = match case["name"].as_str()? {
        "lce" | "flag_ce" => {
            let loss = Loss::Lce(Lce { temperature: number("temperature", 1.0) });
            (loss, 1.0, first_positive(scores()), grad())
        }
        // The original forgets the temperature here; the gradient is that of a loss without.
        "lce_gradcache_compute_grad" => {
            (Loss::Lce(Lce::default()), 1.0, first_positive(scores()), grad())
        }
        "point_ce" | "point_ce_fp16_labels" => {
            (Loss::Bce(Bce::default()), 1.0, pointwise(), grad())
        }
        "st_bce" => {
            let loss = Loss::Bce(Bce { pos_weight: number("pos_weight", 1.0) });
            (loss, 1.0, pointwise(), grad())
        }
        "point_mse" | "point_mse_fp16_labels" => {
            (Loss::Mse(Mse { space: Space::Sigmoid }), 1.0, pointwise(), grad())
        }
        "st_mse" => (Loss::Mse(Mse { space }), 1.0, pointwise(), grad()),
        "margin_mse" => {
            let pair = |place: &Value, a: &str, b: &str| -> Vec<Vec<f32>> {
                let (a, b) = (flat(&place[a]), flat(&place[b]));
                a.into_iter().zip(b).map(|(a, b)| vec![a, b]).collect()
            };
            let mut batch = first_positive(pair(inputs, "scores_pos", "scores_neg"));
            batch.teacher = pair(&case["labels"], "label_pos", "label_neg");
            let grad = pair(&case["grad"], "scores_pos", "scores_neg").concat();
            (Loss::MarginMse(MarginMse {}), 1.0, batch, grad)
        }
        "st_margin_mse" => {
            let mut batch = first_positive(rows(&flat(&inputs["scores"]), 3));
            batch.teacher = match params["labels_kind"].as_str()? {
                "scores" => rows(&flat(&case["labels"]), 3),
                // A margin is what the negative is below a positive of 0.
                _ => rows(&flat(&case["labels"]), 2)
                    .into_iter()
                    .map(|margins| [vec![0.0], margins.iter().map(|m| -m).collect()].concat())
                    .collect(),
            };
            (Loss::MarginMse(MarginMse {}), 1.0, batch, grad())
        }
        "kl_div_distill" => {
            let mut batch = first_positive(scores());
            batch.teacher = rows(&flat(&case["teacher_scores"]), size());
            (Loss::KlDivergence(KlDivergence::default()), 1.0, batch, grad())
        }
        "st_cross_entropy" => {
            let classes: Vec<f32> = flat(&case["labels"]);
            let one_hot = |class: f32| (0..3).map(|c| f32::from(c as f32 == class)).collect();
            let labels = classes.into_iter().map(one_hot).collect();
            let batch = Batch::new(rows(&flat(&inputs["scores"]), 3), labels);
            (Loss::CrossEntropy(CrossEntropy::default()), 1.0, batch, grad())
        }
        "st_mnrl" | "st_cached_mnrl" => {
            // Query i against the candidates of all rows: all positives and hard negatives.
            let n_queries = inputs["scores"].as_array()?.len();
            let width = n_queries * params["columns"].as_u64()? as usize;
            let columns = width / n_queries;
            let label = |i: usize, place: usize| f32::from(place == i * columns);
            let labels = (0..n_queries).map(|i| (0..width).map(|p| label(i, p)).collect());
            let batch = Batch::new(rows(&flat(&inputs["scores"]), width), labels.collect());
            let loss = MultipleNegatives { scale: number("scale", 10.0), space };
            (Loss::MultipleNegatives(loss), 1.0, batch, grad())
        }
        listwise => {
            let width = case["labels"][0].as_array()?.len();
            let mut batch = Batch::new(
                rows(&flat(&inputs["scores"]), width),
                rows(&flat(&case["labels"]), width),
            );
            batch.mask = rows(&flat(&case["mask"]), width)
                .into_iter()
                .map(|row| row.into_iter().map(|present| present == 1.0).collect())
                .collect();
            if params["respect_input_order"] == true {
                // Labels that say: as it came.
                let falling = |row: &Vec<f32>| (0..row.len()).map(|i| -(i as f32)).collect();
                batch.labels = batch.labels.iter().map(falling).collect();
            }
            let (loss, factor) = match listwise {
                "st_lambda" => {
                    let (weighting, mu) = match params["weighting_scheme"].as_str()? {
                        "none" => (Weighting::None, 10.0),
                        "ndcg_loss1" => (Weighting::NdcgLoss1, 10.0),
                        "ndcg_loss2" => (Weighting::NdcgLoss2, 10.0),
                        "lambda_rank" => (Weighting::LambdaRank, 10.0),
                        "ndcg_loss2pp" => (Weighting::NdcgLoss2pp, 10.0),
                        "ndcg_loss2pp_mu3" => (Weighting::NdcgLoss2pp, 3.0),
                        _ => return None,
                    };
                    let sigma = number("sigma", 1.0);
                    let lambda = LambdaLoss { weighting, mu, k: cutoff, sigma };
                    (Loss::LambdaLoss(lambda), bits / std::f64::consts::LOG2_E)
                }
                "st_ranknet" => {
                    let loss = RankNet { k: cutoff, ..RankNet::default() };
                    (Loss::RankNet(loss), std::f64::consts::LOG2_E)
                }
                "st_listnet" => (Loss::ListNet(ListNet::default()), 1.0),
                "st_listmle" => (Loss::ListMle(ListMle {}), 1.0),
                "st_plistmle" => (Loss::PListMle(PListMle { space }), 1.0),
                "st_adrmse" => (Loss::AdrMse(AdrMse { alpha: number("alpha", 1.0) }), 1.0),
                _ => return None,
            };
            (loss, factor, batch, grad())
        }
    };
    Some(Case { loss, factor, batch, grad })
}

fn check(text: &str, at_least: usize) {
    let file: Value = serde_json::from_str(text).unwrap();
    let mut n_checked = 0;
    for case in file["cases"].as_array().unwrap() {
        let Some(Case { loss, factor, batch, grad: expected_grad }) = parse(case) else { continue };
        let expected = case["loss"].as_f64().unwrap();
        let (value, grad) = value_and_gradient(&loss, &batch);
        let value = f64::from(value) * factor;
        let error = (value - expected).abs();
        assert!(error <= 1e-5 + 1e-5 * expected.abs(), "{loss:?}: {value}, expected {expected}");
        assert_eq!(grad.len(), expected_grad.len());
        for (found, expected) in grad.iter().zip(&expected_grad) {
            let found = found * factor as f32;
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
        check(&fixture("luyug_lce"), 5);
    }

    #[test]
    fn margin_mse_is_that_of_its_authors() {
        check(&fixture("margin_mse"), 2);
    }

    #[test]
    fn pointwise_losses_are_those_of_rag_retrieval() {
        check(&fixture("rag_retrieval_point"), 12);
    }

    #[test]
    fn distillation_is_that_of_flag_embedding() {
        check(&fixture("flag_distill"), 2);
    }

    #[test]
    fn losses_are_those_of_sentence_transformers() {
        // All of them: 104 cases.
        check(&fixture("sentence_transformers"), 104);
    }
}
