//! What is served is what the reranker computes, to the last bit.

use std::sync::Arc;

use burn::tensor::Device;
use serde_json::{Value, json};
use tamis_data::TextGroup;
use tamis_data::term_store::{BuildPlan, Element, TermStore, TermStoreBuilder};
use tamis_model::{Reranker, TermCandidate, TermGroup};
use tamis_serve::{Model, ModelOptions};

use crate::site::{Site, WORDS, save_split};

/// Raw scores by place, bit by bit.
fn bits(results: &Value, score: &str) -> Vec<u32> {
    let mut all: Vec<(u64, u32)> = results
        .as_array()
        .unwrap()
        .iter()
        .map(|rank| {
            // As the client reads it: the shortest decimal that is this float.
            let text = rank[score].to_string();
            (rank["index"].as_u64().unwrap(), text.parse::<f32>().unwrap().to_bits())
        })
        .collect();
    all.sort_unstable();
    all.into_iter().map(|(_, bits)| bits).collect()
}

fn documents(n: usize) -> Vec<String> {
    (0..n).map(|i| [WORDS[i % 8], WORDS[i / 8 % 8]].repeat(1 + i % 9).join(" ")).collect()
}

#[test]
fn served_scores_are_offline_scores_bit_by_bit_in_every_precision() {
    for precision in ["f32", "bf16", "int8"] {
        let site = Site::new(&["--precision", precision, "--max-batch-tokens", "100"]);
        let documents = documents(60);
        let group = TextGroup {
            query: "rain alpha",
            documents: documents.iter().map(String::as_str).collect(),
        };
        let precision = precision.parse().unwrap();
        let reranker = Reranker::open_at(site.folder.path(), &Device::flex(), precision).unwrap();
        let expected: Vec<u32> =
            reranker.score(&[group]).unwrap().0[0].iter().map(|score| score.to_bits()).collect();
        let body = json!({ "query": "rain alpha", "texts": documents, "raw_scores": true });
        let got = site.post("/rerank", &body);
        assert_eq!(bits(&got.body, "score"), expected, "{precision}");
        // Many at once share batches, and get the same.
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    assert_eq!(bits(&site.post("/rerank", &body).body, "score"), expected)
                });
            }
        });
    }
}

#[test]
fn the_activation_is_the_checkpoints_and_order_is_that_of_logits() {
    let site = Site::new(&[]);
    let documents = documents(30);
    let ask = |raw: bool| {
        let body = json!({ "query": "sun", "documents": documents, "raw_scores": raw });
        site.post("/v1/rerank", &body).body["results"].clone()
    };
    let (raw, shown) = (ask(true), ask(false));
    let of = |list: &Value, i: usize| list[i]["relevance_score"].as_f64().unwrap();
    for i in 0..30 {
        assert_eq!(raw[i]["index"], shown[i]["index"]);
        assert!((of(&shown, i) - 1.0 / (1.0 + (-of(&raw, i)).exp())).abs() < 1e-6);
        assert!(i == 0 || of(&raw, i) <= of(&raw, i - 1));
    }
}

#[test]
fn equal_scores_keep_the_order_of_the_request() {
    let site = Site::new(&[]);
    let body = json!({ "query": "cold", "texts": ["sun", "rain rain", "sun", "sun"] });
    let got = site.post("/rerank", &body).body;
    let order: Vec<u64> =
        got.as_array().unwrap().iter().map(|rank| rank["index"].as_u64().unwrap()).collect();
    let equal: Vec<u64> = order.into_iter().filter(|&index| index != 1).collect();
    assert_eq!(equal, [0, 2, 3]);
}

#[test]
fn long_documents_are_cut_or_read_in_windows_as_asked() {
    let site = Site::new(&[]);
    let long = "fever ".repeat(40) + "sun";
    let ask = |more: Value| {
        let mut body = json!({ "query": "sun", "documents": ["rain", long], "raw_scores": true });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let got = site.post("/v1/rerank", &body);
        assert_eq!(got.status, 200, "{:?}", got.body);
        got.body
    };
    let cut = ask(json!({}));
    assert_eq!(cut["meta"]["truncated_documents"], json!([1]));
    assert_eq!(cut["meta"]["warnings"], json!(["1 documents were truncated"]));
    let whole = ask(json!({ "long_documents": "max", "overlap": 2 }));
    assert_eq!(whole["meta"]["truncated_documents"], json!([]));
    let end = ask(json!({ "truncation_side": "left" }));
    assert_ne!(bits(&cut["results"], "relevance_score"), bits(&end["results"], "relevance_score"));
    let short = ask(json!({ "max_tokens_per_doc": 1 }));
    let one = ask(json!({ "documents": ["rain", "fever"] }));
    assert_eq!(
        bits(&short["results"], "relevance_score"),
        bits(&one["results"], "relevance_score")
    );
    assert_eq!(short["meta"]["truncated_documents"], json!([1]));
    let pairs = site.reranker();
    let group = TextGroup { query: "sun", documents: vec!["rain", &long] };
    let windows = tamis_model::LongDocuments {
        pooling: tamis_model::WindowPooling::Max,
        window: None,
        overlap: 2,
    };
    let scores = pairs.with_long_documents(windows).unwrap().score(&[group]).unwrap().0;
    let expected: Vec<u32> = scores[0].iter().map(|score| score.to_bits()).collect();
    assert_eq!(bits(&whole["results"], "relevance_score"), expected);
}

#[test]
fn documents_are_read_from_a_store_by_id() {
    let folder = tempfile::tempdir().unwrap();
    save_split(folder.path());
    let reranker = Reranker::open(folder.path(), &Device::flex()).unwrap();
    let stored = [("d1", "rain sun alpha"), ("d2", "beta fever"), ("d3", "cold")];
    let path = folder.path().join("terms");
    let plan = BuildPlan {
        identity: reranker.term_identity().unwrap(),
        element: Element::F32,
        source: "test".to_owned(),
        n_documents: 3,
        shard_documents: 4,
    };
    let builder = TermStoreBuilder::open(&path, plan).unwrap();
    for (number, _) in builder.pending().unwrap() {
        let mut shard = builder.shard(number).unwrap();
        let texts = stored.map(|(_, text)| text);
        for ((id, _), values) in stored.iter().zip(reranker.compute_terms(&texts).unwrap().0) {
            shard.push(id, &values).unwrap();
        }
        shard.finish().unwrap();
    }
    builder.publish().unwrap();

    let site = Site::with_terms(folder, &path);
    let body = json!({ "query": "alpha", "raw_scores": true,
        "documents": [{ "id": "d2" }, { "id": "d9", "text": "gamma" }, { "id": "d1" }] });
    let got = site.post("/v1/rerank", &body);
    assert_eq!(got.status, 200, "{:?}", got.body);
    let store = Arc::new(TermStore::open_for(&path, &reranker.term_identity().unwrap()).unwrap());
    let reranker = reranker.with_terms(store, 1 << 20).unwrap();
    let documents =
        vec![TermCandidate::Id("d2"), TermCandidate::Text("gamma"), TermCandidate::Id("d1")];
    let scores = reranker.score_terms(&[TermGroup { query: "alpha", documents }]).unwrap().0;
    let expected: Vec<u32> = scores[0].iter().map(|score| score.to_bits()).collect();
    assert_eq!(bits(&got.body["results"], "relevance_score"), expected);
    assert!(got.body["results"].as_array().unwrap().iter().any(|rank| rank["id"] == "d9"));

    let unknown = site.post("/v1/rerank", &json!({ "query": "a", "documents": [{ "id": "d7" }] }));
    assert_eq!(unknown.status, 422);
    assert!(unknown.body["message"].as_str().unwrap().contains("d7"), "{:?}", unknown.body);
    let model = &site.get("/info").body["models"][0];
    assert_eq!(model["term_store"], json!({ "documents": 3 }));

    let plain = Site::new(&[]);
    let none = plain.post("/v1/rerank", &json!({ "query": "a", "documents": [{ "id": "d1" }] }));
    assert_eq!(none.status, 422);
    assert!(none.body["message"].as_str().unwrap().contains("has no store"), "{:?}", none.body);
}

#[test]
fn a_model_that_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let options = ModelOptions {
        devices: vec![Device::flex()],
        precision: Default::default(),
        activation: None,
        term_cache_bytes: 0,
    };
    let open = |options: &ModelOptions| {
        Model::open("none", folder.path(), None, options).err().unwrap().to_string()
    };
    assert!(open(&options).contains("config.json"), "{}", open(&options));
    let none = ModelOptions { devices: Vec::new(), ..options };
    assert!(open(&none).contains("needs one at least"), "{}", open(&none));
}
