//! One run as a plain, compressed, piped and Parquet file: always the same evaluation.

use std::io::Write;
use std::path::Path;

use tamis_data::format::trec::write_run;
use tamis_data::{DocId, Qrels, QueryId, Run, ScoredDocument};
use tamis_eval::files::evaluate_run_file;
use tamis_eval::{Evaluation, Measure, MissingQueries, Result, evaluate};

/// 150 queries with 1,000 documents each: more than is worked on at a time.
fn collection() -> (Qrels, Run) {
    let (mut qrels, mut run) = (Qrels::new(), Run::new("t"));
    for query in 0..150u32 {
        let id = |n: u32| DocId::new(&format!("document{}", (n * 7919 + query) % 100_003)).unwrap();
        let query = QueryId::new(&format!("query{query}")).unwrap();
        for n in 0..5 {
            qrels.insert(query.clone(), id(n * 150), 1).unwrap();
        }
        let score = |n: u32| f64::from(n / 3 * 7 % 1000) / 8.0;
        let candidates = (0..1000).map(|n| ScoredDocument { document: id(n), score: score(n) });
        run.insert(query, candidates.collect()).unwrap();
    }
    (qrels, run)
}

fn measures() -> Vec<Measure> {
    ["nDCG@10", "AP", "RR", "NumRet"].iter().map(|name| name.parse().unwrap()).collect()
}

fn evaluated(qrels: &Qrels, path: &Path) -> Result<Evaluation> {
    evaluate_run_file(qrels, path, &measures(), MissingQueries::Zero)
}

/// The lines of a run, first all with an even number, then the others.
fn scattered(lines: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = lines.split_inclusive(|&byte| byte == b'\n').collect();
    let (even, odd) = (lines.iter().step_by(2), lines.iter().skip(1).step_by(2));
    even.chain(odd).flat_map(|line| line.iter().copied()).collect()
}

#[test]
fn plain_and_compressed_files_are_the_same() {
    let (qrels, run) = collection();
    let expected = evaluate(&qrels, &run, &measures(), MissingQueries::Zero).unwrap();
    let mut together = Vec::new();
    write_run(&run, &mut together).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for bytes in [scattered(&together), together] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&bytes).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&bytes[..], 1).unwrap();
        for (name, bytes) in [("r", bytes), ("r.gz", gzip), ("r.zst", zstd)] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            if name == "r.zst" && cfg!(not(feature = "zstd")) {
                let message = evaluated(&qrels, &path).unwrap_err().to_string();
                assert!(message.ends_with("built without the feature `zstd`"), "{message}");
                continue;
            }
            assert_eq!(evaluated(&qrels, &path).unwrap(), expected, "{name}");
        }
    }
}

/// A pipe is read once: a long one must have the lines of a query together.
#[cfg(unix)]
#[test]
fn pipes_are_the_same() {
    let piped = |qrels: &Qrels, bytes: &[u8], times: usize| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut pipe = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                // The reader may hang up early, which is what one case is about.
                let _ = (0..times).try_for_each(|_| pipe.write_all(bytes));
            });
            let place = format!("{}/", folder.path().display());
            evaluated(qrels, &path).map_err(|error| error.to_string().replace(&place, ""))
        })
    };
    let (qrels, run) = collection();
    let expected = evaluate(&qrels, &run, &measures(), MissingQueries::Zero).unwrap();
    let mut together = Vec::new();
    write_run(&run, &mut together).unwrap();
    assert_eq!(piped(&qrels, &together, 1).unwrap(), expected);
    assert_eq!(piped(&qrels, &scattered(&together), 1).unwrap(), expected);
    let mut long: Vec<u8> = Vec::new();
    for n in 0..1_000_000 {
        writeln!(long, "query0 Q0 some-quite-long-document-identifier-{n} {n} 0.123456789012 t")
            .unwrap();
    }
    let comes_back = [&long[..], b"query1 Q0 d 1 1 t\nquery0 Q0 d 1 1 t\n"].concat();
    assert_eq!(
        piped(&qrels, &comes_back, 1).unwrap_err(),
        "pipe: query `query0` comes back after other queries: sort the stream by query, or give a \
         file"
    );
    assert_eq!(
        piped(&qrels, b"", 1).unwrap_err(),
        "pipe: expected at least one line of data, found none"
    );
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_files_are_the_same() {
    let (qrels, run) = collection();
    let expected = evaluate(&qrels, &run, &measures(), MissingQueries::Zero).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.parquet");
    let mut bytes = Vec::new();
    tamis_data::format::parquet::write_run(&run, &mut bytes).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(evaluated(&qrels, &path).unwrap(), expected);
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let message = evaluated(&qrels, &path).unwrap_err().to_string();
    assert!(message.contains("r.parquet: not a usable Parquet file"), "{message}");
    // Rows of q1, q2 and q1 again, made by `testdata/scattered.py`.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/scattered.parquet");
    let mut qrels = Qrels::new();
    qrels.insert("q1".parse().unwrap(), "d2".parse().unwrap(), 1).unwrap();
    let evaluation = evaluated(&qrels, &path).unwrap();
    assert_eq!((evaluation.tag(), evaluation.value(2, "q1")), ("t", Some(0.5)));
}
