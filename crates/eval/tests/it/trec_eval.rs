//! trec_eval's own quick tests, and probes measured on three of its builds, byte for byte.

use std::path::Path;

use tamis_eval::trec::{Compat, run};

/// Runs one command line in a folder; stdout, stderr and the exit code as a shell would show them.
pub(crate) fn output(folder: &Path, line: &str, compat: Compat) -> (String, String, u8) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let n = words.len();
    // File names, the last two words and that of -Z, are relative to the folder.
    let arguments: Vec<String> = (0..n)
        .map(|i| {
            let is_file = i + 2 >= n || (i > 0 && words[i - 1] == "-Z");
            let path = || folder.join(&words[i]).display().to_string();
            if is_file { path() } else { words[i].clone() }
        })
        .collect();
    let (mut out, mut messages) = (Vec::new(), Vec::new());
    let code = run(&arguments, compat, &mut out, &mut messages).unwrap();
    (String::from_utf8(out).unwrap(), String::from_utf8(messages).unwrap(), code)
}

mod with_data {
    use super::{Compat, output};
    use crate::files::folder;

    const QUICK_TESTS: [(&str, &str); 15] = [
        ("test/qrels.test test/results.test", "out.test"),
        ("test/qrels.test.with-comments test/results.test", "out.test"),
        ("test/qrels.comment.test test/results.comment.test", "out.comment.test"),
        ("-m all_trec test/qrels.test test/results.test", "out.test.a"),
        ("-m all_trec -q test/qrels.test test/results.test", "out.test.aq"),
        ("-m all_trec -q -c test/qrels.test test/results.trunc", "out.test.aqc"),
        ("-m all_trec -q -c -M100 test/qrels.test test/results.trunc", "out.test.aqcM"),
        (
            "-m all_trec -mrelstring.20 -q -l2 test/qrels.rel_level test/results.test",
            "out.test.aql",
        ),
        ("-m all_prefs -q -R prefs test/prefs.test test/prefs.results.test", "out.test.prefs"),
        (
            "-m all_prefs -q -R prefs test/prefs.comment.test test/prefs.results.test",
            "out.test.prefs",
        ),
        (
            "-m all_prefs -q -R qrels_prefs test/qrels.test test/results.test",
            "out.test.qrels_prefs",
        ),
        ("-m qrels_jg -q -R qrels_jg test/qrels.123 test/results.test", "out.test.qrels_jg"),
        (
            "-m qrels_jg -q -R qrels_jg test/qrels.comments.123 test/results.test",
            "out.test.qrels_jg",
        ),
        (
            "-q -miprec_at_recall..10,.20,.25,.75,.50 -m P.5,7,3 -m recall.20,2000 \
             -m Rprec_mult.5.0,0.2,0.35 -mutility.2,-1,0,0 -m 11pt_avg..25,.5,.75 \
             -mndcg.1=3,2=9,4=4.5 -mndcg_cut.10,20,23.4 -msuccess.2,5,20 \
             test/qrels.test test/results.test",
            "out.test.meas_params",
        ),
        ("-q -m all_trec -Z test/zscores_file test/qrels.test test/results.test", "out.test.aqZ"),
    ];

    fn check(line: &str, expected: &std::path::Path, compat: Compat) {
        let folder = folder("TAMIS_DATA").join("conformance/trec_eval");
        let (out, messages, code) = output(&folder, line, compat);
        let expected = std::fs::read_to_string(expected).unwrap();
        let differs = || out.lines().zip(expected.lines()).find(|(a, b)| a != b);
        assert!(
            out == expected,
            "{line} {compat:?}: {:?} {} {} {messages}",
            differs(),
            out.len(),
            expected.len()
        );
        assert_eq!((messages.as_str(), code), ("", 0));
    }

    #[test]
    fn quick_tests_of_version_10_are_equal() {
        let test = folder("TAMIS_DATA").join("conformance/trec_eval/test");
        for (line, expected) in QUICK_TESTS {
            check(line, &test.join(expected), Compat::V10);
        }
    }

    #[test]
    fn quick_tests_of_version_9_are_equal() {
        let data = folder("TAMIS_DATA").join("conformance/trec_eval");
        for (line, expected) in QUICK_TESTS {
            // Document ids with `#` inside are no comments; its expected output is version 10's.
            if line.contains("qrels.comment.test") {
                continue;
            }
            if line.contains("comment") {
                let (_, messages, code) = output(&data, line, Compat::V908);
                assert!(messages.contains("Malformed line"), "{line}: {messages}");
                assert_eq!(code, 2);
                continue;
            }
            let own = data.join("test-9.0.8").join(expected);
            let expected = if own.exists() { own } else { data.join("test").join(expected) };
            check(line, &expected, Compat::V908);
        }
    }

    #[test]
    fn probes_are_equal() {
        let probes = folder("TAMIS_DATA").join("../conformance-probes");
        for (file, compat) in [
            ("expected.v9.0.8.txt", Compat::V907),
            ("expected.trec_eval-9.0.8.txt", Compat::V908),
            ("expected.v10.txt", Compat::V10),
        ] {
            let expected = std::fs::read_to_string(probes.join(file)).unwrap();
            let lines = expected.lines().filter_map(|line| line.strip_prefix("$ trec_eval "));
            let mut found = String::new();
            for line in lines {
                let (out, messages, code) = output(&probes, line, compat);
                found.push_str(&format!("$ trec_eval {line}\n{out}{messages}rc={code}\n"));
            }
            assert!(found == expected, "{file}:\n{found}\nis not\n{expected}");
        }
    }
}
