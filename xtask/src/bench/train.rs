//! `cargo xtask bench train`: training steps of Tamis and PyTorch, in turns.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tamis_data::{Batch, PairEncoder, TruncationReport, output};
use tamis_loss::{Lce, Loss, Objective};
use tamis_model::checkpoint::NewHead;
use tamis_model::{Settings, checkpoint};
use tamis_train::{Learner, MicroBatch, OptimizerRecipe, Schedule, ScheduleKind};

use super::peer::Peer;
use super::shape::Shape;
use crate::progress::say;
use tamis_model::device;

/// Candidates of a group; benches/train/peer.py has the same.
const GROUP: usize = 8;

/// Time a training step of a checkpoint beside PyTorch.
///
/// A step is forward with dropout, LCE over groups of 8, backward, clipping and AdamW. Every engine is
/// a process of its own and is asked in turn; medians are over rounds, all rows are full.
///
///   cargo xtask bench train --model runs/medquad/checkpoint --python venv/bin/python
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct TrainArgs {
    /// A checkpoint: a Hugging Face directory
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,

    /// A Python with the peer's packages; without it Tamis runs alone
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,

    /// The script that runs a peer
    #[arg(long, value_name = "FILE", default_value = "benches/train/peer.py")]
    script: PathBuf,

    /// Which peers run
    #[arg(long, value_delimiter = ',', default_value = "torch-f32,torch-bf16")]
    peers: Vec<String>,

    /// Pairs x tokens; pairs are a multiple of 8
    #[arg(long, value_delimiter = ',', default_value = "16x128")]
    shapes: Vec<Shape>,

    /// How often every engine is asked for every shape, after one warm-up
    #[arg(long, default_value_t = 9)]
    rounds: usize,

    /// Threads of every engine
    #[arg(long, default_value_t = 2)]
    threads: usize,

    /// Also write the table to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Who is measured.
enum Engine {
    Tamis(Box<Trainer>),
    Peer(Peer),
}

/// A learner and what makes its batches.
struct Trainer {
    learner: Learner,
    encoder: PairEncoder,
    step: u64,
}

/// One step.
#[derive(Clone, Copy)]
struct Measured {
    seconds: f64,
    loss: f64,
    /// The most memory that the process has held so far, in MiB.
    peak: f64,
}

pub fn train(args: &TrainArgs) -> Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    let mut engines = vec![("tamis-f32".to_owned(), Engine::Tamis(Box::new(Trainer::open(args)?)))];
    for name in args.python.iter().flat_map(|_| &args.peers) {
        let python = args.python.as_deref().expect("there are peers only with a Python");
        let mut command = Command::new(python);
        command.arg(&args.script).arg(name);
        let peer = Peer::start(command, &args.model, args.threads, "cpu")?;
        engines.push((name.clone(), Engine::Peer(peer)));
    }
    let mut table = String::from(
        "| pairs x tokens | engine | median ms | least | most | times Tamis | peak MiB | last loss |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for &shape in &args.shapes {
        ensure!(shape.rows % GROUP == 0, "pairs must be a multiple of {GROUP}");
        let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); engines.len()];
        for round in 0..=args.rounds {
            for ((name, engine), measured) in engines.iter_mut().zip(&mut measured) {
                let step = engine.run(shape).with_context(|| format!("{name} failed"))?;
                ensure!(step.loss.is_finite(), "{name}: the loss is {}", step.loss);
                if round > 0 {
                    measured.push(step);
                }
            }
        }
        let sorted = |steps: &[Measured]| {
            let mut seconds: Vec<f64> = steps.iter().map(|step| step.seconds).collect();
            seconds.sort_by(f64::total_cmp);
            seconds
        };
        let ours = sorted(&measured[0])[args.rounds / 2];
        for ((name, _), steps) in engines.iter().zip(&measured) {
            let seconds = sorted(steps);
            let last = steps.last().context("--rounds must be at least 1")?;
            writeln!(
                table,
                "| {} x {} | {name} | {:.1} | {:.1} | {:.1} | {:.2} | {:.0} | {:.4} |",
                shape.rows,
                shape.tokens,
                seconds[args.rounds / 2] * 1e3,
                seconds[0] * 1e3,
                seconds[seconds.len() - 1] * 1e3,
                seconds[args.rounds / 2] / ours,
                last.peak,
                last.loss,
            )?;
        }
    }
    let summary = format!("threads: {}\n\n{table}", args.threads);
    say(&summary);
    if let Some(path) = &args.out {
        output::write_file(path, |out| out.write_all(summary.as_bytes()))?;
    }
    Ok(())
}

impl Engine {
    fn run(&mut self, shape: Shape) -> Result<Measured> {
        match self {
            Self::Tamis(trainer) => trainer.step(shape),
            Self::Peer(peer) => match peer.ask(shape)?[..] {
                [seconds, loss, peak] => Ok(Measured { seconds, loss, peak }),
                ref other => bail!("expected seconds, loss and peak, found {other:?}"),
            },
        }
    }
}

impl Trainer {
    fn open(args: &TrainArgs) -> Result<Self> {
        let device = device("cpu")?;
        // A bare encoder is as good as a reranker here: values do not change the time.
        let loaded = checkpoint::load(&args.model, Some(NewHead { seed: 42 }), &device)?;
        let longest = args.shapes.iter().map(|shape| shape.tokens).max().unwrap_or(0);
        let settings = Settings::read(&args.model, &loaded.config)?;
        let settings = Settings { max_length: longest, query_max_length: longest / 2, ..settings };
        let encoder = settings.encoder(&args.model)?;
        let learner = Learner::new(
            loaded.model,
            &OptimizerRecipe::default(),
            Objective::single(Loss::Lce(Lce::default())),
            Schedule { kind: ScheduleKind::Constant, peak: 2e-5, ..Schedule::default() },
            Some(1.0),
            42,
            &device,
        );
        Ok(Self { learner, encoder, step: 0 })
    }

    fn step(&mut self, shape: Shape) -> Result<Measured> {
        let mut batch = Batch::new();
        for row in 0..shape.rows {
            let (query, document) = shape.pair(row);
            let mut report = TruncationReport::default();
            self.encoder.encode_ids(&query, &document, &mut batch, &mut report);
            if (row + 1) % GROUP == 0 {
                batch.end_group();
            }
        }
        let labels = (0..shape.rows).map(|row| if row % GROUP == 0 { 1.0 } else { 0.0 }).collect();
        let micro_batch = MicroBatch { batch, labels, teacher_scores: None };
        let start = Instant::now();
        let taken = self.learner.step(self.step, &[micro_batch]);
        let seconds = start.elapsed().as_secs_f64();
        self.step += 1;
        match taken {
            Ok(taken) => Ok(Measured { seconds, loss: taken.loss, peak: peak_memory()? }),
            Err(problem) => bail!("{problem}"),
        }
    }
}

/// The most memory that this process has held, in MiB, as Linux counts it.
fn peak_memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .context("/proc/self/status has no peak")?;
    Ok(kib / 1024.0)
}
