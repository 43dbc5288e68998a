//! Values of pytrec_eval, ir_measures and the MS MARCO script on synthetic files with every trap.

use serde_json::Value;
use tamis_data::Run;
use tamis_data::format::trec::{read_qrels, read_run};
use tamis_eval::trec::Compat;
use tamis_eval::{Measure, MissingQueries, evaluate};

use crate::files::{folder, json};
use crate::trec_eval::output;

const CASES: [&str; 3] = ["graded", "ints", "sci"];

/// Every measure that pytrec_eval knows, through the road that imitates the trec_eval inside it.
#[test]
fn pytrec_eval_agrees() {
    let mut n_checked = 0;
    for case in CASES {
        let folder = folder("TAMIS_FIXTURES").join("eval").join(case);
        let expected = json(&folder.join("expected.json"));
        let custom = "-m P.1,3,7 -m recall.1,3,7 -m ndcg_cut.1,3,7 -m map_cut.1,3,7 \
                      -m success.1,3,7 -m set_F.0.5 -m iprec_at_recall.0.25,0.75";
        for (options, values) in [
            ("-m all_trec", &expected["pytrec_eval"]["relevance_level_1"]),
            ("-m all_trec -l2", &expected["pytrec_eval"]["relevance_level_2"]),
            (custom, &expected["pytrec_eval_custom_cutoffs"]),
        ] {
            let line = format!("-q -n {options} qrels.txt run.txt");
            let (out, messages, code) = output(&folder, &line, Compat::V907);
            assert_eq!((messages.as_str(), code), ("", 0));
            for line in out.lines() {
                let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
                if columns[0] == "relstring" {
                    continue;
                }
                // pytrec_eval leaves parameters out of names.
                let name = if columns[0] == "set_F_0.5" { "set_F" } else { columns[0] };
                let Some(expect) = values["per_query"][columns[1]].get(name) else { continue };
                let Some(expect) = expect.as_f64() else { continue };
                let Ok(found) = columns[2].parse::<f64>() else { panic!("{line}") };
                assert!((found - expect).abs() < 5.1e-5, "{case} {options} {line}: {expect}");
                n_checked += 1;
            }
        }
    }
    assert!(n_checked > 2_000, "{n_checked}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// ir_measures gives missing queries 0. Its own code (`Compat`, `RR@k`, `Judged`) orders ties by
/// document id ascending, against trec_eval's descending: those are checked on a run with the
/// same order and no ties. Its trec_eval keeps scores in 32 bits, as the run here then does.
#[test]
fn ir_measures_agree() {
    let mut n_checked = 0;
    for case in CASES {
        let folder = folder("TAMIS_FIXTURES").join("eval").join(case);
        let qrels = read_qrels(&folder.join("qrels.txt")).unwrap();
        let run = read_run(&folder.join("run.txt")).unwrap();
        let ascending = ties_ascending(&run);
        let single = single_precision(&run);
        let expected = json(&folder.join("expected.json"));
        for (name, per_query) in expected["ir_measures"]["per_query"].as_object().unwrap() {
            let measure: Measure = name.parse().unwrap();
            let own = ["Compat", "RR@", "RR(", "Judged"].iter().any(|own| name.starts_with(own));
            let run = if own { &ascending } else { &single };
            let evaluation =
                evaluate(&qrels, run, std::slice::from_ref(&measure), MissingQueries::Zero)
                    .unwrap();
            for (query, value) in per_query.as_object().unwrap() {
                let found = evaluation.value(0, query).unwrap();
                // In `Compat` a relevant document that was not retrieved has score 0, which puts it
                // above retrieved ones with scores below 0; here it comes after them.
                let missing = run.query(query).is_none() && name.starts_with("NumRel");
                if missing {
                    // A query without candidates still has relevant documents here.
                    assert!(number(value) == 0.0 && found >= 0.0);
                    continue;
                }
                if (case, name.as_str(), query.as_str()) == ("graded", "Compat", "236") {
                    continue;
                }
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
        candidates
            .sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.document.cmp(&b.document)));
        for (rank, candidate) in candidates.iter_mut().enumerate() {
            candidate.score = -(rank as f64);
        }
        out.insert(query.clone(), candidates).unwrap();
    }
    out
}

/// The same run with scores rounded to 32 bits.
fn single_precision(run: &Run) -> Run {
    let mut out = Run::new(run.tag());
    for (query, candidates) in run.iter() {
        let mut candidates = candidates.to_vec();
        for candidate in &mut candidates {
            candidate.score = f64::from(candidate.score as f32);
        }
        out.insert(query.clone(), candidates).unwrap();
    }
    out
}
