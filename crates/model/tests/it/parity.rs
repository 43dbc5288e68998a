//! Token ids, hidden states and logits equal those of transformers.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use tamis_data::{Batch, PairConfig, PairEncoder, TextGroup, Truncation, TruncationReport};
use tamis_model::{DropoutSeeds, Input, Reranker, Settings, checkpoint};

fn floats(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).unwrap();
    let (chunks, _) = view.data().as_chunks::<4>();
    (view.shape().to_vec(), chunks.iter().map(|&b| f32::from_le_bytes(b)).collect())
}

fn integers(file: &SafeTensors<'_>, name: &str) -> Vec<Vec<i64>> {
    let view = file.tensor(name).unwrap();
    let (chunks, _) = view.data().as_chunks::<8>();
    let flat: Vec<i64> = chunks.iter().map(|&b| i64::from_le_bytes(b)).collect();
    flat.chunks(view.shape()[1]).map(<[i64]>::to_vec).collect()
}

/// The rows of a padded batch, packed.
fn packed(file: &SafeTensors<'_>) -> Batch {
    let (ids, types, mask) = (
        integers(file, "input_ids"),
        integers(file, "token_type_ids"),
        integers(file, "attention_mask"),
    );
    let mut batch = Batch::new();
    for ((ids, types), mask) in ids.iter().zip(&types).zip(&mask) {
        let n = mask.iter().sum::<i64>() as usize;
        let cast = |row: &[i64]| row[..n].iter().map(|&id| id as u32).collect::<Vec<u32>>();
        batch.push_row(&cast(ids), &cast(types));
    }
    batch.end_group();
    batch
}

/// Compares the hidden states in a file, by transformers' numbering, with ours.
fn compare_hidden_states(directory: &Path, expected: &Path, n_rows: usize, tolerance: f32) {
    let device = Device::flex();
    let bytes = std::fs::read(expected).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let new_head = Some(checkpoint::NewHead { seed: 0 });
    let model = checkpoint::load(directory, new_head, &device).unwrap().model;
    let batch = packed(&file);
    let input = Input::new(&batch, &device);
    let states = model.encoder().hidden_states(&input, &mut DropoutSeeds::inference());
    let mut n_compared = 0;
    for (index, state) in states.into_iter().enumerate() {
        let name = format!("hidden_states.{index}");
        if file.tensor(&name).is_err() {
            continue;
        }
        let (shape, expected) = floats(&file, &name);
        let (padded, width) = (shape[1], shape[2]);
        let ours = state.into_data().try_into_vec::<f32>().unwrap();
        for row in 0..n_rows {
            let start = batch.row_offsets()[row] as usize;
            let n_tokens = batch.row_offsets()[row + 1] as usize - start;
            for place in 0..n_tokens * width {
                let (a, b) = (ours[start * width + place], expected[row * padded * width + place]);
                assert!((a - b).abs() <= tolerance, "{name}, row {row}: {a}, expected {b}");
            }
        }
        n_compared += 1;
    }
    assert!(n_compared >= 2, "the file has hidden states");
}

mod with_fixtures {
    use super::*;
    use crate::fixture;

    #[test]
    fn bert_gives_the_token_ids_and_logits_of_transformers() {
        let directory = fixture("models/bert");
        let text = std::fs::read_to_string(directory.join("expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        let pairs: Vec<(&str, &str)> = expected["pairs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair["query"].as_str().unwrap(), pair["passage"].as_str().unwrap()))
            .collect();

        let config =
            PairConfig { max_length: 64, query_max_length: 60, truncation: Truncation::SecondOnly };
        let encoder = PairEncoder::open(&directory.join("tokenizer.json"), config).unwrap();
        let mut batch = Batch::new();
        let mut report = TruncationReport::default();
        for (query, document) in &pairs {
            encoder.encode(query, document, &mut batch, &mut report).unwrap();
        }
        batch.end_group();
        let bytes = std::fs::read(directory.join("expected.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(batch, packed(&file), "token ids and segments");

        let reranker = Reranker::open(&directory, &Device::flex())
            .unwrap()
            .with_settings(Settings {
                max_length: 64,
                query_max_length: 60,
                truncation: Truncation::SecondOnly,
                activation: tamis_model::Activation::None,
            })
            .unwrap();
        let groups: Vec<TextGroup<'_>> = pairs
            .iter()
            .map(|&(query, document)| TextGroup { query, documents: vec![document] })
            .collect();
        let (scores, _) = reranker.score(&groups).unwrap();
        for (score, expected) in scores.iter().zip(expected["logits"].as_array().unwrap()) {
            let expected = expected[0].as_f64().unwrap() as f32;
            let error = (score[0] - expected).abs();
            assert!(error <= 1e-4, "logit {}, expected {expected}", score[0]);
        }
    }

    #[test]
    fn bert_gives_the_hidden_states_of_transformers() {
        let directory = fixture("models/bert");
        compare_hidden_states(&directory, &directory.join("expected.safetensors"), 4, 1e-4);
    }

    #[test]
    fn three_labels_are_three_logits_and_no_reranker() {
        let directory = fixture("models/bert_3label");
        let bytes = std::fs::read(directory.join("expected.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let device = Device::flex();
        let model = checkpoint::load(&directory, None, &device).unwrap().model;
        let input = Input::new(&packed(&file), &device);
        let (shape, expected) = floats(&file, "logits");
        let expected = Tensor::<1>::from_floats(expected.as_slice(), &device);
        let logits = model.logits(&input, DropoutSeeds::inference()).reshape([shape[0] * 3]);
        let worst: f32 = (logits - expected).abs().max().into_scalar();
        assert!(worst <= 1e-4, "logits differ by {worst}");
        let error = Reranker::open(&directory, &device).unwrap_err().to_string();
        assert!(error.contains("a reranker has one label, found 3"), "{error}");
    }
}

mod with_models {
    use super::*;

    /// `testdata/minilm_expected.py` makes the file beside the real MiniLM.
    #[test]
    fn minilm_gives_the_hidden_states_of_transformers() {
        let root = std::env::var("TAMIS_MODELS").expect("TAMIS_MODELS names the real models");
        let directory = Path::new(&root).join("minilm-l6");
        let expected = Path::new(&root).join("minilm-l6-expected.safetensors");
        compare_hidden_states(&directory, &expected, 5, 1e-4);
    }
}
