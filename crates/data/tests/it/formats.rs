//! What is written is read back as it was, in every format; no bytes make a reader panic.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use tamis_data::format::group_jsonl::{self, GroupLine};
use tamis_data::format::group_tokens::{self, DocumentTokens, QueryTokens, TokenGroup, TokenPair};
use tamis_data::format::msmarco::{self, Top1000Line};
use tamis_data::format::{self, beir, parquet, trec};
use tamis_data::output::write_file;
use tamis_data::{DocId, Qrels, QueryId, Run, ScoredDocument};

use crate::support::{file, folder};

/// Ids: no white space, and nothing that makes a line a comment.
fn id() -> impl Strategy<Value = String> {
    "[!-~&&[^#]][!-~äß京]{0,6}"
        .prop_filter("no white space", |id| !id.contains(char::is_whitespace))
}

/// Any text at all.
fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

/// A text that TSV can hold.
fn field() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace(['\t', '\n', '\r'], " "))
}

/// A text with something in it.
fn full(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    text.prop_map(|text| format!("x{text}"))
}

fn qrels() -> impl Strategy<Value = Qrels> {
    btree_map(id(), btree_map(id(), any::<i32>(), 1..5), 1..5).prop_map(|queries| {
        let mut qrels = Qrels::new();
        for (query, judged) in queries {
            for (document, relevance) in judged {
                let query = QueryId::new(&query).unwrap();
                qrels.insert(query, DocId::new(&document).unwrap(), relevance).unwrap();
            }
        }
        qrels
    })
}

fn run(tag: &'static str, score: impl Strategy<Value = f64>) -> impl Strategy<Value = Run> {
    btree_map(id(), btree_map(id(), score, 1..6), 1..5).prop_map(move |queries| {
        let mut run = Run::new(tag);
        for (query, candidates) in queries {
            let candidate = |(document, score): (String, f64)| ScoredDocument {
                document: DocId::new(&document).unwrap(),
                score,
            };
            let candidates = candidates.into_iter().map(candidate).collect();
            run.insert(QueryId::new(&query).unwrap(), candidates).unwrap();
        }
        run
    })
}

fn score() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("NaN has no place in an order", |score| !score.is_nan())
}

fn group() -> impl Strategy<Value = GroupLine> {
    let scored = |least| vec((text(), any::<i16>()), least..4);
    let split = |pairs: Vec<(String, i16)>, scores: bool| {
        let (texts, numbers): (Vec<_>, Vec<_>) =
            pairs.into_iter().map(|(text, score)| (text, f32::from(score) / 7.0)).unzip();
        (texts, scores.then_some(numbers))
    };
    (full(text()), scored(1), scored(0), any::<bool>(), any::<bool>()).prop_map(
        move |(query, positives, negatives, a, b)| {
            let (positives, positive_scores) = split(positives, a);
            let (negatives, negative_scores) = split(negatives, b);
            GroupLine { query, positives, negatives, positive_scores, negative_scores }
        },
    )
}

fn tokens() -> impl Strategy<Value = Vec<u32>> {
    vec(any::<u32>(), 0..6)
}

fn extension() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", ".gz", ".zst"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn qrels_of_both_kinds(qrels in qrels(), extension in extension()) {
        let folder = folder();
        let trec = folder.path().join(format!("trec.qrels{extension}"));
        write_file(&trec, |out| trec::write_qrels(&qrels, out)).unwrap();
        prop_assert_eq!(&format::read_qrels(&trec).unwrap(), &qrels);
        let beir = folder.path().join(format!("beir.tsv{extension}"));
        write_file(&beir, |out| beir::write_qrels(&qrels, out)).unwrap();
        prop_assert_eq!(&format::read_qrels(&beir).unwrap(), &qrels);
    }

    #[test]
    fn runs_of_trec_and_parquet(run in run("tag", score()), extension in extension()) {
        let folder = folder();
        let trec = folder.path().join(format!("a.run{extension}"));
        write_file(&trec, |out| trec::write_run(&run, out)).unwrap();
        prop_assert_eq!(&format::read_run(&trec).unwrap(), &run);
        let columns = folder.path().join("a.parquet");
        let mut bytes = Vec::new();
        parquet::write_run(&run, &mut bytes).unwrap();
        std::fs::write(&columns, bytes).unwrap();
        prop_assert_eq!(&format::read_run(&columns).unwrap(), &run);
    }

    /// The format keeps ranks, not scores: the order is what comes back.
    #[test]
    fn runs_of_ms_marco(run in run("any", score()), extension in extension()) {
        let folder = folder();
        let path = folder.path().join(format!("a.tsv{extension}"));
        write_file(&path, |out| msmarco::write_run(&run, out)).unwrap();
        let order = |run: &Run| -> Vec<(String, String)> {
            let pairs = run.iter().flat_map(|(query, candidates)| {
                candidates.iter().map(move |c| (query.to_string(), c.document.to_string()))
            });
            pairs.collect()
        };
        let read = format::read_run(&path).unwrap();
        prop_assert_eq!(order(&read), order(&run));
        let again = folder.path().join("b.tsv");
        write_file(&again, |out| msmarco::write_run(&read, out)).unwrap();
        prop_assert_eq!(format::read_run(&again).unwrap(), read);
    }

    #[test]
    fn documents(rows in btree_map(id(), (field(), field()), 1..8), extension in extension()) {
        let folder = folder();
        let json = folder.path().join(format!("corpus.jsonl{extension}"));
        write_file(&json, |out| {
            rows.iter().try_for_each(|(id, (title, text))| beir::write_document(id, title, text, out))
        }).unwrap();
        let joined: BTreeMap<String, String> = rows.iter().map(|(id, (title, text))| {
            let space = if title.is_empty() || text.is_empty() { "" } else { " " };
            (id.clone(), format!("{title}{space}{text}"))
        }).collect();
        prop_assert_eq!(&read(&json), &joined);
        let tsv = folder.path().join(format!("collection.tsv{extension}"));
        write_file(&tsv, |out| {
            joined.iter().try_for_each(|(id, text)| msmarco::write_text(id, text, out))
        }).unwrap();
        prop_assert_eq!(&read(&tsv), &joined);
        let columns = folder.path().join("corpus.parquet");
        let mut bytes = Vec::new();
        let pairs = joined.iter().map(|(id, text)| (id.as_str(), text.as_str()));
        parquet::write_texts(pairs, &mut bytes).unwrap();
        std::fs::write(&columns, bytes).unwrap();
        prop_assert_eq!(&read(&columns), &joined);
    }

    #[test]
    fn queries(rows in btree_map(id(), full(field()), 1..8), extension in extension()) {
        let folder = folder();
        let json = folder.path().join(format!("queries.jsonl{extension}"));
        write_file(&json, |out| {
            rows.iter().try_for_each(|(id, text)| beir::write_query(id, text, out))
        }).unwrap();
        let tsv = folder.path().join(format!("queries.tsv{extension}"));
        write_file(&tsv, |out| {
            rows.iter().try_for_each(|(id, text)| msmarco::write_text(id, text, out))
        }).unwrap();
        for path in [json, tsv] {
            let read = format::read_queries(&path).unwrap();
            let pairs: Vec<_> = read.iter().map(|(id, t)| (id.to_string(), t.clone())).collect();
            prop_assert_eq!(pairs, rows.clone().into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn top1000(rows in vec((id(), id(), field(), field()), 1..8), extension in extension()) {
        let folder = folder();
        let path = folder.path().join(format!("top1000.tsv{extension}"));
        let line = |row: &(String, String, String, String)| -> [String; 4] {
            [row.0.clone(), row.1.clone(), row.2.clone(), row.3.clone()]
        };
        write_file(&path, |out| rows.iter().try_for_each(|(query_id, document_id, query, document)| {
            msmarco::write_top1000(&Top1000Line { query_id, document_id, query, document }, out)
        })).unwrap();
        let mut read = Vec::new();
        msmarco::read_top1000(&path, |line| {
            read.push([line.query_id, line.document_id, line.query, line.document].map(str::to_owned));
            Ok(())
        }).unwrap();
        prop_assert_eq!(read, rows.iter().map(line).collect::<Vec<_>>());
    }

    #[test]
    fn grouped_text(groups in vec(group(), 1..5), extension in extension()) {
        let folder = folder();
        let json = folder.path().join(format!("groups.jsonl{extension}"));
        write_file(&json, |out| {
            groups.iter().try_for_each(|group| group_jsonl::write_group(group, out))
        }).unwrap();
        let columns = folder.path().join("groups.parquet");
        let mut bytes = Vec::new();
        parquet::write_groups(&groups, &mut bytes).unwrap();
        std::fs::write(&columns, bytes).unwrap();
        for path in [json, columns] {
            let mut read = Vec::new();
            format::read_groups(&path, |group| { read.push(group); Ok(()) }).unwrap();
            prop_assert_eq!(&read, &groups);
        }
    }

    #[test]
    fn grouped_tokens(
        query in (text(), tokens()),
        positives in vec((text(), tokens()), 0..4),
        negatives in vec((text(), tokens()), 0..4),
    ) {
        let document = |(id, tokens)| DocumentTokens { id, tokens };
        let group = TokenGroup {
            query: QueryTokens { id: query.0.clone(), tokens: query.1.clone() },
            positives: positives.into_iter().map(document).collect(),
            negatives: negatives.into_iter().map(document).collect(),
        };
        let pair = TokenPair {
            query_id: query.0.clone(), document_id: query.0, query: query.1.clone(), document: query.1,
        };
        let folder = folder();
        let (groups, pairs) = (folder.path().join("g.json"), folder.path().join("p.json"));
        write_file(&groups, |out| group_tokens::write_group(&group, out)).unwrap();
        write_file(&pairs, |out| group_tokens::write_pair(&pair, out)).unwrap();
        let (mut read_group, mut read_pair) = (None, None);
        group_tokens::read_groups(&groups, |g| { read_group = Some(g); Ok(()) }).unwrap();
        group_tokens::read_pairs(&pairs, |p| { read_pair = Some(p); Ok(()) }).unwrap();
        prop_assert_eq!(read_group, Some(group));
        prop_assert_eq!(read_pair, Some(pair));
    }

    /// Bytes that look like the formats reach further into the parsers than any bytes do.
    #[test]
    fn no_reader_panics(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..200),
            "([\\{\\}\\[\\]\":,\t\n #0-9a-z_\\\\\\.-]|_id|text|query|pos|neg|score|null|NaN|inf){0,60}"
                .prop_map(String::into_bytes),
        ],
        extension in extension(),
    ) {
        let folder = folder();
        let names = ["a.jsonl", "a.tsv", "a.qrels", "a.run"].map(|name| format!("{name}{extension}"));
        for name in names.iter().map(String::as_str).chain(["a.parquet", "a.txt"]) {
            read_as_everything(&file(&folder, name, &bytes));
        }
    }

    #[test]
    fn any_subset_of_a_corpus_is_found_by_its_run(
        ids in btree_set(id(), 1..12), keep in vec(any::<bool>(), 12),
    ) {
        let folder = folder();
        let path = folder.path().join("corpus.jsonl");
        write_file(&path, |out| {
            ids.iter().try_for_each(|id| beir::write_document(id, "", &format!("text of {id}"), out))
        }).unwrap();
        let wanted: BTreeSet<&String> = ids.iter().zip(&keep).filter(|(_, k)| **k).map(|(id, _)| id).collect();
        let mut run = Run::new("t");
        let candidate = |id: &&String| ScoredDocument { document: DocId::new(id).unwrap(), score: 1.0 };
        run.insert(QueryId::new("q").unwrap(), wanted.iter().map(candidate).collect()).unwrap();
        let found = format::read_documents_of_run(&[&path], &run).unwrap();
        let expected: BTreeMap<DocId, String> =
            wanted.iter().map(|id| (DocId::new(id).unwrap(), format!("text of {id}"))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn an_option_is_an_option(value in option::of(any::<f32>())) {
        // JSON has no NaN and no infinity: such a score must not come back as something else.
        let group = GroupLine {
            query: "q".into(),
            positives: vec!["p".into()],
            positive_scores: value.map(|value| vec![value]),
            ..GroupLine::default()
        };
        let folder = folder();
        let path = folder.path().join("g.jsonl");
        write_file(&path, |out| group_jsonl::write_group(&group, out)).unwrap();
        let mut read = None;
        let result = format::read_groups(&path, |g| { read = Some(g); Ok(()) });
        match value {
            Some(value) if !value.is_finite() => prop_assert!(result.is_err()),
            _ => prop_assert_eq!(read, Some(group)),
        }
    }
}

fn read(path: &Path) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    format::read_documents(path, |id, text| {
        rows.insert(id.to_owned(), text.to_owned());
        Ok(())
    })
    .unwrap();
    rows
}

/// Every reader must come back; whether with an error is another test's business.
fn read_as_everything(path: &Path) {
    let _ = format::read_documents(path, |_, _| Ok(()));
    let _ = format::read_queries(path);
    let _ = format::read_qrels(path);
    let _ = format::read_run(path);
    let _ = format::read_groups(path, |_| Ok(()));
    let _ = trec::read_qrels(path);
    let _ = trec::read_run(path);
    let _ = beir::read_qrels(path);
    let _ = msmarco::read_run(path);
    let _ = msmarco::read_top1000(path, |_| Ok(()));
    let _ = group_tokens::read_groups(path, |_| Ok(()));
    let _ = group_tokens::read_pairs(path, |_| Ok(()));
    let _ = parquet::read_run(path);
    let _ = parquet::read_texts(path, |_, _, _| Ok(()));
}

#[test]
fn a_text_that_tsv_cannot_hold_is_refused() {
    let error = msmarco::write_text("d1", "a\tb", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the text of `d1` holds a tab or a line end, which TSV cannot");
}

#[test]
fn other_forms_of_groups_are_read() {
    let folder = folder();
    let path = file(
        &folder,
        "g.jsonl",
        r#"{"query": "a", "content": "x", "score": 0.5}
{"query": "a", "content": "y", "score": 0.25}
{"query": "b", "hits": [{"content": "z", "label": 2}, {"content": "w"}], "type": "other"}
{"query": "c", "pos": ["p"], "scores": [1]}
"#,
    );
    let mut read = Vec::new();
    format::read_groups(&path, |group| {
        read.push((group.query, group.positives.join(" "), group.positive_scores));
        Ok(())
    })
    .unwrap();
    let expected = [
        ("a", "x y", Some(vec![0.5, 0.25])),
        ("b", "z w", Some(vec![2.0, 0.0])),
        ("c", "p", Some(vec![1.0])),
    ];
    let expected: Vec<_> =
        expected.map(|(query, texts, scores)| (query.into(), texts.into(), scores)).into();
    assert_eq!(read, expected);
}

#[test]
fn collections_with_titles_are_joined() {
    let folder = folder();
    let path =
        file(&folder, "c.tsv", "d1\ttext one\r\nd2\ttitle\ttext\nd3\thttp://x\ttitle\tbody \"q\n");
    let rows = read(&path);
    let texts: Vec<&str> = rows.values().map(String::as_str).collect();
    assert_eq!(texts, ["text one", "title text", "http://x title body \"q"]);
}
