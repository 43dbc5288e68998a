//! `cargo xtask train`: a recipe into a run directory; without one, the whole main job.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use tamis_train::{
    DevRecord, Event, EventFile, Outcome, Plan, Recipe, RunDirectory, StepRecord, TrainRecipe,
};

use crate::main_job::main_job;
use crate::model;
use crate::progress::{Progress, say};
use tamis_model::device;

/// Train a reranker.
///
/// Without a recipe this runs the whole main job on text that is already on the machine.
/// With one, it trains into a run directory that can be resumed:
///
///   cargo xtask train xtask/recipes/medquad.toml --set train.lr=2e-5 --out runs/medquad
///   cargo xtask train --resume runs/medquad
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct TrainArgs {
    /// The recipe, a TOML file; its paths are relative to the current folder
    #[arg(value_name = "RECIPE")]
    recipe: Option<PathBuf>,

    /// Override one value of the recipe; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "recipe")]
    set: Vec<String>,

    /// The run directory [default: runs/ and the recipe's name]
    #[arg(long, value_name = "FOLDER", requires = "recipe")]
    out: Option<PathBuf>,

    /// Go on with a run that was stopped
    #[arg(long, value_name = "FOLDER", conflicts_with = "recipe")]
    resume: Option<PathBuf>,

    /// Print what would be done, with the memory and time of two real steps, and do nothing
    #[arg(long, requires = "recipe", conflicts_with = "out")]
    dry_run: bool,

    /// Where to compute: cpu, cuda, cuda:1, wgpu or wgpu:1
    #[arg(long, default_value = "cpu")]
    device: String,
}

pub fn train(args: &TrainArgs) -> Result<ExitCode> {
    if let (true, Some(path)) = (args.dry_run, &args.recipe) {
        return dry_run(Recipe::read(path, &args.set)?, &args.device);
    }
    let (recipe, run) = match (&args.recipe, &args.resume) {
        (Some(path), _) => {
            let recipe = Recipe::read(path, &args.set)?;
            let name = path.file_stem().context("the recipe has no name")?;
            let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
            let run = RunDirectory::create(&out, &recipe)?;
            (recipe, run)
        }
        (None, Some(path)) => {
            let run = RunDirectory::open(path)?;
            (Recipe::read(&run.recipe_path(), &[])?, run)
        }
        (None, None) => return main_job(&args.device),
    };
    // The run keeps the model's name; the training needs its folder. A run that goes on may have
    // outlived the folder that it began with.
    let mut recipe = recipe;
    if model::is_name(&recipe.model.path) {
        recipe.model.path = model::locate(&recipe.model.path)?;
    }
    match run_recipe(&recipe, &run, &args.device)? {
        Outcome::Finished { .. } => Ok(ExitCode::SUCCESS),
        Outcome::Interrupted { .. } => Ok(ExitCode::from(130)),
    }
}

/// Takes two steps in a folder that is thrown away, and tells what the whole would take.
fn dry_run(mut recipe: Recipe, device_name: &str) -> Result<ExitCode> {
    if model::is_name(&recipe.model.path) {
        recipe.model.path = model::locate(&recipe.model.path)?;
    }
    let device = device(device_name)?;
    let text = recipe.to_toml();
    let dev = recipe.dev.take();
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let run = RunDirectory::create(&folder.path().join("run"), &recipe)?;
    let stop = AtomicBool::new(false);
    let mut view = View::default();
    let (mut plan, mut seconds) = (None, 0.0);
    let mut observe = |event: Event| {
        match &event {
            Event::Started(started) => plan = Some(started.clone()),
            Event::Step(step) => {
                // The first one warms up.
                seconds = step.seconds;
                stop.store(step.step == 2, Ordering::Relaxed);
            }
            _ => {}
        }
        if !matches!(event, Event::Saved { .. }) {
            view.show(event);
        }
    };
    tamis_train::train(&recipe, &run, &device, &stop, &mut observe)?;
    view.finish();
    let plan: Plan = plan.context("training did not start")?;
    let TrainRecipe { groups_per_batch, accumulation, workers, gradient_cache, .. } = recipe.train;
    let megabytes = |numbers: f64| numbers * 4.0 / 1e6;
    let parameters = plan.parameters as f64;
    let kept = recipe.train.optimizer.numbers_per_parameter();
    say(&format!("the recipe with every default written out:\n\n{text}"));
    say(&format!(
        "{} steps of {} groups of {} candidates ({groups_per_batch} at once, {accumulation} times)",
        plan.steps,
        groups_per_batch * accumulation,
        recipe.data.group_size + recipe.data.in_batch_negatives,
    ));
    say(&format!(
        "memory: {:.0} MB of weights, {:.0} MB of gradients and {:.0} MB of optimiser in each of \
         {workers} replicas; {}",
        megabytes(parameters),
        megabytes(parameters),
        megabytes(parameters * kept),
        match peak_memory() {
            Some(bytes) => format!("{:.0} MB at the peak of two steps", bytes as f64 / 1e6),
            None => "the peak is not known on this system".to_owned(),
        },
    ));
    if gradient_cache.is_none() && groups_per_batch * recipe.data.group_size > 64 {
        say("train.gradient_cache bounds the memory of activations");
    }
    let total = seconds * plan.steps as f64;
    say(&format!(
        "time: {seconds:.2} s a step, {:.0} min for all steps{}",
        total / 60.0,
        if dev.is_some() { ", without evaluations of the dev set" } else { "" },
    ));
    Ok(ExitCode::SUCCESS)
}

/// The most memory that this process has had, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Trains and shows what happens. Ctrl-C or SIGTERM saves the state after the step under way.
pub fn run_recipe(recipe: &Recipe, run: &RunDirectory, device_name: &str) -> Result<Outcome> {
    let device = device(device_name)?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    // The handler can be set once per process; a second training keeps the first one's.
    let handler = ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say("stopping after this step; press Ctrl-C again to stop at once and lose it");
    });
    if handler.is_err() {
        say("Ctrl-C is handled already; it stops at once here");
    }
    let mut view = View::default();
    let mut board = Board::open(run)?;
    let start = Instant::now();
    let mut problem = None;
    let outcome = tamis_train::train(recipe, run, &device, &stop, &mut |event| {
        // A board that cannot be written is told once, and training goes on.
        problem = problem.take().or_else(|| board.write(&event).err());
        view.show(event);
    })?;
    if let Some(problem) = problem {
        say(&format!("TensorBoard's file: {problem}"));
    }
    view.finish();
    let seconds = start.elapsed().as_secs_f64();
    let path = run.path().display();
    match outcome {
        Outcome::Finished { steps, best } => {
            say(&format!("trained {steps} steps in {seconds:.0} s"));
            if let Some((value, step)) = best {
                // A loss is kept with its sign turned: the higher, the better.
                let value = value.abs();
                say(&format!("the best dev value {value:.4} followed step {step}"));
            }
            say(&format!("the checkpoint is {}", run.checkpoint_path().display()));
        }
        Outcome::Interrupted { step } => say(&format!(
            "stopped after step {step}; go on with: cargo xtask train --resume {path}"
        )),
    }
    Ok(outcome)
}

/// Turns events into TensorBoard's scalars, in the folder `tensorboard` of a run.
struct Board {
    events: EventFile,
}

impl Board {
    fn open(run: &RunDirectory) -> tamis_train::Result<Self> {
        Ok(Self { events: EventFile::create(&run.path().join("tensorboard"), now())? })
    }

    fn write(&mut self, event: &Event) -> tamis_train::Result<()> {
        match event {
            Event::Step(record) => {
                let rows = [
                    ("train/loss", record.loss),
                    ("train/lr", record.lr),
                    ("train/grad_norm", record.grad_norm),
                    ("train/tokens_per_second", record.tokens as f64 / record.seconds.max(1e-9)),
                ];
                rows.iter().try_for_each(|(tag, value)| {
                    self.events.scalar(now(), record.step, tag, *value)
                })
            }
            Event::Dev(record) => record.dev.iter().try_for_each(|(name, value)| {
                self.events.scalar(now(), record.step, &format!("dev/{name}"), *value)
            }),
            _ => Ok(()),
        }
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Turns events into bars and lines.
#[derive(Default)]
struct View {
    steps: Option<Progress>,
    other: Option<Progress>,
    groups: u64,
    seconds: f64,
    data_seconds: f64,
    losses: Vec<f64>,
    truncated: (u64, u64, u64),
}

impl View {
    fn show(&mut self, event: Event) {
        match event {
            Event::Tokenising { done, total } => self.side("tokenising", "texts", done, total),
            Event::Reranking { done, total } => {
                self.side("dev", "queries", done as u64, total as u64);
            }
            Event::Started(plan) => self.started(&plan),
            Event::Step(step) => self.step(&step),
            Event::Dev(record) => self.dev(&record),
            Event::Warning { step, text } => self.line(&format!("step {step}: {text}")),
            Event::StoppedEarly { step, evaluations } => self.line(&format!(
                "stopped early after step {step}: no better dev value in {evaluations} evaluations"
            )),
            Event::Saved { step } => self.line(&format!("saved the state after step {step}")),
            _ => {}
        }
    }

    /// A second bar, for what happens between steps.
    fn side(&mut self, what: &'static str, unit: &'static str, done: u64, total: u64) {
        let bar = self.other.get_or_insert_with(|| Progress::new(what, unit, 0, total));
        bar.set(done, "");
    }

    fn end_side(&mut self) {
        if let Some(bar) = self.other.take() {
            bar.finish();
        }
    }

    fn line(&self, line: &str) {
        match &self.steps {
            Some(bar) => bar.say(line),
            None => say(line),
        }
    }

    fn started(&mut self, plan: &Plan) {
        self.end_side();
        self.line(&format!(
            "{} steps on {} groups ({} per epoch, {} groups left out for want of a positive or \
             negatives), {:.1} M parameters, {} documents cut to max_length",
            plan.steps,
            plan.groups,
            plan.steps_per_epoch,
            plan.left_out,
            plan.parameters as f64 / 1e6,
            plan.cut_documents,
        ));
        for (what, names) in
            [("drew new", &plan.drawn), ("left out of the checkpoint", &plan.left_out_tensors)]
        {
            if !names.is_empty() {
                self.line(&format!("{what}: {}", names.join(", ")));
            }
        }
        if plan.resumed_at > 0 {
            self.line(&format!("going on after step {}", plan.resumed_at));
        }
        self.steps = Some(Progress::new("training", "steps", plan.resumed_at, plan.steps));
    }

    fn step(&mut self, step: &StepRecord) {
        self.end_side();
        self.groups += step.groups as u64;
        self.seconds += step.seconds;
        self.data_seconds += step.data_seconds;
        self.losses.push(step.loss);
        self.truncated.0 += (step.truncated_rows > 0) as u64 * step.truncated_rows;
        self.truncated.1 += step.truncated_queries;
        self.truncated.2 += step.groups as u64;
        let recent = &self.losses[self.losses.len().saturating_sub(25)..];
        let loss = recent.iter().sum::<f64>() / recent.len() as f64;
        let rate = self.groups as f64 / self.seconds;
        if let Some(bar) = &mut self.steps {
            let message = format!("loss {loss:.4} lr {:.2e} {rate:.1} groups/s", step.lr);
            bar.set(step.step, &message);
        }
    }

    fn dev(&mut self, record: &DevRecord) {
        self.end_side();
        let row = |values: &std::collections::BTreeMap<String, f64>| {
            let cells: Vec<String> =
                values.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
            cells.join("  ")
        };
        let best = if record.best { "  (best so far)" } else { "" };
        if !record.first_stage.is_empty() {
            self.line(&format!("dev  first stage  {}", row(&record.first_stage)));
        }
        self.line(&format!("dev  step {:>7}  {}{best}", record.step, row(&record.dev)));
    }

    fn finish(mut self) {
        self.end_side();
        let (rows, queries, groups) = self.truncated;
        if rows + queries > 0 {
            self.line(&format!(
                "cut while training: {rows} rows to max_length, {queries} queries to \
                 query_max_length, in {groups} groups"
            ));
        }
        if self.seconds > 0.0 {
            let share = 100.0 * self.data_seconds / self.seconds;
            self.line(&format!("{share:.1} % of the time was waiting for data"));
        }
        if let Some(bar) = self.steps {
            bar.finish();
        }
    }
}
