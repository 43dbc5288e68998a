//! What a recipe says about its data: several datasets, a curriculum, shuffled documents, and a loss
//! that is only measured.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use serde_json::Value;
use tamis_data::{PrepareOptions, Sources, prepare};
use tamis_train::{Event, Outcome, Recipe, RunDirectory, train};

use crate::runs::{recipe, run, steps, task};

/// A second dataset: the first three queries of the task with the same candidates.
fn smaller(folder: &Path) -> PathBuf {
    let path = |name: &str| folder.join(name);
    let text = std::fs::read_to_string(path("first.run")).unwrap();
    let first: Vec<&str> = text.lines().filter(|line| line[1..2] < *"3").collect();
    std::fs::write(path("three.run"), first.join("\n")).unwrap();
    let sources = Sources {
        corpus: vec![path("c.jsonl")],
        queries: vec![path("q.jsonl")],
        qrels: vec![path("qrels.tsv")],
        runs: vec![path("three.run")],
        ..Sources::default()
    };
    let options = PrepareOptions { require_positive: true, ..PrepareOptions::default() };
    prepare(&sources, &path("smaller"), &options, &mut |_, _| {}).unwrap();
    path("smaller")
}

fn plan_of(recipe: &Recipe, folder: &Path) -> tamis_train::Plan {
    let directory = RunDirectory::create(folder, recipe).unwrap();
    let stop = AtomicBool::new(true);
    let mut plan = None;
    let mut observe = |event: Event| {
        if let Event::Started(started) = event {
            plan = Some(started);
        }
    };
    train(recipe, &directory, &Device::flex(), &stop, &mut observe).unwrap();
    plan.unwrap()
}

#[test]
fn several_datasets_share_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (all, three) = (task(folder.path()), smaller(folder.path()));
    let train = format!("data.train=[{all:?}, {three:?}]");
    for (mixing, groups_per_epoch) in
        [("proportional", 11), ("round-robin", 6), ("{ temperature = 2.0 }", 11)]
    {
        let mixing = format!("data.mixing={mixing}");
        let changes = [train.as_str(), mixing.as_str(), "train.groups_per_batch=1"];
        let recipe = recipe(folder.path(), 12, &changes);
        let plan = plan_of(&recipe, &folder.path().join(&mixing));
        assert_eq!((plan.groups, plan.steps_per_epoch), (11, groups_per_epoch), "{mixing}");
    }
    // It goes on after a stop as if there had been none.
    let changes = [train.as_str(), "data.mixing=round-robin"];
    let recipe = recipe(folder.path(), 12, &changes);
    let whole = RunDirectory::create(&folder.path().join("whole"), &recipe).unwrap();
    run(&recipe, &whole, None);
    let parts = RunDirectory::create(&folder.path().join("parts"), &recipe).unwrap();
    assert_eq!(run(&recipe, &parts, Some(7)), Outcome::Interrupted { step: 7 });
    run(&recipe, &parts, None);
    assert_eq!(steps(&whole), steps(&parts));
    let card = std::fs::read_to_string(whole.checkpoint_path().join("README.md")).unwrap();
    assert!(card.contains("first.run") && card.contains("three.run"), "{card}");
}

/// Every forward pass of the model gives the same scores.
fn without_dropout(folder: &Path) {
    let path = folder.join("model/config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["hidden_dropout_prob"] = 0.0.into();
    config["attention_probs_dropout_prob"] = 0.0.into();
    std::fs::write(&path, config.to_string()).unwrap();
}

/// The losses of a run whose model does not change.
fn losses(folder: &Path, name: &str, changes: &[&str]) -> Vec<String> {
    let changes: Vec<&str> = [&["train.lr=1e-12"], changes].concat();
    let recipe = recipe(folder, 8, &changes);
    let directory = RunDirectory::create(&folder.join(name), &recipe).unwrap();
    run(&recipe, &directory, None);
    let loss = |(_, text): (u64, String)| text.split(' ').next().unwrap().to_owned();
    steps(&directory).into_iter().map(loss).collect()
}

#[test]
fn a_curriculum_begins_at_one_depth_and_ends_at_another() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    without_dropout(folder.path());
    let found = losses(folder.path(), "curriculum", &["data.curriculum={ from = 3, to = 7 }"]);
    let shallow = losses(folder.path(), "shallow", &["data.negatives_depth=3"]);
    let deep = losses(folder.path(), "deep", &["data.negatives_depth=7"]);
    assert_eq!((&found[0], found.last()), (&shallow[0], deep.last()));
    assert_ne!(found[3], shallow[3]);
    assert_ne!(found[3], deep[3]);
}

#[test]
fn documents_are_shuffled_anew_in_every_epoch() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    without_dropout(folder.path());
    // Documents long enough to be cut into parts.
    let path = folder.path().join("c.jsonl");
    let corpus = std::fs::read_to_string(&path).unwrap();
    let long = corpus.replace("an answer about", &"about sun stone rain ".repeat(6));
    std::fs::write(&path, long).unwrap();
    std::fs::remove_dir_all(folder.path().join("prepared")).unwrap();
    let sources = Sources {
        corpus: vec![path],
        queries: vec![folder.path().join("q.jsonl")],
        qrels: vec![folder.path().join("qrels.tsv")],
        runs: vec![folder.path().join("first.run")],
        ..Sources::default()
    };
    let out = folder.path().join("prepared");
    prepare(&sources, &out, &PrepareOptions::default(), &mut |_, _| {}).unwrap();
    let all = ["data.group_size=8", "train.groups_per_batch=8"];
    let plain = losses(folder.path(), "plain", &all);
    let shuffled =
        losses(folder.path(), "shuffled", &[&all[..], &["data.shuffle_documents=1.0"]].concat());
    let distinct =
        |losses: &[String]| losses.iter().collect::<std::collections::BTreeSet<_>>().len();
    // Every step sees all groups with all candidates: only the order of sums differs.
    let near =
        |a: &str, b: &str| (a.parse::<f64>().unwrap() - b.parse::<f64>().unwrap()).abs() < 1e-5;
    assert!(plain.iter().all(|loss| near(loss, &plain[0])), "{plain:?}");
    assert!(distinct(&shuffled) > 4 && !near(&shuffled[0], &shuffled[1]), "{shuffled:?}");
}

#[test]
fn the_loss_of_the_dev_set_falls_and_selects() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let changes = ["dev.loss=true", "dev.measures=[]", "data.group_size=8"];
    let recipe = recipe(folder.path(), 60, &changes);
    let directory = RunDirectory::create(&folder.path().join("run"), &recipe).unwrap();
    let Outcome::Finished { best: Some((best, _)), .. } = run(&recipe, &directory, None) else {
        panic!("the run ends with a best value");
    };
    let text = std::fs::read_to_string(directory.log_path()).unwrap();
    let dev: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line.get("dev").is_some())
        .collect();
    let losses: Vec<f64> = dev.iter().map(|line| line["dev"]["loss"].as_f64().unwrap()).collect();
    assert_eq!(losses.len(), 6);
    // A constant scorer has ln 8 = 2.08.
    assert!(losses[0] > 1.0 && losses[5] < 0.5, "{losses:?}");
    assert_eq!(-best, losses.iter().copied().fold(f64::INFINITY, f64::min));
    assert!(dev[0]["first_stage"].as_object().unwrap().is_empty());
}

#[test]
fn a_dev_loss_is_the_loss_of_a_step_on_the_same_groups() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    without_dropout(folder.path());
    // Every group with all candidates, in one batch and in batches of three.
    for size in ["8", "3"] {
        let size = format!("train.groups_per_batch={size}");
        let changes = [
            "dev.loss=true",
            "dev.measures=[]",
            "dev.every=1",
            "data.group_size=8",
            "train.lr=1e-12",
            size.as_str(),
        ];
        let recipe = recipe(folder.path(), 1, &changes);
        let directory = RunDirectory::create(&folder.path().join(&size), &recipe).unwrap();
        run(&recipe, &directory, None);
        let text = std::fs::read_to_string(directory.log_path()).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let dev = lines[1]["dev"]["loss"].as_f64().unwrap();
        let step = lines[0]["loss"].as_f64().unwrap();
        if size.ends_with('8') {
            assert!((dev - step).abs() < 1e-5, "{dev} and {step}");
        } else {
            assert!(dev.is_finite() && (dev - step).abs() < 0.5, "{dev} and {step}");
        }
    }
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let parse = |changes: &[&str]| {
        let text = "[model]\npath = \"m\"\n[data]\ntrain = \"d\"\n";
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        Recipe::parse(text, &changes, Path::new("r.toml")).unwrap_err().to_string()
    };
    let both = parse(&["data.negatives_depth=3", "data.curriculum={ from = 3, to = 7 }"]);
    assert!(both.contains("expected no negatives_depth"), "{both}");
    assert!(parse(&["data.train=[]"]).contains("expected at least one folder"));
    assert!(parse(&["data.train=3"]).contains("expected a folder or a list of folders"));
    assert!(parse(&["data.mixing={ temperature = 0.0 }"]).contains("temperature above 0"));
    assert!(parse(&["data.shuffle_documents=2"]).contains("expected 0 to 1, found `2`"));
    let none = parse(&["dev.dataset=\"x\"", "dev.measures=[]"]);
    assert!(none.contains("expected at least one, or loss = true"), "{none}");
}
