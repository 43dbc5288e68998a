//! Prepared datasets: what went in comes out, joined as a naive join has it, whole or not at all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use expect_test::expect;
use proptest::prelude::*;
use tamis_data::format::{self, parquet};
use tamis_data::{
    Candidate, Dataset, Group, GroupScores, PrepareOptions, PrepareReport, Qrels, Run, Sources,
    prepare,
};
use tempfile::TempDir;

use crate::support::{file, folder, names};

fn prepared(
    folder: &TempDir,
    sources: &Sources,
    options: &PrepareOptions,
) -> (Dataset, PrepareReport) {
    let out = folder.path().join("out");
    let options = PrepareOptions { replace: true, ..options.clone() };
    let report = prepare(sources, &out, &options, &mut |_, _| {}).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    dataset.verify().unwrap();
    assert_eq!(dataset.manifest().report, report);
    (dataset, report)
}

fn collection(folder: &TempDir, run: &str, qrels: &str) -> Sources {
    Sources {
        corpus: vec![
            file(
                folder,
                "a.jsonl",
                "{\"_id\": \"d1\", \"title\": \"t\", \"text\": \"one\"}\n\n{\"_id\": 2, \"title\": null, \"text\": \"zwölf 京\"}\n",
            ),
            file(folder, "b.tsv", "d3\tthree\r\nd4\tfour"),
        ],
        queries: vec![file(folder, "q.tsv", "q1\tfirst\nq2\tsecond\nq3\tthird\n")],
        qrels: vec![file(folder, "a.qrels", qrels)],
        runs: vec![file(folder, "a.run", run)],
        ..Sources::default()
    }
}

const RUN: &str =
    "q2 Q0 d3 1 0.5 t\nq1 Q0 d1 9 1 t\nq1 Q0 d4 1 3 t\nq1 Q0 2 2 3 t\nq3 Q0 d1 1 1 t\n";
const QRELS: &str = "q1 0 d1 0\nq1 0 2 2\nq1 0 d3 1\nq2 0 d3 0\n";

fn candidate(document: u32, label: Option<f32>, first_stage: Option<f32>) -> Candidate {
    Candidate { document, label, teacher_score: None, first_stage }
}

#[test]
fn a_collection_is_joined() {
    let folder = folder();
    let sources = collection(&folder, RUN, QRELS);
    let (dataset, report) = prepared(&folder, &sources, &PrepareOptions::default());
    let corpus = dataset.corpus();
    let texts: Vec<_> =
        (0..corpus.len() as u32).map(|row| (corpus.id(row), corpus.text(row))).collect();
    assert_eq!(texts, [("d1", "t one"), ("2", "zwölf 京"), ("d3", "three"), ("d4", "four")]);
    assert_eq!((corpus.row_of("d3"), corpus.row_of("d9")), (Some(2), None));
    assert_eq!(dataset.queries().row_of("q3"), Some(2));
    // Ties break by document id, descending; the rank column plays no part; d3 was missed.
    let first = Group {
        query: 0,
        candidates: vec![
            candidate(3, None, Some(3.0)),
            candidate(1, Some(2.0), Some(3.0)),
            candidate(0, Some(0.0), Some(1.0)),
            candidate(2, Some(1.0), None),
        ],
    };
    let second = Group { query: 1, candidates: vec![candidate(2, Some(0.0), Some(0.5))] };
    let third = Group { query: 2, candidates: vec![candidate(0, None, Some(1.0))] };
    assert_eq!(dataset.groups().iter().collect::<Vec<_>>(), [first.clone(), second, third]);
    let texts = dataset.texts(&first);
    assert_eq!(
        (texts.query, &texts.documents[..]),
        ("first", &["four", "zwölf 京", "t one", "three"][..])
    );
    expect![[r#"
        documents                                               4
        queries                                                 3
        judgements                                              4
        groups                                                  3
        candidates                                              6
          labelled                                              4
          of them positive                                      2
          unjudged                                              2
        positives missed by the run, added                      1
        groups without a positive, kept                         2
    "#]]
    .assert_eq(&report.to_string());
}

#[test]
fn depth_and_positives_are_options() {
    let folder = folder();
    let sources = collection(&folder, RUN, QRELS);
    let options = PrepareOptions {
        depth: Some(1),
        add_positives: false,
        require_positive: true,
        ..PrepareOptions::default()
    };
    let (dataset, report) = prepared(&folder, &sources, &options);
    assert_eq!(dataset.groups().len(), 0);
    assert_eq!((report.below_depth, report.missed_positives), (2, 2));
    assert_eq!(report.dropped_without_positive, 3);
    // A positive below the depth is added with its score.
    let options = PrepareOptions { add_positives: true, ..options };
    let (dataset, _) = prepared(&folder, &sources, &options);
    let group = dataset.groups().get(0);
    assert_eq!(group.candidates[1], candidate(1, Some(2.0), Some(3.0)));
    assert_eq!(group.candidates[2], candidate(2, Some(1.0), None));
}

#[test]
fn unknown_ids_and_empty_texts_are_counted_when_allowed() {
    let folder = folder();
    let mut sources = collection(&folder, &format!("{RUN}q9 Q0 d1 1 1 t\nq1 Q0 d9 1 1 t\n"), QRELS);
    sources.corpus.push(file(&folder, "c.tsv", "d5\t\n"));
    let options =
        PrepareOptions { skip_unknown: true, allow_empty: true, ..PrepareOptions::default() };
    let (dataset, report) = prepared(&folder, &sources, &options);
    assert_eq!((report.unknown_queries, report.unknown_documents), (1, 1));
    assert_eq!((report.empty_documents, dataset.corpus().text(4)), (1, ""));
}

#[test]
fn without_a_run_the_judged_documents_are_the_candidates() {
    let folder = folder();
    let mut sources = collection(&folder, RUN, QRELS);
    sources.runs.clear();
    let (dataset, _) = prepared(&folder, &sources, &PrepareOptions::default());
    let rows: Vec<Vec<u32>> = dataset
        .groups()
        .iter()
        .map(|g| g.candidates.iter().map(|c| c.document).collect())
        .collect();
    assert_eq!(rows, [vec![0, 1, 2], vec![2]]);
}

#[test]
fn grouped_text_makes_its_own_corpus() {
    let folder = folder();
    let lines = r#"{"query": "a", "pos": ["x", "y"], "neg": ["z", "x"], "pos_scores": [2, 1], "neg_scores": [0.5, 0]}
{"query": "b", "pos": ["y"]}
{"query": "a", "pos": [], "neg": ["w"]}
"#;
    let sources = Sources { groups: vec![file(&folder, "g.jsonl", lines)], ..Sources::default() };
    let (dataset, report) = prepared(&folder, &sources, &PrepareOptions::default());
    let corpus: Vec<&str> = (0..4).map(|row| dataset.corpus().text(row)).collect();
    assert_eq!((corpus, dataset.corpus().len()), (vec!["x", "y", "z", "w"], 4));
    assert_eq!((dataset.queries().len(), dataset.queries().id(1)), (2, "q1"));
    let candidate = |document, label, teacher_score| Candidate {
        document,
        label: Some(label),
        teacher_score,
        first_stage: None,
    };
    assert_eq!(
        dataset.groups().get(0).candidates,
        [candidate(0, 1.0, Some(2.0)), candidate(1, 1.0, Some(1.0)), candidate(2, 0.0, Some(0.5))]
    );
    assert_eq!((report.repeated_candidates, report.repeated_documents), (1, 2));
    assert_eq!((report.repeated_queries, report.without_positive), (1, 1));

    let options = PrepareOptions {
        group_scores: GroupScores::Label { min: 0.0, max: 2.0 },
        ..PrepareOptions::default()
    };
    let (dataset, _) = prepared(&folder, &sources, &options);
    assert_eq!(
        dataset.groups().get(0).candidates,
        [candidate(0, 1.0, None), candidate(1, 0.5, None), candidate(2, 0.25, None)]
    );
}

#[test]
fn top1000_keeps_the_order_of_its_lines() {
    let folder = folder();
    let lines =
        "q1\td9\tfirst\tnine\nq2\td1\tsecond\tone\nq1\td1\tfirst\tone\nq1\td5\tfirst\tfive\n";
    let sources = Sources {
        top1000: vec![file(&folder, "top.tsv", lines)],
        qrels: vec![file(&folder, "a.qrels", "q1 0 d1 1\n")],
        ..Sources::default()
    };
    let (dataset, report) = prepared(&folder, &sources, &PrepareOptions::default());
    let group = dataset.groups().get(0);
    let ids: Vec<&str> = group.candidates.iter().map(|c| dataset.corpus().id(c.document)).collect();
    assert_eq!(ids, ["d9", "d1", "d5"]);
    assert!(group.candidates.iter().all(|c| c.first_stage.is_none()));
    assert_eq!((report.repeated_documents, report.positives), (1, 1));
}

#[test]
fn the_same_sources_make_the_same_bytes() {
    let folder = folder();
    let lines: String = (0..30_000).map(|i| format!("d{i}\ttext number {i}\n")).collect();
    let sources = Sources {
        corpus: vec![file(&folder, "c.tsv", &lines)],
        queries: vec![file(&folder, "q.tsv", "q1\tfirst\n")],
        ..Sources::default()
    };
    let made = |threads: usize| {
        let out = folder.path().join(format!("out{threads}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| prepare(&sources, &out, &PrepareOptions::default(), &mut |_, _| {}))
            .unwrap();
        let read = |name: &String| std::fs::read(out.join(name)).unwrap();
        names(&out).iter().map(read).collect::<Vec<_>>()
    };
    assert_eq!(made(1), made(3));
    let dataset = Dataset::open(&folder.path().join("out3")).unwrap();
    for row in [0, 8191, 8192, 16_384, 29_999] {
        assert_eq!(dataset.corpus().text(row), format!("text number {row}"));
        assert_eq!(dataset.corpus().row_of(&format!("d{row}")), Some(row));
    }
}

#[test]
fn a_damaged_dataset_is_told() {
    let folder = folder();
    let sources = collection(&folder, RUN, QRELS);
    prepared(&folder, &sources, &PrepareOptions::default());
    let out = folder.path().join("out");
    let message =
        |error: tamis_data::Error| error.to_string().replace(&format!("{}/", out.display()), "");
    let open = || message(Dataset::open(&out).unwrap_err());
    let path = out.join("corpus.arrow");
    let whole = std::fs::read(&path).unwrap();

    std::fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    expect!["corpus.arrow: not a complete Arrow file: 942 bytes long, the manifest says 1042"]
        .assert_eq(&open());
    // Of the right length, but without its end.
    let mut cut = whole.clone();
    let n = cut.len();
    cut[n - 12..].fill(0);
    std::fs::write(&path, &cut).unwrap();
    expect!["corpus.arrow: not a complete Arrow file: the end of the file is missing"]
        .assert_eq(&open());
    // One changed byte of a text is found by reading everything.
    let mut changed = whole.clone();
    let at = changed.windows(5).position(|bytes| bytes == b"three").unwrap();
    changed[at] = b'T';
    std::fs::write(&path, &changed).unwrap();
    let error = Dataset::open(&out).unwrap().verify().unwrap_err();
    expect!["corpus.arrow: not a complete Arrow file: its SHA-256 is not the manifest's"]
        .assert_eq(&message(error));
    std::fs::write(&path, &whole).unwrap();

    let manifest = out.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"version\": 1", "\"version\": 7")).unwrap();
    expect!["manifest.json: format and version: expected tamis-dataset 1; prepare the dataset again, found `tamis-dataset 7`"].assert_eq(&open());
    std::fs::remove_file(&manifest).unwrap();
    expect!["manifest.json: No such file or directory (os error 2)"].assert_eq(&open());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Against a join of maps, for any run and qrels over a few ids.
    #[test]
    fn groups_are_those_of_a_naive_join(
        run in proptest::collection::btree_map((0..5_u32, 0..8_u32), -3..3_i32, 1..30),
        judged in proptest::collection::btree_map((0..5_u32, 0..8_u32), -1..3_i32, 1..30),
        depth in proptest::option::of(1..5_usize),
        add_positives: bool,
        columns: bool,
    ) {
        let folder = folder();
        let line = |(&(query, document), &score): (&(u32, u32), &i32)| {
            format!("q{query} Q0 d{document} 0 {score} t\n")
        };
        let mut runs = file(&folder, "a.run", run.iter().map(line).collect::<String>());
        if columns {
            let mut bytes = Vec::new();
            parquet::write_run(&format::read_run(&runs).unwrap(), &mut bytes).unwrap();
            runs = file(&folder, "a.parquet", bytes);
        }
        let line = |(&(query, document), &relevance): (&(u32, u32), &i32)| {
            format!("q{query} 0 d{document} {relevance}\n")
        };
        let qrels = file(&folder, "a.qrels", judged.iter().map(line).collect::<String>());
        let texts = |name: &str, n: u32| (0..n).map(|i| format!("{name}{i}\tx\n")).collect::<String>();
        let sources = Sources {
            corpus: vec![file(&folder, "c.tsv", texts("d", 8))],
            queries: vec![file(&folder, "q.tsv", texts("q", 5))],
            qrels: vec![qrels.clone()],
            runs: vec![runs.clone()],
            ..Sources::default()
        };
        let options = PrepareOptions { depth, add_positives, ..PrepareOptions::default() };
        let (dataset, report) = prepared(&folder, &sources, &options);
        let (run, qrels) = (format::read_run(&runs).unwrap(), format::read_qrels(&qrels).unwrap());
        let expected = naive(&run, &qrels, depth, add_positives);
        let named = |group: Group| {
            let id = |c: &Candidate| dataset.corpus().id(c.document).to_owned();
            let candidates = group.candidates.iter().map(|c| (id(c), c.label, c.first_stage));
            (dataset.queries().id(group.query).to_owned(), candidates.collect::<Vec<_>>())
        };
        let found: BTreeMap<_, _> = dataset.groups().iter().map(named).collect();
        prop_assert_eq!(report.groups as usize, found.len());
        prop_assert_eq!(found, expected);
    }
}

type Named = (String, Option<f32>, Option<f32>);

fn naive(
    run: &Run,
    qrels: &Qrels,
    depth: Option<usize>,
    add: bool,
) -> BTreeMap<String, Vec<Named>> {
    let group = |(query, candidates): (&tamis_data::QueryId, &[tamis_data::ScoredDocument])| {
        let label = |document: &str| qrels.relevance(query.as_str(), document).map(|r| r as f32);
        let score = |document: &str| {
            candidates.iter().find(|c| c.document.as_str() == document).map(|c| c.score as f32)
        };
        let mut ids: Vec<String> = candidates.iter().map(|c| c.document.to_string()).collect();
        ids.truncate(depth.unwrap_or(usize::MAX));
        for (document, &relevance) in qrels.query(query.as_str()).into_iter().flatten() {
            if add && relevance > 0 && !ids.contains(&document.to_string()) {
                ids.push(document.to_string());
            }
        }
        let named = |id: String| (id.clone(), label(&id), score(&id));
        (query.to_string(), ids.into_iter().map(named).collect())
    };
    run.iter().map(group).collect()
}

/// Every real collection, against the readers of whole files.
mod with_data {
    use super::{Dataset, PathBuf, PrepareOptions, Qrels, Sources, folder, format, prepare};
    use crate::support::shared;

    #[test]
    fn real_collections() {
        let data = shared("TAMIS_DATA");
        // The last columns: empty documents; judgements of documents that the corpus lacks.
        let collections = [
            ("adi", "bm25/test.run", "test", 0, 0),
            ("cranfield", "bm25/test.run", "test", 2, 0),
            ("medquad", "bm25/train.run", "train", 0, 0),
            ("t2ranking-100", "bm25/train.run", "train", 0, 0),
            ("trec-dl19", "runs/BM25.run", "test", 0, 5_277),
        ];
        for (name, run, split, empty, unknown) in collections {
            let of = |file: &str| -> PathBuf { data.join(name).join(file) };
            let folder = folder();
            let sources = Sources {
                corpus: vec![of("corpus.jsonl")],
                queries: vec![of("queries.jsonl")],
                qrels: vec![of(&format!("qrels/{split}.tsv"))],
                runs: vec![of(run)],
                ..Sources::default()
            };
            let out = folder.path().join(name);
            let options = PrepareOptions {
                allow_empty: empty > 0,
                skip_unknown: unknown > 0,
                ..PrepareOptions::default()
            };
            let report = prepare(&sources, &out, &options, &mut |_, _| {}).unwrap();
            let dataset = Dataset::open(&out).unwrap();
            assert_eq!(
                (report.empty_documents, report.unknown_documents),
                (empty, unknown),
                "{name}"
            );
            let mut row = 0;
            format::read_documents(&sources.corpus[0], |id, text| {
                assert_eq!((dataset.corpus().id(row), dataset.corpus().text(row)), (id, text));
                assert_eq!(dataset.corpus().row_of(id), Some(row));
                row += 1;
                Ok(())
            })
            .unwrap();
            let run = format::read_run(&sources.runs[0]).unwrap();
            let qrels = format::read_qrels(&sources.qrels[0]).unwrap();
            assert_eq!(report.groups as usize, run.n_queries(), "{name}");
            assert_eq!(report.judgements as usize, qrels.n_judgements(), "{name}");
            let qrels = known(&qrels, &dataset);
            let expected = super::naive(&run, &qrels, None, true);
            for group in dataset.groups().iter() {
                let query = dataset.queries().id(group.query);
                let id = |document| dataset.corpus().id(document).to_owned();
                let mut found: Vec<_> = group
                    .candidates
                    .iter()
                    .map(|c| (id(c.document), c.label, c.first_stage))
                    .collect();
                let mut expected = expected[query].clone();
                // Added positives come in the order of rows here, of ids there.
                let n = run.query(query).unwrap().len();
                assert_eq!(found[..n], expected[..n], "{name} {query}");
                found.sort_by(|a, b| a.0.cmp(&b.0));
                expected.sort_by(|a, b| a.0.cmp(&b.0));
                assert_eq!(found, expected, "{name} {query}");
            }
        }
    }

    /// The judgements of documents that a dataset has.
    fn known(qrels: &Qrels, dataset: &Dataset) -> Qrels {
        let mut known = Qrels::new();
        for (query, judged) in qrels.iter() {
            for (document, &relevance) in judged {
                if dataset.corpus().row_of(document.as_str()).is_some() {
                    known.insert(query.clone(), document.clone(), relevance).unwrap();
                }
            }
        }
        known
    }

    #[test]
    fn real_groups() {
        let seeds = shared("TAMIS_DATA").join("seeds");
        let files = [
            ("rag-retrieval/t2rank_100.jsonl", 100),
            ("rag-retrieval/t2rank_100.distill.jsonl", 100),
            ("rag-retrieval/t2rank_100.distill.standard.jsonl", 100),
            ("rag-retrieval/lmsft.jsonl", 2),
            ("flagembedding/examples/finetune/reranker/example_data/normal/examples.jsonl", 10),
            ("flagembedding/examples/finetune/embedder/example_data/retrieval/nli.jsonl", 10),
            ("flagembedding/research/old-examples/reranker/toy_finetune_data.jsonl", 10),
        ];
        for (name, groups) in files {
            let folder = folder();
            let sources = Sources { groups: vec![seeds.join(name)], ..Sources::default() };
            let out = folder.path().join("out");
            let report =
                prepare(&sources, &out, &PrepareOptions::default(), &mut |_, _| {}).unwrap();
            assert_eq!(report.groups, groups, "{name}");
            let dataset = Dataset::open(&out).unwrap();
            let mut index = 0;
            format::read_groups(&sources.groups[0], |line| {
                let group = dataset.groups().get(index);
                let texts = dataset.texts(&group);
                assert_eq!(texts.query, line.query);
                let mut expected: Vec<&str> = Vec::new();
                for text in line.positives.iter().chain(&line.negatives) {
                    if !expected.contains(&text.as_str()) {
                        expected.push(text);
                    }
                }
                assert_eq!(texts.documents, expected, "{name}");
                index += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(index as u64, groups);
        }
    }
}
