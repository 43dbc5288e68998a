//! `cargo xtask train` without a recipe: from text on this machine to a measured reranker.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use tamis_data::vocabulary::{self, VocabularyConfig};
use tamis_data::{Dataset, PrepareOptions, Run, Sources, format, output, prepare};
use tamis_eval::fuse::{Method, Normalization, Search, fuse, tune_weights};
use tamis_eval::report::terminal;
use tamis_eval::{CompareConfig, Evaluation, Measure, MissingQueries, compare, evaluate};
use tamis_model::encoder::bert::BertConfig;
use tamis_model::{Config, Reranker};
use tamis_train::{Outcome, Recipe, RunDirectory};

use crate::crate_docs;
use crate::progress::{Progress, say};
use crate::rerank::{Files, rerank_files};
use crate::tidy::workspace_root;
use crate::train::run_recipe;
use tamis_model::device;

/// The recipe of the main job; its paths are relative to the job's folder.
const RECIPE: &str = include_str!("../recipes/crate-docs.toml");

/// The model that is trained from scratch, without its vocabulary.
const MODEL: &str = include_str!("../recipes/crate-docs-model.json");

/// Candidates of each query that are reranked.
const DEPTH: usize = 50;

/// The files of the job, all in one folder.
struct Job {
    folder: PathBuf,
}

impl Job {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.join("data").join(name)
    }
}

/// Runs the whole job in `runs/crate-docs`, going on where an earlier one was stopped.
pub fn main_job(device_name: &str) -> Result<ExitCode> {
    let start = Instant::now();
    let root = workspace_root()?;
    let job = Job { folder: root.join("runs/crate-docs") };
    collect_documentation(&root, &job)?;
    let collected = start.elapsed().as_secs_f64();

    let recipe = recipe(&job)?;
    let run = match RunDirectory::open(&job.path("run")) {
        Ok(run) => run,
        Err(_) => RunDirectory::create(&job.path("run"), &recipe)?,
    };
    let outcome = run_recipe(&recipe, &run, device_name)?;
    if let Outcome::Interrupted { .. } = outcome {
        say("the main job goes on when it is started again");
        return Ok(ExitCode::from(130));
    }
    let trained = start.elapsed().as_secs_f64();

    let reranker = Reranker::open(&run.checkpoint_path(), &device(device_name)?)?;
    let table = measure(&job, &reranker)?;
    let total = start.elapsed().as_secs_f64();
    println!("{table}");
    say(&format!(
        "seconds: data {collected:.0}, training {:.0}, reranking and measuring {:.0}",
        trained - collected,
        total - trained
    ));
    say(&format!("everything is in {}", job.folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// Makes the collection, the prepared datasets, the vocabulary and the model's configuration.
fn collect_documentation(root: &Path, job: &Job) -> Result<()> {
    say("reading the documentation comments of the crates in Cargo.lock");
    std::fs::create_dir_all(&job.folder).with_context(|| format!("{}", job.folder.display()))?;
    let options = crate_docs::Options { depth: DEPTH, ..crate_docs::Options::default() };
    let statistics = crate_docs::build(root, &job.path("data"), &options, &|_| {})?;
    if !statistics.cached {
        // Another collection: what was made of the last one no longer fits.
        for name in ["train", "dev", "model", "run"] {
            let path = job.path(name);
            if path.exists() {
                std::fs::remove_dir_all(&path).with_context(|| format!("{}", path.display()))?;
            }
        }
    }
    say(&format!(
        "{} crates, {} documented items{}",
        statistics.crates,
        statistics.items,
        if statistics.cached { " (found as it was left)" } else { "" }
    ));
    for split in &statistics.splits {
        say(&format!(
            "  {:5} {:6} queries, {:6} documents of {:3} families of crates; BM25's top {DEPTH} \
             has the right document of {:.1} %",
            split.name,
            split.queries,
            split.documents,
            split.families,
            100.0 * split.queries_answered_by_bm25 as f64 / split.queries.max(1) as f64,
        ));
    }
    for split in ["train", "dev"] {
        let out = job.path(split);
        if Dataset::open(&out).is_ok() {
            continue;
        }
        let sources = Sources {
            corpus: vec![job.data("corpus.jsonl")],
            queries: vec![job.data("queries.jsonl")],
            qrels: vec![job.data(&format!("qrels/{split}.tsv"))],
            runs: vec![job.data(&format!("bm25/{split}.run"))],
            ..Sources::default()
        };
        // Judged positives that BM25 missed are learnt from all the same.
        let options = PrepareOptions { replace: true, ..PrepareOptions::default() };
        let mut progress = Progress::new("preparing", "bytes", 0, 0);
        prepare(&sources, &out, &options, &mut |done, total| {
            progress.total(total);
            progress.set(done, split);
        })?;
        progress.finish();
    }
    if !job.path("model/config.json").exists() {
        make_model(job)?;
    }
    Ok(())
}

/// Trains the vocabulary on the documents of the train split and writes a model's configuration.
fn make_model(job: &Job) -> Result<()> {
    let dataset = Dataset::open(&job.path("train"))?;
    let groups = dataset.groups();
    let mut rows: Vec<u32> = groups
        .iter()
        .flat_map(|group| group.candidates.into_iter().map(|candidate| candidate.document))
        .collect();
    rows.sort_unstable();
    rows.dedup();
    let queries = groups.iter().map(|group| dataset.queries().text(group.query).to_owned());
    let documents = rows.iter().map(|&row| dataset.corpus().text(row).to_owned());
    let texts: Vec<String> = queries.chain(documents).collect();
    let tokenizer = vocabulary::train(texts.into_iter(), &VocabularyConfig::default())?;
    let mut config: BertConfig = serde_json::from_str(MODEL)?;
    config.vocab_size = tokenizer.get_vocab_size(true);

    let folder = output::OutputFolder::create(&job.path("model"), true)?;
    vocabulary::save(&tokenizer, config.max_position_embeddings, folder.path())?;
    let text = Config::bert(&config).to_json();
    let path = folder.path().join("config.json");
    std::fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
    folder.commit()?;
    say(&format!("a vocabulary of {} word pieces", config.vocab_size));
    Ok(())
}

fn recipe(job: &Job) -> Result<Recipe> {
    let path = job.path("recipe.toml");
    let mut recipe = Recipe::parse(RECIPE, &[], &path)?;
    recipe.model.path = job.folder.join(&recipe.model.path);
    recipe.data.train = recipe.data.train.inside(&job.folder);
    if let Some(dev) = &mut recipe.dev {
        dev.dataset = job.folder.join(&dev.dataset);
    }
    Ok(recipe)
}

/// Reranks dev and test, tunes the interpolation on dev, and lines up the three systems on test.
fn measure(job: &Job, reranker: &Reranker) -> Result<String> {
    let measures: Vec<Measure> =
        ["RR@10", "nDCG@10"].iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let rerank = |split: &str| -> Result<(Run, Run)> {
        let first = job.data(&format!("bm25/{split}.run"));
        let corpus = [job.data("corpus.jsonl")];
        let queries = job.data("queries.jsonl");
        let files = Files { queries: &queries, corpus: &corpus, run: &first };
        let run = rerank_files(reranker, &files, DEPTH, "reranker")?;
        let out = job.path(&format!("{split}.reranked.run"));
        output::write_file(&out, |out| format::trec::write_run(&run, out))?;
        Ok((format::read_run(&first)?, run))
    };
    let qrels = |split: &str| format::read_qrels(&job.data(&format!("qrels/{split}.tsv")));

    let (first, reranked) = rerank("dev")?;
    let (normalization, search) = (Normalization::ZScore, Search::Grid { step: 0.05 });
    let ndcg = &measures[1];
    let tuned = tune_weights(&qrels("dev")?, &[&first, &reranked], ndcg, normalization, search)?;
    say(&format!(
        "interpolation tuned on dev: {:.2} of BM25, {:.2} of the reranker",
        tuned.weights[0], tuned.weights[1]
    ));

    let (first, reranked) = rerank("test")?;
    let method = Method::Interpolation { weights: tuned.weights };
    let both = fuse(&[&first, &reranked], &method, normalization, "interpolation")?;
    output::write_file(&job.path("test.interpolated.run"), |out| {
        format::trec::write_run(&both, out)
    })?;
    let test = qrels("test")?;
    let evaluation = |run: &Run, name: &str| -> Result<Evaluation> {
        Ok(evaluate(&test, run, &measures, MissingQueries::Zero)?.named(name))
    };
    let bm25 = evaluation(&first, "BM25")?;
    let systems = [evaluation(&reranked, "reranker")?, evaluation(&both, "BM25 + reranker")?];
    let comparisons = systems
        .iter()
        .map(|system| compare(&bm25, system, &CompareConfig::default()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(terminal::table(&[&bm25, &systems[0], &systems[1]], &comparisons))
}
