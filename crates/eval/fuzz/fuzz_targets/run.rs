//! Any bytes as a run file: an error, or values that are finite and do not hang on the order of lines.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tamis_eval::files::{evaluate_run_bytes, parse_qrels};
use tamis_eval::{Measure, MissingQueries};

static QRELS: LazyLock<tamis_data::Qrels> = LazyLock::new(|| {
    parse_qrels(Path::new("q"), b"1 0 a 1\n1 0 b 0\n2 0 c 2\n2 0 d -1\n")
        .expect("it is well formed")
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
        // The last line first: queries may then stand apart, which is read in another way.
        let lines = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let lines = lines.split(|&byte| byte == b'\n').rev();
        let turned = lines.collect::<Vec<_>>().join(&b'\n');
        if !turned.starts_with(b"\xef\xbb\xbf") {
            let again = evaluate_run_bytes(
                &QRELS,
                Path::new("r"),
                &turned,
                &MEASURES,
                MissingQueries::Zero,
            );
            let again = again.expect("every line was read before");
            assert_eq!(again.queries(), evaluation.queries());
            for measure in 0..MEASURES.len() {
                assert_eq!(again.values(measure), evaluation.values(measure));
            }
        }
    }
});
