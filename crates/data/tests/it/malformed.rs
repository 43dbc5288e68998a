//! Each bad file and the one error that it gives: file, line, what was expected, what was there.

use std::path::Path;

use expect_test::{Expect, expect};
use tamis_data::format::{self, group_tokens, msmarco};
use tamis_data::output::write_file;
use tamis_data::{Error, PrepareOptions, Result, Sources, prepare};
use tempfile::TempDir;

use crate::support::{file, folder, names};

/// The error's text without the temporary folder.
fn message(folder: &TempDir, error: &Error) -> String {
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

/// What a reader says of a file.
fn check<T>(name: &str, content: &[u8], read: impl Fn(&Path) -> Result<T>, expected: &Expect) {
    let folder = folder();
    let error = read(&file(&folder, name, content)).err().expect("the file is broken");
    expected.assert_eq(&message(&folder, &error));
}

#[test]
fn qrels() {
    let cases: [(&[u8], Expect); 8] = [
        (b"", expect!["a.tsv: expected at least one line of data, found none"]),
        (
            b"q 0 d 1\nq d 1\n",
            expect![
                "a.tsv:2: expected 4 columns (query, iteration, document, relevance), found 3 columns"
            ],
        ),
        (
            b"q d 1\n",
            expect![
                "a.tsv:1: expected 4 columns (query, iteration, document, relevance), found 3 columns"
            ],
        ),
        (b"q 0 d 1.5\n", expect!["a.tsv:1: relevance: expected an integer, found `1.5`"]),
        (
            b"q 0 d 1\n\n# c\nq 0 d 0\n",
            expect![
                "a.tsv:4: expected every judgement of document once, found `d of query q` again"
            ],
        ),
        (
            b"query-id\tcorpus-id\tscore\nq\td\n",
            expect![
                "a.tsv:2: expected 3 columns (query-id, corpus-id, score) with tabs between, found 2 columns"
            ],
        ),
        (
            b"query-id\tcorpus-id\tscore\nq x\td\t1\n",
            expect!["a.tsv:2: an id must not contain white space, found `q x`"],
        ),
        (b"q 0 d 1\nq 0 \xff 1\n", expect!["a.tsv:2: invalid UTF-8 at byte 4 of the line"]),
    ];
    for (content, expected) in &cases {
        check("a.tsv", content, format::read_qrels, expected);
    }
    let beir = tamis_data::format::beir::read_qrels;
    check(
        "a.tsv",
        b"q\td\t1\n",
        beir,
        &expect![
            "a.tsv:1: first line: expected the header `query-id corpus-id score`, found `q d 1`"
        ],
    );
}

#[test]
fn runs() {
    let cases: [(&[u8], Expect); 9] = [
        (b"\n", expect!["a.run: expected at least one line of data, found none"]),
        (
            b"q Q0 d 1 0.5\n",
            expect![
                "a.run:1: expected 6 columns (query, Q0, document, rank, score, tag), found 5 columns"
            ],
        ),
        (
            b"q Q0 d 1 0.5 t extra\n",
            expect![
                "a.run:1: expected 6 columns (query, Q0, document, rank, score, tag), found 7 columns"
            ],
        ),
        (b"q Q0 d 1 high t\n", expect!["a.run:1: score: expected a number, found `high`"]),
        (b"q Q0 d 1 NaN t\n", expect!["a.run:1: score: expected a number, found `NaN`"]),
        (
            b"q Q0 d 1 2 t\nr Q0 d 1 2 t\nq Q0 e 2 1 t\nq Q0 d 3 0 t\n",
            expect!["a.run:4: expected every document once, found `d of query q` again"],
        ),
        (b"q\td\t0\n", expect!["a.run:1: rank: expected an integer from 1, found `0`"]),
        (
            b"q\td\t1\nq\td\t2\n",
            expect!["a.run:2: expected every document once, found `d of query q` again"],
        ),
        (
            b"q\td\t1\nq\td\n",
            expect!["a.run:2: expected 3 columns (query, document, rank), found 2 columns"],
        ),
    ];
    for (content, expected) in &cases {
        check("a.run", content, format::read_run, expected);
    }
}

#[test]
fn queries() {
    let cases: [(&str, &[u8], Expect); 10] = [
        ("q.jsonl", b"", expect!["q.jsonl: expected at least one line of data, found none"]),
        (
            "q.jsonl",
            b"{\"_id\": \"a\", \"text\": \"t\"}\n{\"_id\": \"b\"\n",
            expect!["q.jsonl:2: EOF while parsing an object at line 1 column 11"],
        ),
        (
            "q.jsonl",
            b"{\"_id\": \"a\"}\n",
            expect!["q.jsonl:1: missing field `text` at line 1 column 12"],
        ),
        (
            "q.jsonl",
            b"{\"_id\": 1.5, \"text\": \"t\"}\n",
            expect![
                "q.jsonl:1: invalid type: floating point `1.5`, expected a string or an integer at line 1 column 11"
            ],
        ),
        (
            "q.jsonl",
            b"{\"_id\": \"\", \"text\": \"t\"}\n",
            expect!["q.jsonl:1: an id must not be empty"],
        ),
        (
            "q.jsonl",
            b"{\"_id\": \"a\", \"text\": \" \"}\n",
            expect!["q.jsonl:1: query `a` is empty"],
        ),
        (
            "q.tsv",
            b"a\tone\na\ttwo\n",
            expect!["q.tsv:2: expected every query once, found `a` again"],
        ),
        (
            "q.tsv",
            b"a one\n",
            expect!["q.tsv:1: expected 2 columns (id, text) with a tab between, found 1 columns"],
        ),
        (
            "q.csv",
            b"a,one\n",
            expect![
                "q.csv: extension: expected .jsonl, .tsv (or .gz, .zst behind them) or .parquet, found `q.csv`"
            ],
        ),
        ("q.tsv.gz", b"a\tone, and no gzip\n", expect!["q.tsv.gz:1: invalid gzip header"]),
    ];
    for (name, content, expected) in &cases {
        check(name, content, format::read_queries, expected);
    }
    let folder = folder();
    let error = format::read_queries(&folder.path().join("none.tsv")).unwrap_err();
    expect!["none.tsv: No such file or directory (os error 2)"]
        .assert_eq(&message(&folder, &error));
}

#[test]
fn groups() {
    let read = |path: &Path| format::read_groups(path, |_| Ok(()));
    let cases: [(&[u8], Expect); 6] = [
        (b"{\"query\": \"q\", \"neg\": [\"a\"]}\n", expect!["g.jsonl:1: missing field `pos`"]),
        (
            b"{\"query\": \"q\", \"pos\": [\"a\", \"b\"], \"pos_scores\": [1]}\n",
            expect!["g.jsonl:1: `pos` has 2 texts and 1 scores"],
        ),
        (
            b"{\"query\": \"q\", \"pos\": [\"a\"], \"pos_scores\": [1e39]}\n",
            expect!["g.jsonl:1: score: expected a finite number, found `inf`"],
        ),
        (b"{\"query\": \" \", \"pos\": [\"a\"]}\n", expect!["g.jsonl:1: `query` is empty"]),
        (
            b"{\"query\": \"q\", \"pos\": []}\n",
            expect!["g.jsonl:1: neither `pos` nor `neg` has a text"],
        ),
        (
            b"{\"query\": \"q\", \"pos\": \"a\"}\n",
            expect![[
                r#"g.jsonl:1: invalid type: string "a", expected a sequence at line 1 column 25"#
            ]],
        ),
    ];
    for (content, expected) in &cases {
        check("g.jsonl", content, read, expected);
    }
    check(
        "g.json",
        b"{\"qry\": {\"qid\": \"q\", \"query\": [1, -2]}, \"pos\": [], \"neg\": []}\n",
        |path| group_tokens::read_groups(path, |_| Ok(())),
        &expect!["g.json:1: invalid value: integer `-2`, expected u32 at line 1 column 36"],
    );
    check(
        "top1000.tsv",
        b"q\td\tquery\n",
        |path| msmarco::read_top1000(path, |_| Ok(())),
        &expect![
            "top1000.tsv:1: expected 4 columns (query id, document id, query, document) with tabs between, found 3 columns"
        ],
    );
    check(
        "g.parquet",
        b"PAR1 not",
        read,
        &expect![
            "g.parquet: not a usable Parquet file: Parquet error: Invalid Parquet file. Corrupt footer"
        ],
    );
}

/// A small collection in which every test breaks one thing.
const CORPUS: &str = "d1\tone\nd2\ttwo\n";
const QUERIES: &str = "q1\tfirst\nq2\tsecond\n";
const QRELS: &str = "q1 0 d1 1\nq2 0 d2 1\n";
const RUN: &str = "q1 Q0 d2 1 2 t\nq1 Q0 d1 2 1 t\nq2 Q0 d1 1 1 t\n";

#[test]
fn preparing() {
    let cases: [([&[u8]; 4], Expect); 9] = [
        (
            [b"d1\tone\nd1\ttwo\n", QUERIES.as_bytes(), b"", b""],
            expect!["corpus.tsv:2: expected every document once, found `d1` again"],
        ),
        (
            [b"d1\tone\nd2\t \n", QUERIES.as_bytes(), b"", b""],
            expect!["corpus.tsv:2: document `d2` is empty"],
        ),
        (
            [b"d1\tone\nd2\tt\xc3\n", QUERIES.as_bytes(), b"", b""],
            expect!["corpus.tsv:2: invalid UTF-8 at byte 4 of the line"],
        ),
        (
            [b"", QUERIES.as_bytes(), b"", b""],
            expect!["corpus.tsv: expected at least one line of data, found none"],
        ),
        (
            [CORPUS.as_bytes(), b"q1\ta\n\nq1\tb\n", b"", b""],
            expect!["queries.tsv:3: expected every query once, found `q1` again"],
        ),
        (
            [CORPUS.as_bytes(), QUERIES.as_bytes(), b"q1 0 d1 1\nq3 0 d1 1\n", RUN.as_bytes()],
            expect!["a.qrels:2: unknown query `q3`"],
        ),
        (
            [
                CORPUS.as_bytes(),
                QUERIES.as_bytes(),
                QRELS.as_bytes(),
                b"q1 Q0 d1 1 2 t\nq1 Q0 d9 2 1 t\n",
            ],
            expect!["a.run:2: unknown document `d9`"],
        ),
        (
            [
                CORPUS.as_bytes(),
                QUERIES.as_bytes(),
                b"q1 0 d1 1\nq2 0 d1 1\nq1 0 d1 0\n",
                RUN.as_bytes(),
            ],
            expect![
                "a.qrels:3: expected every judgement of document once, found `d1 of query q1` again"
            ],
        ),
        (
            [
                CORPUS.as_bytes(),
                QUERIES.as_bytes(),
                QRELS.as_bytes(),
                b"q1 Q0 d1 1 2 t\nq2 Q0 d1 1 2 t\nq1 Q0 d1 2 1 t\n",
            ],
            expect!["a.run:3: expected every document once, found `d1 of query q1` again"],
        ),
    ];
    for (contents, expected) in &cases {
        let folder = folder();
        let [corpus, queries, qrels, run] = contents;
        let some = |name: &str, content: &[u8]| match content {
            [] => Vec::new(),
            content => vec![file(&folder, name, content)],
        };
        let sources = Sources {
            corpus: vec![file(&folder, "corpus.tsv", corpus)],
            queries: vec![file(&folder, "queries.tsv", queries)],
            qrels: some("a.qrels", qrels),
            runs: some("a.run", run),
            ..Sources::default()
        };
        let before = names(folder.path());
        let out = folder.path().join("out");
        let error =
            prepare(&sources, &out, &PrepareOptions::default(), &mut |_, _| {}).unwrap_err();
        expected.assert_eq(&message(&folder, &error));
        assert_eq!(names(folder.path()), before, "nothing half-written is left");
    }
}

#[test]
fn preparing_what_does_not_go_together() {
    let folder = folder();
    let path = file(&folder, "a.tsv", CORPUS);
    let list = || vec![path.clone()];
    let cases = [
        (
            Sources { corpus: list(), ..Sources::default() },
            expect!["a corpus and queries are needed, or grouped text, or a top-1000 file"],
        ),
        (
            Sources { corpus: list(), groups: list(), ..Sources::default() },
            expect!["grouped text brings its own queries, documents and labels: it goes alone"],
        ),
        (
            Sources { top1000: list(), runs: list(), ..Sources::default() },
            expect!["a top-1000 file brings its own queries, documents and candidates"],
        ),
    ];
    for (sources, expected) in &cases {
        let out = folder.path().join("out");
        let error = prepare(sources, &out, &PrepareOptions::default(), &mut |_, _| {}).unwrap_err();
        expected.assert_eq(&error.to_string());
    }
}

#[test]
fn a_failing_disk_is_told_with_the_file() {
    let folder = folder();
    let path = folder.path().join("missing").join("a.run");
    let error = write_file(&path, |_| Ok(())).unwrap_err();
    assert!(message(&folder, &error).starts_with("missing/a.run: "), "{error}");
}
