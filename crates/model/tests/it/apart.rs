//! Models that never read query and document together, beside a plain encoder and loops.

use std::sync::Arc;

use burn::tensor::Device;
use tamis_data::term_store::{BuildPlan, Element, TermStoreBuilder};
use tamis_data::{Batch, DocumentPosition, PairParts, TextGroup, Truncation};
use tamis_model::checkpoint::{self, Contents, NewHead};
use tamis_model::{
    DropoutSeeds, Input, Reranker, Settings, SplitConfig, SplitScore, TermCandidate, TermGroup,
};

const QUERY: &str = "fever cold";
const DOCUMENTS: [&str; 3] = ["rain", "cold sun fever", "alpha beta gamma delta cold"];

/// A checkpoint of a tiny BERT without a split, and one of the same encoder with this score.
fn checkpoints(folder: &std::path::Path, score: SplitScore) -> checkpoint::Loaded {
    let device = Device::flex();
    crate::tiny_checkpoint(&folder.join("plain"));
    let split = SplitConfig { join_layer: 2, compressor: None, score };
    let head = Some(NewHead { seed: 5 });
    let loaded = checkpoint::load_split(&folder.join("plain"), head, split, 5, &device).unwrap();
    let settings = Settings {
        max_length: 24,
        query_max_length: 8,
        truncation: Truncation::SecondOnly,
        parts: Some(PairParts {
            position: DocumentPosition::Fixed(0),
            document_start: true,
            ..PairParts::default()
        }),
        ..Settings::of_model(&loaded.config)
    };
    let contents = Contents {
        model: &loaded.model,
        config: &loaded.config,
        settings: &settings,
        tokenizer: &folder.join("plain"),
    };
    checkpoint::save(contents, &folder.join("apart")).unwrap();
    loaded
}

/// The hidden states of a text alone in a plain encoder, one list a token.
fn states(folder: &std::path::Path, text: &str) -> Vec<Vec<f32>> {
    let device = Device::flex();
    let plain = checkpoint::load(&folder.join("plain"), None, &device).unwrap();
    let encoder = Settings::read(&folder.join("plain"), &plain.config).unwrap();
    let encoder = encoder.encoder(&folder.join("plain")).unwrap();
    let mut batch = Batch::new();
    let ids = encoder.tokenizer().encode(text, true).unwrap().get_ids().to_vec();
    batch.push_row(&ids, &vec![0; ids.len()]);
    let input = Input::new(&batch, &device);
    let tokens = plain.model.encoder().tokens(&input, &mut DropoutSeeds::inference());
    let width = tokens.dims()[1];
    let flat = tokens.into_data().try_into_vec::<f32>().unwrap();
    flat.chunks(width).map(<[f32]>::to_vec).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn scores(reranker: &Reranker) -> Vec<f32> {
    let group = TextGroup { query: QUERY, documents: DOCUMENTS.to_vec() };
    reranker.score(&[group]).unwrap().0.concat()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{a}, expected {b}");
    }
}

#[test]
fn bert_dot_multiplies_the_first_vectors_of_texts_alone() {
    let folder = tempfile::tempdir().unwrap();
    checkpoints(folder.path(), SplitScore::Dot);
    let query = states(folder.path(), QUERY);
    let expected = DOCUMENTS.map(|text| dot(&query[0], &states(folder.path(), text)[0]));
    let reranker = Reranker::open(&folder.path().join("apart"), &Device::flex()).unwrap();
    assert_close(&scores(&reranker), &expected);
}

#[test]
fn colbert_sums_the_closest_and_reads_stores() {
    let folder = tempfile::tempdir().unwrap();
    checkpoints(folder.path(), SplitScore::MaxSim);
    // Its map, as the file has it: outputs first.
    let bytes = std::fs::read(folder.path().join("apart/model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |name: &str| -> Vec<f32> {
        let (chunks, _) = file.tensor(name).unwrap().data().as_chunks::<4>();
        chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
    };
    let (weight, bias) = (tensor("compressor.weight"), tensor("compressor.bias"));
    let project = |states: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
        let map = |state: &Vec<f32>| {
            weight.chunks(state.len()).zip(&bias).map(|(row, b)| dot(row, state) + b).collect()
        };
        states.iter().map(map).collect()
    };
    let query = project(states(folder.path(), QUERY));
    let expected = DOCUMENTS.map(|text| {
        let document = project(states(folder.path(), text));
        let closest =
            |q: &Vec<f32>| document.iter().map(|d| dot(q, d)).fold(f32::NEG_INFINITY, f32::max);
        query.iter().map(closest).sum::<f32>()
    });
    let reranker = Reranker::open(&folder.path().join("apart"), &Device::flex()).unwrap();
    assert_close(&scores(&reranker), &expected);

    let plan = BuildPlan {
        identity: reranker.term_identity().unwrap(),
        element: Element::F32,
        source: "test".to_owned(),
        n_documents: 3,
        shard_documents: 8,
    };
    let builder = TermStoreBuilder::open(&folder.path().join("store"), plan).unwrap();
    let mut shard = builder.shard(0).unwrap();
    for (id, values) in ["a", "b", "c"].iter().zip(reranker.compute_terms(&DOCUMENTS).unwrap().0) {
        shard.push(id, &values).unwrap();
    }
    shard.finish().unwrap();
    let store = Arc::new(builder.publish().unwrap());
    let reranker = reranker.with_terms(store, 0).unwrap();
    let documents = ["a", "b", "c"].map(TermCandidate::Id).to_vec();
    let group = TermGroup { query: QUERY, documents };
    assert_close(&reranker.score_terms(&[group]).unwrap().0.concat(), &expected);
}

#[test]
fn a_score_of_parts_needs_all_layers_and_a_new_head() {
    let folder = tempfile::tempdir().unwrap();
    let config = checkpoints(folder.path(), SplitScore::Dot).config;
    let split = SplitConfig { join_layer: 1, compressor: None, score: SplitScore::Dot };
    let error = config.clone().with_split(split, true).unwrap_err();
    assert!(error.contains("a BERT_Dot has query and document apart in all 2 layers"), "{error}");
    let split = SplitConfig { join_layer: 2, score: SplitScore::MaxSim, ..split };
    let error = config.with_split(split, false).unwrap_err();
    assert!(error.contains("a ColBERT has a head of its own"), "{error}");
}
