//! Scores from a store of documents beside scores from their texts.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use tamis_data::term_store::{BuildPlan, Element, TermStore, TermStoreBuilder};
use tamis_data::{DocumentPosition, PairParts, TextGroup, Truncation};
use tamis_model::checkpoint::{self, Contents};
use tamis_model::{
    CompressorConfig, Reranker, Settings, SplitConfig, SplitScore, TermCandidate, TermGroup,
};

const DOCUMENTS: [(&str, &str); 6] = [
    ("d1", "rain sun alpha"),
    ("d2", "beta beta beta gamma cold cold fever fever delta rain sun alpha alpha"),
    ("d3", ""),
    ("d4", "fever"),
    ("d5", "cold delta"),
    ("d6", "gamma rain"),
];

const QUERIES: [&str; 2] = ["alpha", "fever cold rain sun alpha beta gamma delta cold"];

/// A checkpoint of a tiny BERT that is split after `join_layer` of its two layers.
fn checkpoint(directory: &Path, join_layer: usize, width: Option<usize>, position: usize) {
    let plain = tempfile::tempdir().unwrap();
    crate::tiny_checkpoint(plain.path());
    let device = Device::flex();
    let compressor = width.map(|width| CompressorConfig { width, is_half: false });
    let split = SplitConfig { join_layer, compressor, score: SplitScore::FirstToken };
    let loaded = checkpoint::load_split(plain.path(), None, split, 3, &device).unwrap();
    let settings = Settings {
        max_length: 20,
        query_max_length: 8,
        truncation: Truncation::SecondOnly,
        parts: Some(PairParts {
            position: match position {
                0 => DocumentPosition::PaddedQuery,
                position => DocumentPosition::Fixed(position),
            },
            query_masks: 1,
            ..PairParts::default()
        }),
        ..Settings::of_model(&loaded.config)
    };
    let contents = Contents {
        model: &loaded.model,
        config: &loaded.config,
        settings: &settings,
        tokenizer: plain.path(),
    };
    checkpoint::save(contents, directory).unwrap();
}

fn store(reranker: &Reranker, path: &Path, element: Element) -> TermStore {
    let plan = BuildPlan {
        identity: reranker.term_identity().unwrap(),
        element,
        source: "test".to_owned(),
        n_documents: DOCUMENTS.len() as u64,
        shard_documents: 4,
    };
    let builder = TermStoreBuilder::open(path, plan).unwrap();
    for (number, range) in builder.pending().unwrap() {
        let documents = &DOCUMENTS[range.start as usize..range.end as usize];
        let texts: Vec<&str> = documents.iter().map(|(_, text)| *text).collect();
        let mut shard = builder.shard(number).unwrap();
        for ((id, _), values) in documents.iter().zip(reranker.compute_terms(&texts).unwrap().0) {
            shard.push(id, &values).unwrap();
        }
        shard.finish().unwrap();
    }
    builder.publish().unwrap()
}

fn by_text(reranker: &Reranker) -> Vec<Vec<f32>> {
    let documents: Vec<&str> = DOCUMENTS.iter().map(|(_, text)| *text).collect();
    let groups = QUERIES.map(|query| TextGroup { query, documents: documents.clone() });
    reranker.score(&groups).unwrap().0
}

/// Scores of both queries, every candidate as `candidate` gives it.
fn by_terms(
    reranker: &Reranker,
    candidate: impl Fn(usize) -> TermCandidate<'static>,
) -> Vec<Vec<f32>> {
    let documents: Vec<TermCandidate<'_>> = (0..DOCUMENTS.len()).map(candidate).collect();
    let groups = QUERIES.map(|query| TermGroup { query, documents: documents.clone() });
    reranker.score_terms(&groups).unwrap().0
}

fn id(index: usize) -> TermCandidate<'static> {
    TermCandidate::Id(DOCUMENTS[index].0)
}

fn text(index: usize) -> TermCandidate<'static> {
    TermCandidate::Text(DOCUMENTS[index].1)
}

#[track_caller]
fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
    let (found, expected) = (found.concat(), expected.concat());
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= tolerance, "{a}, expected {b}");
    }
}

#[test]
fn scores_from_the_store_are_those_from_text() {
    for (join_layer, width) in [(1, None), (2, None), (1, Some(6))] {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        checkpoint(&model, join_layer, width, 12);
        let device = Device::flex();
        let reranker = Reranker::open(&model, &device).unwrap();
        let expected = by_text(&reranker);
        let store = store(&reranker, &folder.path().join("store"), Element::F32);
        assert_eq!(store.stat().width, width.unwrap_or(16));
        let reranker = reranker.with_terms(Arc::new(store), 1 << 20).unwrap();
        let mixed = |index: usize| if index.is_multiple_of(2) { id(index) } else { text(index) };
        for _ in 0..2 {
            assert_close(&by_terms(&reranker, id), &expected, 1e-5);
            assert_close(&by_terms(&reranker, text), &expected, 1e-5);
            assert_close(&by_terms(&reranker, mixed), &expected, 1e-5);
        }
        // Where documents are not seen, all have one score.
        let first = expected[0][0];
        assert_eq!(expected[0].iter().all(|score| *score == first), join_layer == 2);
    }
}

#[test]
fn a_whole_last_layer_gives_the_same_scores() {
    for (join_layer, width) in [(0, None), (1, None), (1, Some(6)), (2, None)] {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        checkpoint(&model, join_layer, width, 12);
        let open = || Reranker::open(&model, &Device::flex()).unwrap();
        let expected = by_text(&open());
        assert_close(&by_text(&open().with_whole_last_layer()), &expected, 1e-5);
        if join_layer > 0 {
            let store = store(&open(), &folder.path().join("store"), Element::F32);
            let whole = open().with_whole_last_layer().with_terms(Arc::new(store), 0).unwrap();
            assert_close(&by_terms(&whole, id), &expected, 1e-5);
        }
    }
}

#[test]
fn coarser_stores_drift_by_little() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    checkpoint(&model, 1, None, 12);
    for (element, drift) in [(Element::F16, 1e-3), (Element::Bf16, 1e-2), (Element::Int8, 2e-2)] {
        let reranker = Reranker::open(&model, &Device::flex()).unwrap();
        let expected = by_text(&reranker);
        let store = store(&reranker, &folder.path().join(element.to_string()), element);
        let reranker = reranker.with_terms(Arc::new(store), 0).unwrap();
        let found = by_terms(&reranker, id);
        assert_close(&found, &expected, drift);
        assert_ne!(found, expected);
    }
}

#[test]
fn stores_of_other_models_and_unknown_documents_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    checkpoint(&model, 1, None, 12);
    let device = Device::flex();
    let open = |path: &Path| Reranker::open(path, &device).unwrap();
    let path = folder.path().join("store");
    let reranker = open(&model);
    let stored = store(&reranker, &path, Element::F32);
    let reranker = reranker.with_terms(Arc::new(stored), 0).unwrap();
    let group = TermGroup { query: "alpha", documents: vec![TermCandidate::Id("d9")] };
    let error = reranker.score_terms(&[group]).unwrap_err().to_string();
    assert!(error.ends_with("unknown document `d9`"), "{error}");

    let other = folder.path().join("other");
    checkpoint(&other, 1, None, 14);
    let stored = Arc::new(TermStore::open(&path).unwrap());
    let error = open(&other).with_terms(stored.clone(), 0).unwrap_err().to_string();
    assert!(error.contains("the position of documents: the store was made with 12"), "{error}");

    // Weights above the split may change, weights below it may not.
    for (name, is_refused) in
        [("encoder.layer.1.output.dense.bias", false), ("encoder.layer.0.output.dense.bias", true)]
    {
        let changed = folder.path().join(name);
        checkpoint(&changed, 1, None, 12);
        let file = changed.join("model.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        let start = json[format!("bert.{name}")]["data_offsets"][0].as_u64().unwrap() as usize;
        bytes[8 + header + start..][..4].copy_from_slice(&0.5_f32.to_le_bytes());
        std::fs::write(&file, bytes).unwrap();
        let refused = open(&changed).with_terms(stored.clone(), 0);
        assert_eq!(refused.is_err(), is_refused, "{name}");
        if let Err(error) = refused {
            assert!(error.to_string().contains("the model below the split"), "{error}");
        }
    }

    let padded = folder.path().join("padded");
    checkpoint(&padded, 1, None, 0);
    let error = open(&padded).term_identity().unwrap_err().to_string();
    assert!(error.contains("the positions of its documents depend on the query"), "{error}");
    let plain = folder.path().join("plain");
    crate::tiny_checkpoint(&plain);
    let error = open(&plain).term_identity().unwrap_err().to_string();
    assert!(error.contains("reads query and document together"), "{error}");
}
