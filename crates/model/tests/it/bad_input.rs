//! Texts and requests that nobody hopes for: stated behaviour, or an error that says what is wrong.

use burn::tensor::Device;
use tamis_data::{TextGroup, TruncationReport};
use tamis_model::{Error, LongDocuments, Precision, Reranker, Settings, WindowPooling};

use crate::tiny_checkpoint;

/// A tiny model with rows of at most 32 tokens and queries of at most 8.
fn reranker() -> Reranker {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    Reranker::open(&place, &Device::flex()).unwrap()
}

fn score(reranker: &Reranker, query: &str, documents: Vec<&str>) -> (Vec<f32>, TruncationReport) {
    let (scores, report) = reranker.score(&[TextGroup { query, documents }]).unwrap();
    (scores.concat(), report)
}

#[test]
fn empty_texts_have_scores() {
    let reranker = reranker();
    let (scores, report) = score(&reranker, "", vec!["", "fever", " \t\n "]);
    assert!(scores.iter().all(|score| score.is_finite()), "{scores:?}");
    assert_eq!(scores[0], scores[2], "white space is no text");
    assert_ne!(scores[0], scores[1]);
    assert_eq!(report.dropped_tokens, 0);
}

#[test]
fn a_group_without_documents_and_a_request_without_groups_have_no_scores() {
    let reranker = reranker();
    let nobody = TextGroup { query: "alpha", documents: Vec::new() };
    let one = TextGroup { query: "sun", documents: vec!["rain"] };
    let (scores, _) = reranker.score(&[nobody.clone(), one, nobody]).unwrap();
    assert_eq!(scores.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 0]);
    assert!(reranker.score(&[]).unwrap().0.is_empty());
}

#[test]
fn ten_megabytes_are_cut_and_counted() {
    let reranker = reranker();
    let n_words = 10_000_000 / "fever ".len();
    let long = "fever ".repeat(n_words);
    let (scores, report) = score(&reranker, "alpha", vec![&long, "fever fever"]);
    assert!(scores[0].is_finite());
    // Three special tokens and the query's own.
    assert_eq!((report.truncated_rows, report.truncated_queries), (1, 0));
    assert_eq!(report.dropped_tokens, (n_words - (32 - 4)) as u64);
    let start = "fever ".repeat(28);
    assert_eq!(scores[0], score(&reranker, "alpha", vec![&start]).0[0], "its start is scored");
}

#[test]
fn one_word_of_a_megabyte_is_one_unknown_token() {
    let reranker = reranker();
    let word = "z".repeat(1_000_000);
    let (scores, report) = score(&reranker, "alpha", vec![&word, "§"]);
    assert_eq!(scores[0], scores[1], "both are the unknown token");
    assert_eq!(report.dropped_tokens, 0);
}

#[test]
fn only_unknown_tokens_have_a_score() {
    let reranker = reranker();
    let (scores, _) = score(&reranker, "漢字 🦀", vec!["Ж Ж Ж", "🦀 🦀 🦀", "fever"]);
    assert!(scores.iter().all(|score| score.is_finite()));
    assert_eq!(scores[0], scores[1], "three unknown tokens each");
    assert_ne!(scores[0], scores[2]);
}

#[test]
fn a_query_longer_than_the_model_is_cut_to_its_own_limit() {
    let reranker = reranker();
    let long = "alpha ".repeat(1000);
    let (scores, report) = score(&reranker, &long, vec!["fever", ""]);
    // Counted for every row that it begins.
    assert_eq!(report.truncated_queries, 2);
    let start = "alpha ".repeat(8);
    assert_eq!(scores, score(&reranker, &start, vec!["fever", ""]).0);
    // By windows too, which the query is never cut for.
    let long_documents = LongDocuments { pooling: WindowPooling::Max, window: None, overlap: 4 };
    let reranker = reranker.with_long_documents(long_documents).unwrap();
    assert!(score(&reranker, &long, vec![&"sun ".repeat(100)]).0[0].is_finite());
}

#[test]
fn limits_beyond_the_model_are_refused() {
    let wide = Settings { max_length: 33, ..reranker().settings().clone() };
    let error = reranker().with_settings(wide).unwrap_err().to_string();
    assert_eq!(error, "a row has 33 tokens, but the model has 32 positions; lower max_length");
    let narrow = Settings { max_length: 8, query_max_length: 8, ..reranker().settings().clone() };
    let error = reranker().with_settings(narrow).unwrap_err();
    assert!(matches!(error, Error::Data(_)), "{error}");
}

#[test]
fn a_precision_that_there_is_not_is_refused_by_name() {
    let error = "int4".parse::<Precision>().unwrap_err();
    assert_eq!(error, "expected f32, bf16 or int8, found `int4`");
}
