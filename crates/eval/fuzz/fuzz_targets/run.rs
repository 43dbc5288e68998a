//! Any bytes as a run file: an error or values, and the same as the strict reader of tamis-data.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tamis_eval::files::{evaluate_run_bytes, parse_qrels};
use tamis_eval::{Measure, MissingQueries};

static QRELS: LazyLock<tamis_data::Qrels> = LazyLock::new(|| {
    parse_qrels(Path::new("q"), b"1 0 a 1\n1 0 b 0\n2 0 c 2\n2 0 d -1\n").expect("it is well formed")
});
static MEASURES: LazyLock<Vec<Measure>> = LazyLock::new(|| {
    let names = ["nDCG@10", "AP", "RR@3", "Bpref", "infAP", "Compat", "ERR@5", "IPrec@0.5"];
    names.iter().map(|name| name.parse().expect("the name is known")).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let evaluated =
        evaluate_run_bytes(&QRELS, Path::new("r"), bytes, &MEASURES, MissingQueries::Zero);
    if let Ok(evaluation) = evaluated {
        for measure in 0..MEASURES.len() {
            assert!(evaluation.values(measure).iter().all(|value| value.is_finite()));
        }
    }
});
