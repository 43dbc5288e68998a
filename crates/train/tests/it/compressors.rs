//! Compressors that learn to keep attention before anything else learns.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use tamis_train::{Recipe, RunDirectory};

use crate::runs;

const COMPRESSED: [&str; 4] = [
    "model.split.join_layer=1",
    "model.split.position=fixed:6",
    "model.split.compress=8",
    "train.match_attention=true",
];

fn recipe(folder: &Path, steps: u64, changes: &[&str]) -> Recipe {
    runs::recipe(folder, steps, &[&COMPRESSED[..], changes].concat())
}

fn losses(directory: &RunDirectory) -> Vec<f64> {
    let loss = |line: &str| line.split(' ').next().unwrap().parse().unwrap();
    runs::steps(directory).iter().map(|(_, line)| loss(line)).collect()
}

fn tensors(checkpoint: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(checkpoint.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(name, t)| (name, t.data().to_vec())).collect()
}

#[test]
fn a_compressor_learns_to_keep_attention_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    runs::task(folder.path());
    let train = |name: &str, steps, stop_after| {
        let recipe = recipe(folder.path(), steps, &["train.schedule=constant"]);
        let directory = RunDirectory::create(&folder.path().join(name), &recipe).unwrap();
        runs::run(&recipe, &directory, stop_after);
        (recipe, directory)
    };
    let (_, short) = train("short", 1, None);
    let (_, long) = train("long", 60, None);
    let found = losses(&long);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&found[..5]), mean(&found[55..]));
    assert!(last < 0.5 * first, "{first} {last}");
    let (before, after) = (tensors(&short.checkpoint_path()), tensors(&long.checkpoint_path()));
    assert!(before.keys().eq(after.keys()));
    for (name, value) in &after {
        let is_same = before[name] == *value;
        assert_eq!(is_same, !name.starts_with("compressor."), "{name}");
    }
    // A run that stops goes on as if it had not.
    let (recipe, stopped) = train("stopped", 60, Some(7));
    runs::run(&recipe, &stopped, None);
    assert_eq!(losses(&stopped), found);
}

#[test]
fn what_has_no_compressor_or_no_layer_above_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    runs::task(folder.path());
    for changes in [&["model.split.join_layer=2"][..], &["model.split={join_layer=1}"][..]] {
        let recipe = recipe(folder.path(), 2, changes);
        let directory = RunDirectory::create(&folder.path().join(changes[0]), &recipe).unwrap();
        let error = runs::attempt(&recipe, &directory).unwrap_err().to_string();
        assert!(error.contains("train.match_attention: expected a compressor"), "{error}");
    }
    let text = "[model]\npath = \"m\"\n[data]\ntrain = \"d\"\n";
    let changes = ["train.match_attention=true", "train.recompute=true"].map(str::to_owned);
    let error = Recipe::parse(text, &changes, Path::new("r.toml")).unwrap_err().to_string();
    assert!(error.contains("train.match_attention: expected no gradient_cache"), "{error}");
}
