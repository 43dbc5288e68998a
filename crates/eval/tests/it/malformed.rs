//! Each bad file and its exact message; and what is unusual but right.

use std::path::PathBuf;

use tamis_eval::files::{evaluate_run_file, read_qrels};
use tamis_eval::{Evaluation, Measure, MissingQueries};

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

const COLUMNS_2: &str =
    "r:2: expected 6 columns (query, Q0, document, rank, score, tag), found 5 columns";
const QRELS: &[u8] = b"q1 0 d1 1\nq1 0 d2 0\nq2 0 d3 1\n";

fn evaluated(name: &str, bytes: &[u8]) -> Result<Evaluation, String> {
    let (_keep, qrels) = file("qrels", QRELS);
    let (folder, run) = file(name, bytes);
    let measures: [Measure; 1] = ["RR".parse().unwrap()];
    let qrels = read_qrels(&qrels).map_err(|error| error.to_string())?;
    let place = format!("{}/", folder.path().display());
    evaluate_run_file(&qrels, &run, &measures, MissingQueries::Zero)
        .map_err(|error| error.to_string().replace(&place, ""))
}

fn qrels_error(bytes: &[u8]) -> String {
    let (folder, path) = file("q", bytes);
    let place = format!("{}/", folder.path().display());
    read_qrels(&path).unwrap_err().to_string().replace(&place, "")
}

#[test]
fn bad_runs_are_named_with_their_line() {
    for (bytes, message) in [
        (
            &b"q1 Q0 d1 1 2.0 t\nq1 Q0 d2 2 1.0\n"[..],
            "r:2: expected 6 columns (query, Q0, document, rank, score, tag), found 5 columns",
        ),
        (b"q1 Q0 d1 1 two t\n", "r:1: score: expected a number, found `two`"),
        (b"\n# c\nq1 Q0 d1 1 nan t\n", "r:3: score: expected a number, found `nan`"),
        (
            b"q1 Q0 d1 1 2 t\nq1 Q0 d2 2 1 t\nq1 Q0 d1 3 0 t\n",
            "r:3: expected every document once, found `d1 of query q1` again",
        ),
        (
            b"q1 Q0 d1 1 2 t\nq2 Q0 d2 2 1 t\nq1 Q0 d1 3 0 t\n",
            "r:3: expected every document once, found `d1 of query q1` again",
        ),
        (
            "é Q0 ü 1 2 t\né Q0 ü 2 1 t\n".as_bytes(),
            "r:2: expected every document once, found `ü of query é` again",
        ),
        ("é Q0 ü 1 zwölf t\n".as_bytes(), "r:1: score: expected a number, found `zwölf`"),
        (b"\xef\xbb\xbfq1 Q0 d1 1 2 t\r\nq1 Q0 d2 2 x\r\n", COLUMNS_2),
        (b"q1\tQ0 d1\t1 2 t\nq1\tQ0 d2 \t 2\t1\n", COLUMNS_2),
        (
            b"# c\nq1 Q0 d1 1\n",
            "r:2: expected 6 columns (query, Q0, document, rank, score, tag), found 4 columns",
        ),
        (b"q1 Q0 d1 1 -inf t\nq1 Q0 d2 1 NaN t\n", "r:2: score: expected a number, found `NaN`"),
        (b"q1 Q0 d1 1 1,5 t\n", "r:1: score: expected a number, found `1,5`"),
        (
            "q\u{a0}1 Q0 d1 1 2 t\n".as_bytes(),
            "r:1: an id must not contain white space, found `q\u{a0}1`",
        ),
        (b"q1 Q0 d\xff 1 2 t\n", "r:1: invalid UTF-8 at byte 7 of the line"),
        (b"", "r: expected at least one line of data, found none"),
        (b"# only a comment\n\n", "r: expected at least one line of data, found none"),
        (
            b"x Q0 d1 1 2 t\n",
            "run `t` and the qrels have no query in common (the run has 1, the qrels 2)",
        ),
    ] {
        assert_eq!(evaluated("r", bytes).unwrap_err(), message);
    }
}

#[test]
fn bad_qrels_are_named_with_their_line() {
    for (bytes, message) in [
        (
            &b"q1 0 d1\n"[..],
            "q:1: expected 4 columns (query, iteration, document, relevance), found 3 columns",
        ),
        (b"q1 0 d1 1\nq1 0 d2 1.5\n", "q:2: relevance: expected an integer, found `1.5`"),
        (
            b"q1 0 d1 1\nq1 0 d1 0\n",
            "q:2: expected every judgement of document once, found `d1 of query q1` again",
        ),
        (b"", "q: expected at least one line of data, found none"),
        (
            b"query-id\tcorpus-id\tscore\nq1\td1\n",
            "q:2: expected 3 columns (query, document, relevance), found 2 columns",
        ),
        (
            "é 0 ü 1\né 0 ü 1\n".as_bytes(),
            "q:2: expected every judgement of document once, found `ü of query é` again",
        ),
        (
            b"\xef\xbb\xbfq1 0 d1 1\r\n\r\n# c\r\nq1 0 d2\r\n",
            "q:4: expected 4 columns (query, iteration, document, relevance), found 3 columns",
        ),
        (b"q1\t0 d1\tx\n", "q:1: relevance: expected an integer, found `x`"),
        (b"q1 0 d1 nan\n", "q:1: relevance: expected an integer, found `nan`"),
        (b"# c\n\r\n", "q: expected at least one line of data, found none"),
        (b"q1 0 d\xff 1\n", "q:1: invalid UTF-8 at byte 6 of the line"),
    ] {
        assert_eq!(qrels_error(bytes), message);
    }
}

#[test]
fn line_ends_marks_tabs_and_comments_are_understood() {
    for bytes in [
        &b"\xef\xbb\xbfq1\tQ0\td2\t1\t3\tt\r\nq1  Q0 d1 2\t2 t\r\n"[..],
        b"# comment\nq1 Q0 d2 1 3 t extra columns\n\nq1 Q0 d1 2 2 t",
        b"q1 Q0 d1 1 2 t\nq2 Q0 d9 1 2 t\nq1 Q0 d2 1 3 t\n",
    ] {
        let evaluation = evaluated("r", bytes).unwrap();
        assert_eq!(evaluation.value(0, "q1"), Some(0.5));
        assert_eq!(evaluation.tag(), "t");
    }
    let (_keep, only_negative) = file("q", "é 0 ü -1\né 0 ß -2\n".as_bytes());
    let qrels = read_qrels(&only_negative).unwrap();
    let (_keep, run) = file("r", "é Q0 ü 1 1 t\n".as_bytes());
    let measures: [Measure; 2] = ["nDCG".parse().unwrap(), "Judged".parse().unwrap()];
    let evaluation = evaluate_run_file(&qrels, &run, &measures, MissingQueries::Error).unwrap();
    assert_eq!((evaluation.summary(0), evaluation.summary(1)), (0.0, 1.0));
}
