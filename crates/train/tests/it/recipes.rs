//! The recipes that are shipped, each on a tiny task.

use std::path::{Path, PathBuf};

use serde_json::json;
use tamis_data::{PrepareOptions, Sources, prepare};
use tamis_train::{Outcome, Recipe, RunDirectory};

use super::runs;

/// The recipes of the repository.
fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/recipes");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths
}

/// Grouped text with the scores of a teacher, some groups without a negative.
fn distilled(folder: &Path) -> PathBuf {
    let lines = (0..8).map(|i| {
        let (pos, neg) = (["an answer", "about rain"], ["a question", "about salt"]);
        let mut line = json!({"query": "rain", "pos": pos, "pos_scores": [0.9, 0.6]});
        if i % 2 == 0 {
            line["neg"] = json!(neg);
            line["neg_scores"] = json!([0.1, 0.05]);
        }
        line.to_string() + "\n"
    });
    let path = folder.join("groups.jsonl");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let sources = Sources { groups: vec![path], ..Sources::default() };
    let out = folder.join("distilled");
    prepare(&sources, &out, &PrepareOptions::default(), &mut |_, _| {}).unwrap();
    out
}

/// BERT_Dot and ColBERT, whose documents never meet their queries.
#[test]
fn models_of_parts_train() {
    let folder = tempfile::tempdir().unwrap();
    runs::task(folder.path());
    for score in ["dot", "max-sim"] {
        let changes = [
            "model.split.join_layer=2".to_owned(),
            "model.split.position=fixed:0".to_owned(),
            format!("model.split.score={score}"),
        ];
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        let recipe = runs::recipe(folder.path(), 20, &changes);
        let directory = RunDirectory::create(&folder.path().join(score), &recipe).unwrap();
        runs::run(&recipe, &directory, None);
        let losses: Vec<f64> = runs::steps(&directory)
            .iter()
            .map(|(_, line)| line.split(' ').next().unwrap().parse().unwrap())
            .collect();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        assert!(mean(&losses[15..]) < mean(&losses[..5]), "{score}: {losses:?}");
        let text = std::fs::read_to_string(directory.checkpoint_path().join("config.json"));
        let class = if score == "dot" { "BERT_Dot" } else { "ColBERT" };
        assert!(text.unwrap().contains(class), "{score}");
    }
}

#[test]
fn every_recipe_trains_on_small_data() {
    let folder = tempfile::tempdir().unwrap();
    let labelled = runs::task(folder.path());
    let distilled = distilled(folder.path());
    let paths = shipped();
    assert!(paths.len() >= 8, "recipes are missing: {paths:?}");
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let written = Recipe::read(&path, &[]).unwrap();
        let data = if written.train.loss.needs_teacher() { &distilled } else { &labelled };
        let mut changes = vec![
            format!("model.path={:?}", folder.path().join("model")),
            "model.init=scratch".to_owned(),
            format!("data.train={data:?}"),
            "data.max_length=16".to_owned(),
            "data.query_max_length=4".to_owned(),
            "train.groups_per_batch=2".to_owned(),
            "train.steps=2".to_owned(),
        ];
        if written.model.split.is_some() {
            // Sixteen tokens have room for two mask tokens beside the query.
            changes.extend(
                ["join_layer=1", "query_masks=2", "position=fixed:8"]
                    .map(|change| format!("model.split.{change}")),
            );
        }
        if written.dev.is_some() {
            changes.push(format!("dev.dataset={labelled:?}"));
        }
        let recipe = Recipe::read(&path, &changes).unwrap();
        let directory = RunDirectory::create(&folder.path().join(name), &recipe).unwrap();
        let outcome = runs::run(&recipe, &directory, None);
        assert!(matches!(outcome, Outcome::Finished { steps: 2, .. }), "{name}: {outcome:?}");
        assert!(directory.checkpoint_path().join("model.safetensors").exists(), "{name}");
    }
}
