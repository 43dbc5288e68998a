//! The recipes that are shipped, each on a tiny task.

use std::path::{Path, PathBuf};

use serde_json::json;
use tamis_data::{PrepareOptions, Sources, prepare};
use tamis_train::{Init, Outcome, Recipe, RunDirectory};

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

/// A folder with a small decoder: with exits, or one that answers with a word or has a label.
fn decoder(folder: &Path, has_exits: bool, init: Init) -> PathBuf {
    let class = if init == Init::NewHead { "ForSequenceClassification" } else { "ForCausalLM" };
    let config = json!({
        "model_type": "llama", "architectures": [format!("Llama{class}")], "vocab_size": 400,
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
        "initializer_range": 0.2, "layer_wise": has_exits, "start_layer": 1, "num_labels": 1,
    });
    let out = folder.join(format!("decoder-{has_exits}-{class}"));
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("config.json"), config.to_string()).unwrap();
    std::fs::copy(folder.join("model/tokenizer.json"), out.join("tokenizer.json")).unwrap();
    out
}

/// Losses of a few steps of self-distillation over every exit.
fn self_distillation(folder: &Path, name: &str, changes: &[&str]) -> Vec<f64> {
    let data = folder.join("distilled");
    let text = format!(
        "seed = 3\n[model]\npath = {model:?}\ninit = \"scratch\"\n\
         template = {{ segments = [{{ text = \"{{query}}\" }}, {{ text = \"{{document}}\" }}, \
         {{ text = \"an\" }}] }}\n\
         [data]\ntrain = {data:?}\nmax_length = 16\nquery_max_length = 4\ngroup_size = 4\n\
         shortage = \"repeat\"\n\
         [train]\nlr = 1e-2\nsteps = 12\ngroups_per_batch = 4\nwarmup_ratio = 0.0\n\
         [train.exits]\nratios = [1, 2]\ncompress_layers = [1, 2]\n",
        model = decoder(folder, true, Init::Scratch),
    );
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    let recipe = Recipe::parse(&text, &changes, Path::new("recipe.toml")).unwrap();
    let directory = RunDirectory::create(&folder.join(name), &recipe).unwrap();
    runs::run(&recipe, &directory, None);
    let log = std::fs::read_to_string(directory.log_path()).unwrap();
    log.lines()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64()
        })
        .collect()
}

#[test]
fn self_distillation_learns_and_however_it_is_divided_it_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    runs::task(folder.path());
    distilled(folder.path());
    let direct = self_distillation(folder.path(), "direct", &[]);
    assert_eq!(direct.len(), 12);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&direct[8..]) < mean(&direct[..4]), "{direct:?}");
    for (name, changes) in [
        ("cached", &["train.gradient_cache=3"][..]),
        ("recomputed", &["train.recompute=true"]),
        ("recomputed-rows", &["train.recompute=true", "train.workers=2", "train.split=\"rows\""]),
        ("rows", &["train.workers=3", "train.split=\"rows\""]),
        ("both", &["train.workers=2", "train.split=\"rows\"", "train.gradient_cache=3"]),
    ] {
        let other = self_distillation(folder.path(), name, changes);
        assert_eq!(other.len(), direct.len());
        for (a, b) in direct.iter().zip(&other) {
            assert!((a - b).abs() < 1e-3 * a, "{name}: {direct:?}, {other:?}");
        }
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
        let exits = written.train.exits.as_ref();
        let is_decoder = exits.is_some() || written.model.template.is_some();
        let needs_teacher = match exits {
            Some(exits) => exits.loss.method.needs_teacher(),
            None => written.train.loss.needs_teacher(),
        };
        let data = if needs_teacher { &distilled } else { &labelled };
        let model = match is_decoder {
            // A recipe that gives a model its exits starts from one without.
            true => {
                let has_exits = exits.is_some() && written.model.exits.is_none();
                decoder(folder.path(), has_exits, written.model.init)
            }
            false => folder.path().join("model"),
        };
        let mut changes = vec![
            format!("model.path={model:?}"),
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
        if is_decoder {
            changes.push(
                "model.template={segments=[{text=\"a {query}\"},{text=\"{document}\"},{text=\"an\"}]}"
                    .to_owned(),
            );
            if written.model.exits.is_some() {
                changes.push("model.exits={start=1,step=1}".to_owned());
            }
            changes.push("model.adapters=[]".to_owned());
            // A small collection has no step of so many groups.
            changes.push("train.accumulation=1".to_owned());
        }
        if exits.is_some_and(|exits| !exits.compress_layers.is_empty()) {
            changes.push("train.exits.compress_layers=[1]".to_owned());
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
