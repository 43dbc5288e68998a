//! A small task in a folder of its own: queries, documents, judgements, a first stage, a model.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;
use tamis_data::vocabulary::{VocabularyConfig, save, train};
use tempfile::TempDir;

const WORDS: [&str; 8] = ["fever", "cold", "rain", "sun", "stone", "river", "bread", "salt"];

/// A folder with the files of the task. A document is right for a query when it says `answer`.
pub struct Task {
    folder: TempDir,
}

impl Task {
    pub fn new() -> Self {
        let task = Self { folder: tempfile::tempdir().unwrap() };
        let (mut queries, mut corpus) = (String::new(), String::new());
        let (mut qrels, mut run) = ("query-id\tcorpus-id\tscore\n".to_owned(), String::new());
        let mut texts = Vec::new();
        for (i, word) in WORDS.iter().enumerate() {
            queries += &format!("{}\n", json!({"_id": format!("q{i}"), "text": word}));
            qrels += &format!("q{i}\td{i}-{i}\t1\n");
            for (j, other) in WORDS.iter().enumerate() {
                let kind = if j == i { "an answer" } else { "a question" };
                let text = format!("{kind} about {word} and {other}");
                let line = json!({"_id": format!("d{i}-{j}"), "title": "", "text": text});
                corpus += &format!("{line}\n");
                run += &format!("q{i} Q0 d{i}-{j} {} {} first\n", j + 1, 8 - j);
                texts.push(text);
            }
        }
        task.write("queries.jsonl", &queries);
        task.write("corpus.jsonl", &corpus);
        task.write("qrels.tsv", &qrels);
        task.write("first.run", &run);
        let config = VocabularyConfig { min_frequency: 1, ..VocabularyConfig::default() };
        let tokenizer = train(texts.iter(), &config).unwrap();
        let model = task.path("model");
        std::fs::create_dir(&model).unwrap();
        save(&tokenizer, 32, &model).unwrap();
        let config = json!({
            "model_type": "bert", "vocab_size": tokenizer.get_vocab_size(true), "hidden_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
            "max_position_embeddings": 32, "initializer_range": 0.1,
        });
        task.write("model/config.json", &config.to_string());
        task.write(
            "recipe.toml",
            "seed = 3\n[model]\npath = \"model\"\ninit = \"scratch\"\n\
             [data]\ntrain = \"prepared\"\nmax_length = 20\nquery_max_length = 4\ngroup_size = 8\n\
             [train]\nlr = 3e-3\nsteps = 60\ngroups_per_batch = 8\n\
             [dev]\ndataset = \"prepared\"\nmeasures = [\"RR@10\"]\nloss = true\n",
        );
        task
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The binary with arguments, apart by spaces, in the folder of the task.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command
    }

    /// What a command that must succeed wrote: standard output, then standard error.
    pub fn run(&self, line: &str) -> (String, String) {
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        let (stdout, stderr) = (text(stdout), text(stderr));
        assert!(status.success(), "xtask {line}\n{stdout}\n{stderr}");
        (stdout, stderr)
    }

    /// The error of a command that must fail.
    pub fn refused(&self, line: &str) -> String {
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        assert!(!status.success(), "xtask {line} succeeded\n{}", text(stdout));
        text(stderr)
    }

    /// Prepares the dataset that the recipe trains on.
    pub fn prepare(&self) {
        self.run(
            "prepare --queries queries.jsonl --corpus corpus.jsonl --qrels qrels.tsv \
             --run first.run --out prepared",
        );
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The files and folders in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
