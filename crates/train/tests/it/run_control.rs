//! Which checkpoints a run keeps, when it ends early, and what it says about itself.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use tamis_train::{Outcome, RunDirectory, train};

use crate::runs::{recipe, run, steps, task};

#[test]
fn the_last_checkpoints_are_kept_beside_the_best() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let recipe = recipe(folder.path(), 23, &["train.keep_last=2"]);
    let directory = RunDirectory::create(&folder.path().join("run"), &recipe).unwrap();
    run(&recipe, &directory, None);
    // Saved every 5 steps and at the end.
    assert_eq!(directory.step_checkpoints().unwrap(), [20, 23]);
    for path in [directory.checkpoint_path(), directory.step_checkpoint_path(23)] {
        assert!(path.join("model.safetensors").exists());
        let card = std::fs::read_to_string(path.join("README.md")).unwrap();
        assert!(card.contains("| RR@10 | 0.3397 |"), "the first stage is in the card: {card}");
        assert!(card.contains("keep_last = 2") && card.contains("burn 0.22.1"), "{card}");
        assert!(card.contains("| corpus |") && card.contains("c.jsonl"), "{card}");
    }
}

#[test]
fn training_ends_when_nothing_improves_and_stays_ended() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    // A rate at which nothing changes.
    let changes = ["train.lr=1e-12", "dev.every=2", "dev.patience=3"];
    let recipe = recipe(folder.path(), 100, &changes);
    let directory = RunDirectory::create(&folder.path().join("run"), &recipe).unwrap();
    // The first evaluation is the best, the next three are no better.
    for _ in 0..2 {
        let Outcome::Finished { steps: 8, best: Some((_, 2)) } = run(&recipe, &directory, None)
        else {
            panic!("the run ends after step 8");
        };
    }
    assert_eq!(steps(&directory).len(), 8);
}

#[test]
fn another_model_or_other_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let recipe = recipe(folder.path(), 10, &[]);
    let directory = RunDirectory::create(&folder.path().join("run"), &recipe).unwrap();
    assert_eq!(run(&recipe, &directory, Some(3)), Outcome::Interrupted { step: 3 });
    let refused = || {
        let stop = AtomicBool::new(false);
        let error = train(&recipe, &directory, &Device::flex(), &stop, &mut |_| {}).unwrap_err();
        error.to_string()
    };
    let change = |path: std::path::PathBuf, by: &str| {
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{by}")).unwrap();
        text
    };
    let config = folder.path().join("model/config.json");
    let text = change(config.clone(), "\n");
    let error = refused();
    assert!(error.contains("another model: expected sha256 `"), "{error}");
    std::fs::write(&config, text).unwrap();
    let manifest = folder.path().join("prepared/manifest.json");
    let text = change(manifest.clone(), "\n");
    let error = refused();
    assert!(error.contains("another training data: expected sha256 `"), "{error}");
    std::fs::write(&manifest, text).unwrap();
    // As it was, it goes on.
    run(&recipe, &directory, None);
    assert_eq!(steps(&directory).len(), 10);
}
