//! Values of trec_eval on real runs.

use tamis_data::format::trec::{read_qrels, read_run};
use tamis_eval::{Measure, MissingQueries, evaluate};

use crate::files::{folder, json};

/// trec_eval's output names beside ours; `None` for what is not a measure of ours.
fn measure(name: &str, level: i32, depth: Option<usize>) -> Option<Measure> {
    let (base, cutoff) = match name.rsplit_once('_') {
        Some((base, cutoff)) if cutoff.parse::<usize>().is_ok() => (base, Some(cutoff)),
        _ => (name, None),
    };
    let base = match base {
        "ndcg" | "ndcg_cut" => "nDCG",
        "map" | "map_cut" => "AP",
        "recip_rank" => "RR",
        "recall" => "R",
        "success" => "Success",
        "bpref" => "Bpref",
        "P" | "Rprec" => base,
        "num_q" => "NumQ",
        "num_ret" => "NumRet",
        "num_rel" => "NumRel",
        "num_rel_ret" => "NumRelRet",
        _ => return None,
    };
    let depth = depth.filter(|_| base == "RR").map(|depth| depth.to_string());
    let at = cutoff.map(str::to_owned).or(depth).map_or_else(String::new, |at| format!("@{at}"));
    let graded = matches!(base, "nDCG" | "NumQ" | "NumRet");
    let level = if level == 1 || graded { String::new() } else { format!("(rel={level})") };
    Some(format!("{base}{level}{at}").parse().unwrap())
}

#[test]
fn real_runs_agree_to_the_last_digit() {
    let data = folder("TAMIS_DATA");
    let mut n_checked = 0;
    let golden = std::fs::read_dir(data.join("conformance/golden")).unwrap();
    for path in golden.map(|entry| entry.unwrap().path()) {
        let golden = json(&path);
        let find = |key: &str| {
            let name = golden[key].as_str().unwrap();
            let path = data.join(name);
            if path.exists() { path } else { data.join("conformance").join(name) }
        };
        let qrels_path = find("qrels");
        let qrels = if qrels_path.extension().unwrap() == "tsv" {
            beir(&qrels_path)
        } else {
            read_qrels(&qrels_path).unwrap()
        };
        let run = read_run(&find("run")).unwrap();
        for (variant, expected) in golden["variants"].as_object().unwrap() {
            let (level, depth) = match variant.as_str() {
                "default" | "c" => (1, None),
                "l2" => (2, None),
                "M10" => (1, Some(10)),
                "M10_l2" => (2, Some(10)),
                other => panic!("{other}"),
            };
            let missing = if variant == "c" { MissingQueries::Zero } else { MissingQueries::Skip };
            let print = |measure: &Measure, value: f64| {
                if measure.is_count() { format!("{value:.0}") } else { format!("{value:.4}") }
            };
            for (name, value) in expected["all"].as_object().unwrap() {
                let Some(measure) = measure(name, level, depth) else { panic!("{name}") };
                let evaluation =
                    evaluate(&qrels, &run, std::slice::from_ref(&measure), missing).unwrap();
                let found = print(&measure, evaluation.summary(0));
                assert_eq!(found, value.as_str().unwrap(), "{path:?} {variant} {name}");
                for (query, values) in expected["per_query"].as_object().unwrap() {
                    let Some(value) = values.get(name) else { continue };
                    let found = print(&measure, evaluation.value(0, query).unwrap());
                    assert_eq!(found, value.as_str().unwrap(), "{path:?} {variant} {name} {query}");
                    n_checked += 1;
                }
            }
        }
    }
    assert!(n_checked > 5_000, "{n_checked}");
}

/// BEIR's qrels: a header line, then query, document, relevance.
fn beir(path: &std::path::Path) -> tamis_data::Qrels {
    let mut qrels = tamis_data::Qrels::new();
    for line in std::fs::read_to_string(path).unwrap().lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (query, document) = (columns[0].parse().unwrap(), columns[1].parse().unwrap());
        qrels.insert(query, document, columns[2].trim().parse().unwrap()).unwrap();
    }
    qrels
}
