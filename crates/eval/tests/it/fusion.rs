//! Fused scores of ranx 0.3.21 (`testdata/ranx-fusion.json`, made by `testdata/ranx_fusion.py`).

use tamis_data::{DocId, QueryId, Run, ScoredDocument};
use tamis_eval::fuse::{Method, Normalization, fuse};

use crate::files::json;

type Lists<'a> = &'a [(&'a str, &'a [(&'a str, f64)])];

fn run(lists: Lists<'_>) -> Run {
    let mut run = Run::new("t");
    for (query, documents) in lists {
        let candidates = documents
            .iter()
            .map(|&(id, score)| ScoredDocument { document: DocId::new(id).unwrap(), score });
        run.insert(QueryId::new(query).unwrap(), candidates.collect()).unwrap();
    }
    run
}

#[test]
fn ranx_agrees() {
    let a = run(&[
        ("q1", &[("d1", 3.0), ("d2", 2.5), ("d3", 1.0), ("d5", 0.5)]),
        ("q2", &[("d1", 1.0), ("d9", 0.25)]),
    ]);
    let b = run(&[
        ("q1", &[("d2", 9.0), ("d4", 7.0), ("d1", 2.0)]),
        ("q2", &[("d7", 4.0), ("d1", 3.0), ("d9", 1.0)]),
    ]);
    let c = run(&[("q1", &[("d6", 0.9), ("d2", 0.8), ("d3", 0.1)]), ("q2", &[("d9", 0.4)])]);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ranx-fusion.json");
    let mut n_checked = 0;
    for (key, queries) in json(&path).as_object().unwrap() {
        let (method, normalization) = key.split_once(' ').unwrap();
        let method: Method = match method {
            "wsum" => Method::Interpolation { weights: vec![0.5, 0.3, 0.2] },
            "log_isr" => Method::LogIsr,
            "bordafuse" => Method::Borda,
            "rrf" | "isr" => method.parse().unwrap(),
            // Votes that tie fall as the sort comes to them; checked on its own below.
            "condorcet" => continue,
            comb => format!("comb{comb}").parse().unwrap(),
        };
        let normalization: Normalization = match normalization {
            "None" => Normalization::None,
            "zmuv" => Normalization::ZScore,
            other => other.parse().unwrap(),
        };
        let fused = fuse(&[&a, &b, &c], &method, normalization, "f").unwrap();
        for (query, documents) in queries.as_object().unwrap() {
            let found = fused.query(query).unwrap();
            assert_eq!(found.len(), documents.as_object().unwrap().len());
            for candidate in found {
                let expect = documents[candidate.document.as_str()].as_f64().unwrap();
                let score = candidate.score;
                let document = &candidate.document;
                assert!(
                    (score - expect).abs() < 1e-9,
                    "{key} {query} {document}: {score} {expect}"
                );
                n_checked += 1;
            }
        }
    }
    assert!(n_checked > 200, "{n_checked}");
}

#[test]
fn condorcet_puts_the_winner_of_all_duels_first() {
    let a = run(&[("q", &[("x", 3.0), ("y", 2.0), ("z", 1.0)])]);
    let b = run(&[("q", &[("y", 3.0), ("x", 2.0), ("z", 1.0)])]);
    let c = run(&[("q", &[("x", 3.0), ("z", 2.0), ("w", 1.0)])]);
    let fused = fuse(&[&a, &b, &c], &Method::Condorcet, Normalization::None, "f").unwrap();
    let order: Vec<&str> = fused.query("q").unwrap().iter().map(|d| d.document.as_str()).collect();
    assert_eq!(order, ["x", "y", "z", "w"]);
}

#[test]
fn weights_are_tuned_on_judgements() {
    use tamis_eval::fuse::{Search, tune_weights};
    // The second run has the relevant document first, the first has it last.
    let a = run(&[("q", &[("x", 3.0), ("y", 2.0), ("z", 1.0)])]);
    let b = run(&[("q", &[("z", 3.0), ("y", 2.0), ("x", 1.0)])]);
    let mut qrels = tamis_data::Qrels::new();
    qrels.insert(QueryId::new("q").unwrap(), DocId::new("z").unwrap(), 1).unwrap();
    let measure = "RR".parse().unwrap();
    for search in [Search::Grid { step: 0.1 }, Search::GoldenSection { tolerance: 0.01 }] {
        let tuned =
            tune_weights(&qrels, &[&a, &b], &measure, Normalization::MinMax, search).unwrap();
        assert_eq!(tuned.value, 1.0);
        assert!(tuned.weights[0] < tuned.weights[1] + 1e-9, "{tuned:?}");
        assert!(tuned.tried.len() > 5);
    }
    let bad = Method::Interpolation { weights: vec![1.0] };
    let error = fuse(&[&a, &b], &bad, Normalization::None, "f").unwrap_err();
    assert_eq!(error.to_string(), "weights: expected 2 finite numbers, one per run, found `[1.0]`");
}
