//! Whole runs on a tiny task: they learn, and a run that stops goes on as if it had not.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use serde_json::{Value, json};
use tamis_data::{PrepareOptions, Sources, prepare};
use tamis_train::{Error, Event, Outcome, Recipe, RunDirectory, train};

/// Eight queries with eight candidates each, one of which is an answer and the others questions.
pub(crate) fn task(folder: &Path) -> PathBuf {
    let words = ["fever", "cold", "rain", "sun", "stone", "river", "bread", "salt"];
    let (mut queries, mut corpus) = (String::new(), String::new());
    let (mut qrels, mut run) = ("query-id\tcorpus-id\tscore\n".to_owned(), String::new());
    let mut texts = Vec::new();
    for (i, word) in words.iter().enumerate() {
        queries += &format!("{}\n", json!({"_id": format!("q{i}"), "text": word}));
        qrels += &format!("q{i}\td{i}-{i}\t1\n");
        for (j, other) in words.iter().enumerate() {
            let text = format!("{} about {other}", if j == i { "an answer" } else { "a question" });
            let line = json!({"_id": format!("d{i}-{j}"), "title": "", "text": text});
            corpus += &format!("{line}\n");
            texts.push(text);
            // The first stage knows nothing: it ranks by number.
            run += &format!("q{i} Q0 d{i}-{j} {} {} none\n", j + 1, words.len() - j);
        }
    }
    let path = |name: &str| folder.join(name);
    for (name, text) in
        [("q.jsonl", &queries), ("c.jsonl", &corpus), ("qrels.tsv", &qrels), ("first.run", &run)]
    {
        std::fs::write(path(name), text).unwrap();
    }
    let sources = Sources {
        corpus: vec![path("c.jsonl")],
        queries: vec![path("q.jsonl")],
        qrels: vec![path("qrels.tsv")],
        runs: vec![path("first.run")],
        ..Sources::default()
    };
    let out = path("prepared");
    prepare(&sources, &out, &PrepareOptions::default(), &mut |_, _| {}).unwrap();

    let tokenizer = tamis_data::vocabulary::train(
        texts.iter(),
        &tamis_data::vocabulary::VocabularyConfig { min_frequency: 1, ..Default::default() },
    )
    .unwrap();
    let model = path("model");
    std::fs::create_dir(&model).unwrap();
    tamis_data::vocabulary::save(&tokenizer, 32, &model).unwrap();
    let config = json!({
        "model_type": "bert", "vocab_size": tokenizer.get_vocab_size(true), "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "max_position_embeddings": 32, "initializer_range": 0.1,
    });
    std::fs::write(model.join("config.json"), config.to_string()).unwrap();
    out
}

pub(crate) fn recipe(folder: &Path, steps: u64, changes: &[&str]) -> Recipe {
    let text = format!(
        "seed = 3\n[model]\npath = {model:?}\ninit = \"scratch\"\n\
         [data]\ntrain = {data:?}\nmax_length = 16\nquery_max_length = 4\ngroup_size = 4\n\
         [train]\nlr = 3e-3\nsteps = {steps}\ngroups_per_batch = 4\nsave_every = 5\n\
         [dev]\ndataset = {data:?}\nevery = 10\nmeasures = [\"RR@10\"]\n",
        model = folder.join("model"),
        data = folder.join("prepared"),
    );
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    Recipe::parse(&text, &changes, Path::new("recipe.toml")).unwrap()
}

/// Trains until the end, or until `stop_after` steps were taken.
pub(crate) fn run(recipe: &Recipe, run: &RunDirectory, stop_after: Option<u64>) -> Outcome {
    let stop = AtomicBool::new(false);
    let mut observe = |event: Event| {
        if let Event::Step(step) = event {
            stop.store(Some(step.step) == stop_after, Ordering::Relaxed);
        }
    };
    train(recipe, run, &Device::flex(), &stop, &mut observe).unwrap()
}

/// Trains, or says why not.
pub(crate) fn attempt(recipe: &Recipe, run: &RunDirectory) -> Result<Outcome, Error> {
    train(recipe, run, &Device::flex(), &AtomicBool::new(false), &mut |_| {})
}

/// Step, loss, rate and gradient norm of every step line of a log.
pub(crate) fn steps(run: &RunDirectory) -> Vec<(u64, String)> {
    let text = std::fs::read_to_string(run.log_path()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line.get("loss").is_some())
        .map(|line| {
            let what = format!("{} {} {}", line["loss"], line["lr"], line["grad_norm"]);
            (line["step"].as_u64().unwrap(), what)
        })
        .collect()
}

#[test]
fn a_tiny_task_is_learnt() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let recipe = recipe(folder.path(), 150, &[]);
    let directory = RunDirectory::create(&folder.path().join("run"), &recipe).unwrap();
    let Outcome::Finished { steps, best: Some((reciprocal_rank, _)) } =
        run(&recipe, &directory, None)
    else {
        panic!("the run ends with a best value");
    };
    assert_eq!(steps, 150);
    // The first stage has a mean reciprocal rank of (1 + 1/2 + .. + 1/8) / 8 = 0.34.
    assert!(reciprocal_rank > 0.9, "RR@10 is {reciprocal_rank}");
    assert!(directory.checkpoint_path().join("model.safetensors").exists());
}

#[test]
fn a_run_that_stops_goes_on_with_the_same_losses() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let changes = ["train.accumulation=2", "train.ema_decay=0.9", "train.layer_decay=0.8"];
    let recipe = recipe(folder.path(), 24, &changes);
    let whole = RunDirectory::create(&folder.path().join("whole"), &recipe).unwrap();
    run(&recipe, &whole, None);

    let parts = RunDirectory::create(&folder.path().join("parts"), &recipe).unwrap();
    assert_eq!(run(&recipe, &parts, Some(7)), Outcome::Interrupted { step: 7 });
    // As after a kill: lines that no state covers are taken again.
    let log = std::fs::read_to_string(parts.log_path()).unwrap();
    std::fs::write(parts.log_path(), log + "{\"step\":8,\"loss\":1}\n{\"step\":9,\"lo").unwrap();
    assert_eq!(run(&recipe, &parts, Some(13)), Outcome::Interrupted { step: 13 });
    let Outcome::Finished { steps: 24, .. } = run(&recipe, &parts, None) else {
        panic!("the run ends");
    };
    assert_eq!(steps(&whole), steps(&parts));
    assert_eq!(steps(&whole).len(), 24);
    // The saved weights too, which are the average.
    let weights = |run: &RunDirectory| {
        std::fs::read(run.checkpoint_path().join("model.safetensors")).unwrap()
    };
    assert!(weights(&whole) == weights(&parts));
}

#[test]
fn workers_and_the_gradient_cache_train_as_one_device_does() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let losses = |name: &str, changes: &[&str]| -> Vec<f64> {
        let recipe = recipe(folder.path(), 8, changes);
        let directory = RunDirectory::create(&folder.path().join(name), &recipe).unwrap();
        run(&recipe, &directory, None);
        let text = std::fs::read_to_string(directory.log_path()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line["loss"].as_f64()).collect()
    };
    // No dropout: sub-batches have masks of their own.
    let path = folder.path().join("model/config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["hidden_dropout_prob"] = 0.0.into();
    config["attention_probs_dropout_prob"] = 0.0.into();
    std::fs::write(&path, config.to_string()).unwrap();
    let accumulated = ["train.accumulation=2", "train.groups_per_batch=2"];
    let one = losses("one", &accumulated);
    assert_eq!(one.len(), 8);
    for (name, more) in [
        ("batches", vec!["train.workers=2"]),
        ("rows", vec!["train.workers=2", "train.split=rows"]),
        ("cached", vec!["train.gradient_cache=3"]),
        ("all", vec!["train.workers=2", "train.split=rows", "train.gradient_cache=3"]),
    ] {
        let found = losses(name, &[&accumulated[..], &more].concat());
        for (step, (found, one)) in found.iter().zip(&one).enumerate() {
            assert!((found - one).abs() < 1e-4, "{name} step {step}: {found} {one}");
        }
    }
}

#[test]
fn every_optimiser_and_schedule_learns_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    for (name, lr, schedule) in [
        ("adamw", "3e-3", "cosine"),
        ("adafactor", "3e-3", "warmup-stable-decay"),
        ("lion", "1e-3", "linear"),
        ("muon", "3e-3", "inverse-sqrt"),
    ] {
        let changes = [
            format!("train.optimizer={{name=\"{name}\"}}"),
            format!("train.lr={lr}"),
            format!("train.schedule={schedule}"),
            "train.lr_floor=0.1".to_owned(),
            "train.head_lr=2.0".to_owned(),
        ];
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        let recipe = recipe(folder.path(), 40, &changes);
        let whole = RunDirectory::create(&folder.path().join(name), &recipe).unwrap();
        run(&recipe, &whole, None);
        let parts =
            RunDirectory::create(&folder.path().join(format!("{name}-2")), &recipe).unwrap();
        run(&recipe, &parts, Some(11));
        run(&recipe, &parts, None);
        assert_eq!(steps(&whole), steps(&parts), "{name}");
        let losses: Vec<f64> = steps(&whole)
            .iter()
            .map(|(_, line)| line.split(' ').next().unwrap().parse().unwrap())
            .collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        assert!(mean(&losses[30..]) < mean(&losses[..10]), "{name}: {losses:?}");
    }
}

#[test]
fn an_adapter_is_trained_saved_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let changes =
        ["train.lora={rank=4,dropout=0.1,targets=[\"query\",\"value\"]}", "train.lr=1e-2"];
    let recipe = recipe(folder.path(), 30, &changes);
    let whole = RunDirectory::create(&folder.path().join("whole"), &recipe).unwrap();
    run(&recipe, &whole, None);
    let parts = RunDirectory::create(&folder.path().join("parts"), &recipe).unwrap();
    run(&recipe, &parts, Some(13));
    run(&recipe, &parts, None);
    assert_eq!(steps(&whole), steps(&parts));
    let adapter = whole.checkpoint_path().join("adapter");
    let settings = std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    let settings: Value = serde_json::from_str(&settings).unwrap();
    assert_eq!((settings["r"].as_u64(), settings["peft_type"].as_str()), (Some(4), Some("LORA")));
    // The checkpoint is the merged model: its tensors are those of any other.
    let loaded = tamis_model::checkpoint::load(&whole.checkpoint_path(), None, &Device::flex());
    assert!(!tamis_model::adapter::is_adapted(&loaded.unwrap().model));
}

#[test]
fn a_loss_that_is_not_finite_stops_with_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let recipe = recipe(folder.path(), 50, &["train.lr=1e30", "train.warmup_steps=0"]);
    let directory = RunDirectory::create(&folder.path().join("run"), &recipe).unwrap();
    let stop = AtomicBool::new(false);
    let error = train(&recipe, &directory, &Device::flex(), &stop, &mut |_| {}).unwrap_err();
    let Error::NotFinite { step, batch, .. } = &error else { panic!("{error}") };
    let report: Value = serde_json::from_slice(&std::fs::read(batch).unwrap()).unwrap();
    assert_eq!(report["step"].as_u64(), Some(*step));
    assert_eq!(report["groups"][0]["documents"].as_array().unwrap().len(), 4);
}

#[test]
fn a_second_run_in_one_place_and_missing_teachers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let recipe = recipe(folder.path(), 5, &["train.loss=[{name=\"kl\"}]"]);
    let directory = RunDirectory::create(&folder.path().join("run"), &recipe).unwrap();
    let again = RunDirectory::create(directory.path(), &recipe).unwrap_err().to_string();
    assert!(again.contains("--resume"), "{again}");
    let stop = AtomicBool::new(false);
    let error = train(&recipe, &directory, &Device::flex(), &stop, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("has candidates without"), "{error}");
}
