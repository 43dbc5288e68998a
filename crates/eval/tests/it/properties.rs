//! Laws that hold for any run and qrels.

use proptest::prelude::*;
use tamis_data::format::trec::{read_qrels, read_run, write_qrels, write_run};
use tamis_data::{DocId, Qrels, QueryId, Run, ScoredDocument};
use tamis_eval::files::evaluate_run_file;
use tamis_eval::{Measure, MissingQueries, evaluate};

fn measures() -> Vec<Measure> {
    let names = [
        "nDCG@10",
        "nDCG",
        "nDCG(dcg='exp-log2')@5",
        "RR",
        "AP",
        "AP(rel=2)@5",
        "P@5",
        "R@3",
        "Success@2",
        "Rprec",
        "Bpref",
        "infAP",
        "RBP",
        "RBP(rel=1)",
        "ERR@10",
        "Judged@5",
        "SetP",
        "SetR",
        "SetF",
        "SetAP",
        "SetRelP",
        "IPrec@0.4",
        "Compat",
        "NERR8(max_rel=3)@5",
        "NERR9(max_rel=3)@5",
        "NERR10(max_rel=3)",
        "NERR11(max_rel=3)",
        "MSMARCO_RR@10",
        "P(judged_only=True)@5",
    ];
    names.iter().map(|name| name.parse().unwrap()).collect()
}

prop_compose! {
    /// Scores from a few values, so that ties are common; queries 1 to 4 judged, 2 to 5 retrieved.
    fn collection()(
        judged in prop::collection::btree_map((1..5u8, 0..12u8), -2..4i32, 1..40),
        retrieved in prop::collection::btree_map((2..6u8, 0..12u8), 0..4i8, 1..40),
    ) -> (Qrels, Run) {
        let mut qrels = Qrels::new();
        for ((query, document), grade) in judged {
            let query = QueryId::new(&query.to_string()).unwrap();
            qrels.insert(query, DocId::new(&format!("d{document}")).unwrap(), grade).unwrap();
        }
        let mut run = Run::new("t");
        for query in 2..6u8 {
            let of_query = retrieved.iter().filter(|((q, _), _)| *q == query);
            let candidates: Vec<_> = of_query.map(|((_, document), score)| ScoredDocument {
                document: DocId::new(&format!("d{document}")).unwrap(),
                score: f64::from(*score),
            }).collect();
            if !candidates.is_empty() {
                run.insert(QueryId::new(&query.to_string()).unwrap(), candidates).unwrap();
            }
        }
        (qrels, run)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn values_lie_between_zero_and_one((qrels, run) in collection()) {
        if let Ok(evaluation) = evaluate(&qrels, &run, &measures(), MissingQueries::Zero) {
            for (index, measure) in measures().iter().enumerate() {
                for value in evaluation.values(index) {
                    // infAP may exceed 1 on made-up judgements, since it extrapolates.
                    prop_assert!((0.0..=1.0 + 1e-9).contains(value) || measure.to_string() == "infAP",
                        "{measure} {value}");
                }
            }
        }
    }

    #[test]
    fn a_file_gives_what_its_run_gives((qrels, run) in collection()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let mut bytes = Vec::new();
        write_run(&run, &mut bytes).unwrap();
        std::fs::write(&path, bytes).unwrap();
        prop_assert_eq!(&read_run(&path).unwrap(), &run);
        for missing in [MissingQueries::Zero, MissingQueries::Skip, MissingQueries::Error] {
            let one = evaluate(&qrels, &run, &measures(), missing).map_err(|e| e.to_string());
            let two = evaluate_run_file(&qrels, &path, &measures(), missing);
            prop_assert_eq!(one, two.map_err(|e| e.to_string()));
        }
        let path = folder.path().join("qrels");
        let mut bytes = Vec::new();
        write_qrels(&qrels, &mut bytes).unwrap();
        std::fs::write(&path, bytes).unwrap();
        prop_assert_eq!(&read_qrels(&path).unwrap(), &qrels);
        prop_assert_eq!(&tamis_eval::files::read_qrels(&path).unwrap(), &qrels);
    }

    #[test]
    fn an_ideal_order_scores_one((qrels, _) in collection()) {
        let mut run = Run::new("ideal");
        for (query, judged) in qrels.iter() {
            let candidates = judged.iter().map(|(document, &grade)| ScoredDocument {
                document: document.clone(),
                score: f64::from(grade),
            });
            run.insert(query.clone(), candidates.collect()).unwrap();
        }
        for name in ["nDCG", "nDCG@3", "nDCG(dcg='exp-log2')@3", "AP", "RR", "Rprec", "Compat"] {
            let measure: Measure = name.parse().unwrap();
            let evaluation = evaluate(&qrels, &run, &[measure], MissingQueries::Zero).unwrap();
            for (query, value) in evaluation.queries().iter().zip(evaluation.values(0)) {
                let any = qrels.query(query.as_str()).unwrap().values().any(|&grade| grade > 0);
                prop_assert!((value - f64::from(u8::from(any))).abs() < 1e-9, "{} {}", name, value);
            }
        }
    }
}
