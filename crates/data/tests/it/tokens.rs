//! The token store against the tokenizer itself.

use tamis_data::{Dataset, PrepareOptions, Sources, TokenStore, prepare};
use tempfile::TempDir;
use tokenizers::Tokenizer;

use crate::support::{file, folder, names};

const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Words of a small vocabulary, split at white space.
fn tokenizer() -> Tokenizer {
    let words: Vec<String> = (0..50).map(|i| format!("\"w{i}\": {}", i + 1)).collect();
    let json = format!(
        r#"{{"version": "1.0", "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {{"type": "WhitespaceSplit"}}, "post_processor": null, "decoder": null,
            "truncation": {{"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}},
            "padding": null,
            "model": {{"type": "WordLevel", "unk_token": "[UNK]", "vocab": {{"[UNK]": 0, {}}}}}}}"#,
        words.join(", ")
    );
    json.parse().unwrap()
}

fn dataset(folder: &TempDir) -> Dataset {
    // More than one batch; lengths from 0 words to 9.
    let text = |i: usize| (0..i % 10).map(|k| format!("w{} ", (i + k) % 60)).collect::<String>();
    let corpus: String = (0..10_000).map(|i| format!("d{i}\tw0 {}\n", text(i))).collect();
    let sources = Sources {
        corpus: vec![file(folder, "c.tsv", corpus)],
        queries: vec![file(folder, "q.tsv", "q1\tw1 w2 w3 w4 w5 w6 w7\nq2\tw9\n")],
        ..Sources::default()
    };
    let out = folder.path().join("out");
    prepare(&sources, &out, &PrepareOptions::default(), &mut |_, _| {}).unwrap();
    Dataset::open(&out).unwrap()
}

#[test]
fn tokens_are_those_of_the_tokenizer_cut_to_the_limit() {
    let folder = folder();
    let (dataset, tokenizer) = (dataset(&folder), tokenizer());
    let mut told = Vec::new();
    let mut tell = |done, total| told.push((done, total));
    let store = TokenStore::open_or_build(&dataset, &tokenizer, HASH, 6, &mut tell).unwrap();
    assert_eq!(told, [(8192, 10_002), (10_000, 10_002), (10_002, 10_002)]);

    // The tokenizer's own truncation, to 2, plays no part.
    let mut whole = tokenizer.clone();
    whole.with_truncation(None).unwrap();
    let mut cut = 0;
    for row in 0..10_000 {
        let encoding = whole.encode(dataset.corpus().text(row), false).unwrap();
        let ids = encoding.get_ids();
        cut += u64::from(ids.len() > 6);
        assert_eq!(store.document(row), &ids[..ids.len().min(6)], "row {row}");
    }
    assert_eq!((store.cut_documents(), store.cut_queries()), (cut, 1));
    assert_eq!((store.query(0), store.query(1)), (&[2, 3, 4, 5, 6, 7][..], &[10][..]));
}

#[test]
fn a_store_is_built_once_and_again_only_for_more_tokens() {
    let folder = folder();
    let (dataset, tokenizer) = (dataset(&folder), tokenizer());
    let open = |max_tokens| {
        let mut calls = 0;
        let mut tell = |_, _| calls += 1;
        let store =
            TokenStore::open_or_build(&dataset, &tokenizer, HASH, max_tokens, &mut tell).unwrap();
        (store.query(0).len(), calls > 0)
    };
    assert_eq!(open(4), (4, true));
    assert_eq!(open(4), (4, false));
    assert_eq!(open(3), (3, false));
    assert_eq!(open(7), (7, true));
    let folders: Vec<_> =
        names(dataset.path()).into_iter().filter(|name| name.contains("tokens")).collect();
    assert_eq!(folders, ["tokens-0011223344556677"]);
    dataset.verify().unwrap();
}

#[test]
fn a_damaged_store_is_told() {
    let folder = folder();
    let (dataset, tokenizer) = (dataset(&folder), tokenizer());
    let open = || TokenStore::open_or_build(&dataset, &tokenizer, HASH, 4, &mut |_, _| {});
    drop(open().unwrap());
    let path = dataset.path().join("tokens-0011223344556677/corpus.arrow");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = open().unwrap_err().to_string();
    assert!(
        error.ends_with("corpus.arrow: not a complete Arrow file: the end of the file is missing"),
        "{error}"
    );
    let error = TokenStore::open_or_build(&dataset, &tokenizer, "xyz", 4, &mut |_, _| {});
    let expected = "tokenizer_hash: expected a SHA-256 in hexadecimal, found `xyz`";
    assert_eq!(error.unwrap_err().to_string(), expected);
}
