//! Decoders with exits, behind the server: what a request pays for is what it gets.

use serde_json::json;
use tamis_data::TextGroup;
use tamis_model::{Effort, Reranker};

use crate::site::Site;

#[test]
fn exits_and_ratios_are_chosen_by_each_request() {
    let root = std::env::var("TAMIS_FIXTURES").unwrap();
    for name in ["matroyshka", "bge_lightweight_gemma2"] {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(format!("{root}/models/{name}")).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
            }
        }
        let device = burn::tensor::Device::flex();
        let reranker = Reranker::open(folder.path(), &device).unwrap();
        let (own, depths) = (reranker.settings().effort.clone(), reranker.depths());
        let site = Site::of(folder, name);
        assert_eq!(site.get("/info").body["models"][0]["depths"], json!(depths));
        let documents = vec!["the quick brown fox", "a lazy dog sleeps all day in the sun", "fox"];
        let mut seen = Vec::new();
        for &exit in &depths {
            for ratio in [1, 2] {
                if ratio > 1 && own.compress_layers.is_empty() {
                    continue;
                }
                let body = json!({ "query": "fox", "documents": documents, "raw_scores": true,
                    "exit": exit, "ratio": ratio });
                let got = site.post("/v1/rerank", &body);
                assert_eq!(got.status, 200, "{:?}", got.body);
                let effort = Effort { exits: vec![exit], ratio, ..own.clone() };
                let group = TextGroup { query: "fox", documents: documents.clone() };
                let exits = reranker.score_at(&[group], &effort).unwrap().0;
                for rank in got.body["results"].as_array().unwrap() {
                    let place = rank["index"].as_u64().unwrap() as usize;
                    let score: f32 = rank["relevance_score"].to_string().parse().unwrap();
                    assert_eq!(score.to_bits(), exits[0].scores[0][place].to_bits());
                    seen.push(score);
                }
            }
        }
        seen.sort_by(f32::total_cmp);
        seen.dedup();
        assert!(seen.len() > documents.len(), "exits differ: {seen:?}");
        let wrong = json!({ "query": "q", "documents": ["a"], "exit": 99 });
        let refused = site.post("/v1/rerank", &wrong);
        assert_eq!(refused.status, 422);
        assert!(refused.body["message"].as_str().unwrap().contains("exit 99 was not trained"));
    }
}
