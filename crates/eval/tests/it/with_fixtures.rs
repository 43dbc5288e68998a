//! Values of pytrec_eval, ir_measures and the MS MARCO script on synthetic files with every trap.

use serde_json::Value;
use tamis_data::Run;
use tamis_data::format::trec::{read_qrels, read_run};
use tamis_eval::{Measure, MissingQueries, evaluate};

use crate::files::{folder, json};

const CASES: [&str; 3] = ["graded", "ints", "sci"];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// ir_measures gives missing queries 0. Its own code (`Compat`, `RR@k`, `Judged`) orders ties by
/// document id ascending, against trec_eval's descending: those are checked on a run with the
/// same order and no ties.
#[test]
fn ir_measures_agree() {
    let mut n_checked = 0;
    for case in CASES {
        let folder = folder("TAMIS_FIXTURES").join("eval").join(case);
        let qrels = read_qrels(&folder.join("qrels.txt")).unwrap();
        let run = read_run(&folder.join("run.txt")).unwrap();
        let ascending = ties_ascending(&run);
        let expected = json(&folder.join("expected.json"));
        for (name, per_query) in expected["ir_measures"]["per_query"].as_object().unwrap() {
            let measure: Measure = name.parse().unwrap();
            let own = ["Compat", "RR@", "RR(", "Judged"].iter().any(|own| name.starts_with(own));
            let run = if own { &ascending } else { &run };
            let evaluation =
                evaluate(&qrels, run, std::slice::from_ref(&measure), MissingQueries::Zero)
                    .unwrap();
            for (query, value) in per_query.as_object().unwrap() {
                let found = evaluation.value(0, query).unwrap();
                // gdeval.pl prints five decimals.
                let gdeval = name.starts_with("ERR") || name.contains("exp-log2");
                let tolerance = if gdeval { 5.1e-6 } else { 1e-6 };
                let expect = number(value);
                assert!(
                    (found - expect).abs() <= tolerance,
                    "{case} {name} {query}: {found} is not {expect}"
                );
                n_checked += 1;
            }
        }
    }
    assert!(n_checked > 400, "{n_checked}");
}

/// The same run with ties broken by document id ascending.
fn ties_ascending(run: &Run) -> Run {
    let mut out = Run::new(run.tag());
    for (query, candidates) in run.iter() {
        let mut candidates = candidates.to_vec();
        candidates.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then_with(|| a.document.cmp(&b.document))
        });
        for (rank, candidate) in candidates.iter_mut().enumerate() {
            candidate.score = -(rank as f64);
        }
        out.insert(query.clone(), candidates).unwrap();
    }
    out
}
