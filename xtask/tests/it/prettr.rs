//! A PreTTR from its recipe to a store of documents, and the store through everything that happens to one.

use std::collections::BTreeMap;

use crate::task::{Task, names};

/// A trained PreTTR in `runs/prettr/checkpoint`.
fn trained() -> Task {
    let task = Task::new();
    task.prepare();
    let recipe = task.read("recipe.toml");
    let split = "[model.split]\njoin_layer = 1\nposition = \"fixed:6\"\ncompress = 16\n[data]";
    task.write("split.toml", &recipe.replace("[data]", split));
    // First the compressor alone, then all of it.
    task.run(
        "train split.toml --set train.match_attention=true --set train.steps=5 --out runs/compressor",
    );
    let start = "--set model.path=runs/compressor/checkpoint --set model.init=checkpoint";
    task.run(&format!("train split.toml {start} --set train.steps=20 --out runs/prettr"));
    task
}

/// Scores by query and document.
fn scores(run: &str) -> BTreeMap<(String, String), f64> {
    let row = |line: &str| {
        let columns: Vec<&str> = line.split(' ').collect();
        ((columns[0].to_owned(), columns[2].to_owned()), columns[4].parse().unwrap())
    };
    run.lines().map(row).collect()
}

#[test]
fn documents_are_stored_changed_compacted_and_ranked() {
    let task = trained();
    let model = "--model runs/prettr/checkpoint";
    let rerank = format!("rerank {model} --queries queries.jsonl --run first.run");
    task.run(&format!("{rerank} --corpus corpus.jsonl --out text.run"));
    let index = format!("index {model} --type f32 --shard 10 --out store");
    let (table, _) = task.run(&format!("{index} --corpus corpus.jsonl"));
    assert!(table.contains("documents            64\n"), "{table}");
    task.run(&format!("{rerank} --terms store --out store.run"));
    let (text, store) = (scores(&task.read("text.run")), scores(&task.read("store.run")));
    assert!(text.keys().eq(store.keys()));
    for (pair, score) in &text {
        assert!((score - store[pair]).abs() <= 1e-5, "{pair:?}: {score} {}", store[pair]);
    }
    // The same again computes nothing.
    let (_, told) = task.run(&format!("{index} --corpus corpus.jsonl"));
    assert!(told.contains("indexed 0 documents"), "{told}");

    // Documents go, and a run that asks for one is told so, unless their texts are given.
    task.write("gone.txt", "d0-0\nd7-3\n\n");
    task.run("index delete store --ids gone.txt");
    let error = task.refused(&format!("{rerank} --terms store --out gone.run"));
    assert!(
        error.contains("unknown document `d0-0`") && !task.path("gone.run").exists(),
        "{error}"
    );
    task.run(&format!("{rerank} --terms store --corpus corpus.jsonl --out mixed.run"));
    for (pair, score) in scores(&task.read("mixed.run")) {
        assert!((score - text[&pair]).abs() <= 1e-5, "{pair:?}");
    }
    // Others are replaced.
    task.write(
        "new.jsonl",
        "{\"_id\": \"d1-1\", \"text\": \"salt\"}\n{\"_id\": \"x\", \"text\": \"sun\"}\n",
    );
    let (table, _) = task.run(&format!("{index} --corpus new.jsonl"));
    assert!(table.contains("documents            63\n"), "{table}");
    assert!(!table.contains(" 0 of documents replaced"), "{table}");
    let before = names(&task.path("store")).len();
    let (_, told) = task.run("index compact store --shard 50");
    assert!(told.contains("left out 3 documents"), "{told}");
    assert!(names(&task.path("store")).len() < before);
    let (table, _) = task.run("index stat store");
    assert!(table.contains("documents            63\n"), "{table}");
    assert!(table.contains(" 0 of documents replaced"), "{table}");
    task.run("index verify store");
    task.run(&format!("{rerank} --terms store --corpus corpus.jsonl --out compact.run"));
    let compact = scores(&task.read("compact.run"));
    for (pair, score) in &text {
        let is_same = (score - compact[pair]).abs() <= 1e-5;
        assert_eq!(is_same, pair.1 != "d1-1", "{pair:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_lost() {
    let task = trained();
    let model = "--model runs/prettr/checkpoint";
    let index = format!("index {model} --type f32 --shard 10 --out store");
    // An id that comes twice, before anything is computed.
    let line = "{\"_id\": \"d\", \"text\": \"sun\"}\n";
    task.write("twice.jsonl", &line.repeat(2));
    let error = task.refused(&format!("{index} --corpus twice.jsonl"));
    assert!(error.contains("twice.jsonl:2") && error.contains("found `d` again"), "{error}");
    assert!(!task.path("store").exists());
    let error = task.refused(&format!("{index} --corpus corpus.jsonl --shard 0"));
    assert!(error.contains("--shard"), "{error}");

    task.run(&format!("{index} --corpus corpus.jsonl"));
    // Another type, and another model.
    let error =
        task.refused(&format!("index {model} --type f16 --out store --corpus corpus.jsonl"));
    assert!(error.contains("the store has f32, not f16"), "{error}");
    let rerank = "rerank --queries queries.jsonl --run first.run --terms store --out x.run";
    let error = task.refused(&format!("{rerank} --model runs/compressor/checkpoint"));
    assert!(error.contains("the model below the split"), "{error}");
    let error = task.refused(&format!("{rerank} {model} --terms prepared"));
    assert!(error.contains("terms") || error.contains("not a term store"), "{error}");

    // A flipped byte is named by verify, and by a query that reads it.
    let store = task.path("store");
    let shard = names(&store).into_iter().find(|name| name.ends_with("-000002.terms")).unwrap();
    let file = store.join(&shard);
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[17] ^= 0x40;
    std::fs::write(&file, &flipped).unwrap();
    for line in ["index verify store".to_owned(), format!("{rerank} {model}")] {
        let error = task.refused(&line);
        assert!(error.contains(&shard) && error.contains("damaged"), "{line}: {error}");
    }
    // A store that was cut short is not opened.
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let error = task.refused("index stat store");
    assert!(error.contains(&shard) && error.contains("cut short"), "{error}");
    std::fs::write(&file, &whole).unwrap();
    task.run("index verify store");
    assert!(!task.path("x.run").exists(), "no run was written");
}

#[test]
fn a_compressor_begins_with_the_directions_of_a_store() {
    let task = Task::new();
    task.prepare();
    let split = "[model.split]\njoin_layer = 1\nposition = \"fixed:6\"\n[data]";
    task.write("split.toml", &task.read("recipe.toml").replace("[data]", split));
    task.run("train split.toml --set train.steps=60 --out runs/whole");
    let model = "--model runs/whole/checkpoint";
    task.run(&format!("index {model} --corpus corpus.jsonl --type f32 --out store"));
    let compressor = format!("index compressor store {model} --half");
    for width in [4, 28] {
        task.run(&format!("{compressor} --width {width} --out narrow-{width}"));
    }
    let scored = |model: &str, out: &str| {
        let texts = "--queries queries.jsonl --corpus corpus.jsonl --run first.run";
        task.run(&format!("rerank --model {model} {texts} --out {out}"));
        scores(&task.read(out))
    };
    let whole = scored("runs/whole/checkpoint", "whole.run");
    let lost = [4, 28].map(|width| {
        let narrow = scored(&format!("narrow-{width}"), &format!("narrow-{width}.run"));
        assert!(whole.keys().eq(narrow.keys()));
        whole.iter().map(|(pair, score)| (score - narrow[pair]).powi(2)).sum::<f64>()
    });
    let mean = whole.values().sum::<f64>() / whole.len() as f64;
    let spread: f64 = whole.values().map(|score| (score - mean).powi(2)).sum();
    // The more directions there are, the nearer scores stay to those without a compressor.
    assert!(lost[1] < 0.1 * spread && lost[1] < lost[0], "{lost:?} of {spread}");

    let error = task.refused(&format!("{compressor} --width 33 --out no"));
    assert!(error.contains("width: expected 1 to 32") && error.contains("found `33`"), "{error}");
    let error = task.refused("index compressor store --model narrow-28 --width 4 --out no");
    assert!(error.contains("store") && !task.path("no").exists(), "{error}");
}
