//! Files of ir_measures, cwl_eval and ranx with the values those tools find in them
//! (`testdata/conformance.json`, made by `testdata/conformance.py`), and trec_eval's names.

mod with_data {
    use std::path::Path;

    use tamis_data::{DocId, Qrels, Run, ScoredDocument};
    use tamis_eval::files::{evaluate_run_file, read_qrels};
    use tamis_eval::trec::Compat;
    use tamis_eval::{Evaluation, Measure, MissingQueries, evaluate};

    use crate::files::{folder, json};
    use crate::trec_eval::output;

    fn expected(tool: &str, file: &str) -> Vec<(String, serde_json::Value)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/conformance.json");
        let values = json(&path)[tool][file].clone();
        values.as_object().unwrap().clone().into_iter().collect()
    }

    fn evaluated(qrels: &Path, run: &Path, measures: &[Measure]) -> Evaluation {
        let qrels = read_qrels(qrels).unwrap();
        evaluate_run_file(&qrels, run, measures, MissingQueries::Zero).unwrap()
    }

    /// No scores tie in these files, all of whose documents with a grade are found or have score 0,
    /// and 32 bits hold the scores: nothing is left that could differ.
    #[test]
    fn ir_measures_and_cwl_eval_agree_on_their_own_files() {
        let folder = folder("TAMIS_DATA").join("conformance/ir_measures/tests");
        let mut n_checked = 0;
        for file in ["cwl", "compat"] {
            for (name, values) in expected("ir_measures", file) {
                let measure: Measure = name.parse().unwrap();
                let (qrels, run) = (format!("{file}.qrels"), format!("{file}.run"));
                let found = evaluated(&folder.join(qrels), &folder.join(run), &[measure]);
                for (query, value) in values.as_object().unwrap() {
                    let (found, value) = (found.value(0, query).unwrap(), value.as_f64().unwrap());
                    assert!((found - value).abs() < 1e-9, "{file} {name} {query}: {found} {value}");
                    n_checked += 1;
                }
            }
        }
        assert_eq!(n_checked, 60);
    }

    /// ranx's names beside ours. `rbp` is of its own kind, see below.
    const RANX: [(&str, &str); 15] = [
        ("hits", "NumRelRet"),
        ("precision@2", "P@2"),
        ("recall@2", "R@2"),
        ("mrr", "RR"),
        ("map", "AP"),
        ("map@2", "AP@2"),
        ("ndcg", "nDCG"),
        ("ndcg@2", "nDCG@2"),
        ("ndcg_burges", "nDCG(dcg='exp-log2')"),
        ("r-precision", "Rprec"),
        ("hit_rate@1", "Success@1"),
        ("f1", "SetF"),
        ("map-l2", "AP(rel=2)"),
        ("mrr-l3", "RR(rel=3)"),
        ("precision@1-l2", "P(rel=2)@1"),
    ];

    fn check_ranx(file: &str, evaluation: impl Fn(&[Measure]) -> Evaluation, qrels: &Qrels) {
        for (name, value) in expected("ranx", file) {
            let value = value.as_f64().unwrap();
            let ours = RANX.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
            let found = evaluation(&[ours.unwrap_or("RBP").parse().unwrap()]);
            let mut values = found.values(0).to_vec();
            if ours.is_none() {
                assert_eq!(name, "rbp.80");
                // ranx takes grades as gains; here they are divided by the query's highest.
                for (query, value) in found.queries().iter().zip(&mut values) {
                    let judged = qrels.query(query.as_str()).unwrap();
                    *value *= f64::from(*judged.values().max().unwrap());
                }
            }
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!((mean - value).abs() < 1e-9, "{file} {name}: {mean} {value}");
        }
    }

    /// Left out: ranx's `bpref`, which is NaN where no document is judged and not relevant.
    #[test]
    fn ranx_agrees_on_its_own_files() {
        let folder = folder("TAMIS_DATA").join("conformance/ranx");
        let data = folder.join("tests/unit/ranx/test_data");
        let runs: &[&str] = match cfg!(feature = "parquet") {
            true => &["run.trec", "run.trec.gz", "run.parquet"],
            false => &["run.trec", "run.trec.gz"],
        };
        for run in runs {
            for qrels in ["qrels.trec", "qrels.trec.gz"] {
                let evaluation = |m: &[Measure]| evaluated(&data.join(qrels), &data.join(run), m);
                check_ranx("test_data", evaluation, &read_qrels(&data.join(qrels)).unwrap());
            }
        }
        let qrels = read_qrels(&folder.join("notebooks/data/qrels.trec")).unwrap();
        let mut run = Run::new("t");
        for (query, judged) in qrels.iter() {
            let judged = judged.keys().cloned().zip((0..).map(|at| 100.0 - 3.0 * f64::from(at)));
            let other =
                |at: u8| (DocId::new(&format!("other{at}")).unwrap(), 101.5 - 5.0 * f64::from(at));
            let all = judged.chain((0..10).map(other));
            let all = all.map(|(document, score)| ScoredDocument { document, score });
            run.insert(query.clone(), all.collect()).unwrap();
        }
        let evaluation = |m: &[Measure]| evaluate(&qrels, &run, m, MissingQueries::Zero).unwrap();
        check_ranx("notebooks", evaluation, &qrels);
    }

    /// Every line of `-m all_trec` but those of text (`runid`, `relstring`), by trec_eval's names
    /// and on the road that `--trec` does not take. `-c` counts missing queries as zero does.
    #[test]
    fn names_of_trec_eval_give_its_values() {
        let folder = folder("TAMIS_DATA").join("conformance/trec_eval");
        let measures = Measure::parse_all("all_trec").unwrap();
        for run in ["test/results.test", "test/results.trunc"] {
            let line = format!("-m all_trec -q -c test/qrels.test {run}");
            let (out, ..) = output(&folder, &line, Compat::V10);
            let found = evaluated(&folder.join("test/qrels.test"), &folder.join(run), &measures);
            let mut checked = std::collections::BTreeSet::new();
            for line in out.lines() {
                let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
                let at = measures.iter().position(|measure| measure.to_string() == columns[0]);
                let Some(at) = at else {
                    assert!(["runid", "relstring"].contains(&columns[0]), "{line}");
                    continue;
                };
                let value = match columns[1] {
                    "all" => found.summary(at),
                    query => found.value(at, query).unwrap(),
                };
                let expected: f64 = columns[2].parse().unwrap();
                assert!((value - expected).abs() < 5.000_1e-5, "{line}: {value}");
                checked.insert(at);
            }
            assert_eq!(checked.len(), measures.len());
        }
    }
}
