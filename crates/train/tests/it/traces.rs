//! Thirty steps of a tiny BERT and of adapters on a decoder under LCE, and of a PreTTR under Margin-MSE:
//! losses, gradient norms, rates and weights of PyTorch.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;
use tamis_data::Batch;
use tamis_loss::{Lce, Loss, MarginMse, Objective};
use tamis_model::{adapter, checkpoint};
use tamis_train::{AdamWRecipe, Learner, MicroBatch, Schedule, ScheduleKind};

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn ids(row: &Value) -> Vec<u32> {
    row.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// A padded batch of the file, packed.
fn micro_batch(batch: &Value, group_size: usize) -> MicroBatch {
    let mut packed = Batch::new();
    let rows = batch["input_ids"].as_array().unwrap();
    for (row_idx, row) in rows.iter().enumerate() {
        let n: u32 = ids(&batch["attention_mask"][row_idx]).iter().sum();
        let n = n as usize;
        let types = &batch["token_type_ids"][row_idx];
        let types = if types.is_null() { vec![0; n] } else { ids(types)[..n].to_vec() };
        packed.push_row(&ids(row)[..n], &types);
        if (row_idx + 1) % group_size == 0 {
            packed.end_group();
        }
    }
    let label = |place: usize| if place.is_multiple_of(group_size) { 1.0 } else { 0.0 };
    let labels = (0..rows.len()).map(label).collect();
    MicroBatch { batch: packed, labels, teacher_scores: None }
}

/// A batch of triples: a positive and a negative beside each query, which the original sends through the
/// model one after the other, padded to its longest query.
fn triples(batch: &Value) -> MicroBatch {
    let unpadded = |name: &str, row: usize| -> Vec<u32> {
        let ids = ids(&batch[format!("{name}_input_ids")][row]);
        let mask = self::ids(&batch[format!("{name}_attention_mask")][row]);
        ids.into_iter().zip(mask).filter(|&(_, mask)| mask == 1).map(|(id, _)| id).collect()
    };
    let mut packed = Batch::new();
    let (mut labels, mut teacher_scores) = (Vec::new(), Vec::new());
    for row in 0..batch["query_input_ids"].as_array().unwrap().len() {
        let query = unpadded("query", row);
        for (side, label) in [("pos", 1.0), ("neg", 0.0)] {
            let document = unpadded(side, row);
            // Without its `[CLS]`.
            let ids = [&query[..], &document[1..]].concat();
            packed.push_pair(&ids, &vec![0; ids.len()], query.len(), query.len());
            labels.push(label);
            teacher_scores.push(number(&batch[format!("teacher_{side}")][row]) as f32);
        }
        packed.end_group();
    }
    packed.align_documents();
    MicroBatch { batch: packed, labels, teacher_scores: Some(teacher_scores) }
}

fn check(folder: &str, cache_rows: Option<usize>) {
    let (folder, expected) = fixture(folder);
    let group_size = expected["group_size"].as_u64().unwrap() as usize;
    let batches = expected["batches"].as_array().unwrap().iter();
    let micro_batches = batches.map(|batch| micro_batch(batch, group_size)).collect();
    let objective = Objective::single(Loss::Lce(Lce::default()));
    follow(&folder, &expected, micro_batches, objective, cache_rows);
}

fn check_prettr(cache_rows: Option<usize>) {
    let (folder, expected) = fixture("prettr_margin_mse");
    let micro_batches = expected["batches"].as_array().unwrap().iter().map(triples).collect();
    let objective = Objective::single(Loss::MarginMse(MarginMse::default()));
    follow(&folder, &expected, micro_batches, objective, cache_rows);
}

fn fixture(name: &str) -> (PathBuf, Value) {
    let root = std::env::var("TAMIS_FIXTURES").expect("TAMIS_FIXTURES names the fixtures");
    let folder = PathBuf::from(root).join("training").join(name);
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected = serde_json::from_str(&text).unwrap();
    (folder, expected)
}

fn follow(
    folder: &Path,
    expected: &Value,
    micro_batches: Vec<MicroBatch>,
    objective: Objective,
    cache_rows: Option<usize>,
) {
    let hyper = &expected["hyper_parameters"];
    let accumulation = hyper["gradient_accumulation_steps"].as_u64().unwrap_or(1) as usize;

    let device = Device::flex();
    // The fixture was made with dropout off, whatever its configuration says.
    let source = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(folder.join("init/config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    for key in ["hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout"] {
        config[key] = 0.0.into();
    }
    std::fs::write(source.path().join("config.json"), config.to_string()).unwrap();
    let weights = "model.safetensors";
    std::fs::copy(folder.join("init").join(weights), source.path().join(weights)).unwrap();
    let loaded = checkpoint::load(source.path(), None, &device).unwrap();
    let first_adapter = folder.join("init_adapter");
    let model = if first_adapter.exists() {
        let adapted = adapter::load(loaded.model, &loaded.config, &first_adapter).unwrap();
        adapter::freeze_base(adapted, true)
    } else {
        loaded.model
    };

    let schedule = Schedule {
        kind: ScheduleKind::Linear,
        peak: number(&hyper["lr"]),
        warmup_steps: hyper["warmup_steps"].as_u64().unwrap(),
        total_steps: hyper["total_steps"].as_u64().unwrap(),
        ..Schedule::default()
    };
    let adamw =
        AdamWRecipe { weight_decay: number(&hyper["weight_decay"]) as f32, ..Default::default() };
    let clip = Some(number(&hyper["max_grad_norm"]));
    let mut learner = Learner::new(model, &adamw.into(), objective, schedule, clip, 0, &device)
        .with_gradient_cache(cache_rows);

    let trace = expected["trace"].as_array().unwrap();
    assert_eq!(micro_batches.len(), trace.len() * accumulation);
    let mut worst = 0.0_f64;
    for (step, (expected, micro)) in
        trace.iter().zip(micro_batches.chunks(accumulation)).enumerate()
    {
        let taken = learner.step(step as u64, micro).unwrap();
        let (loss, norm) = (number(&expected["loss"]), number(&expected["grad_norm_before_clip"]));
        let error = (taken.loss - loss).abs();
        worst = worst.max(error / (1.0 + loss));
        assert!(error <= 1e-3, "step {step}: loss {}, expected {loss}", taken.loss);
        assert!((taken.grad_norm - norm).abs() <= 1e-3 * norm, "step {step}: {}", taken.grad_norm);
        assert!((taken.lr - number(&expected["lr"])).abs() < 1e-9);
    }
    assert!(worst <= 1e-4, "the losses stay within the fixture's own tolerance; worst {worst:e}");
}

mod with_fixtures {
    use super::{check, check_prettr};

    #[test]
    fn bert_with_lce_follows_pytorch() {
        check("bert_lce", None);
    }

    #[test]
    fn accumulation_follows_pytorch() {
        check("bert_lce_accum", None);
    }

    #[test]
    fn the_gradient_cache_follows_pytorch() {
        // Sub-batches of 3 of the 8 rows of a batch, with and without accumulation.
        check("bert_lce", Some(3));
        check("bert_lce_accum", Some(3));
    }

    #[test]
    fn a_prettr_with_margin_mse_follows_pytorch() {
        check_prettr(None);
        check_prettr(Some(3));
    }

    #[test]
    fn a_decoder_with_adapters_follows_pytorch() {
        check("lora_mistral", None);
        check("lora_mistral", Some(3));
    }
}
