//! `cargo xtask bench forward`: forward passes of Tamis, PyTorch and ONNX Runtime, in turns.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tamis_data::output;
use tamis_model::checkpoint::NewHead;
use tamis_model::{IdGroup, OpenOptions, Precision, Reranker, Settings};

use super::peer::Peer;
use super::shape::Shape;
use crate::progress::say;
use tamis_model::device;

/// Time the forward pass of a checkpoint beside PyTorch, ONNX Runtime and candle.
///
/// Every engine is a process of its own and is asked in turn, so that only one computes at a time;
/// medians are over rounds. Inputs are the same token ids for all, without padding.
///
///   cargo xtask bench forward --model runs/medquad/checkpoint --python venv/bin/python
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct ForwardArgs {
    /// A checkpoint: a Hugging Face directory
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,

    /// A Python with the peers' packages; without it Tamis runs alone
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,

    /// The script that runs a peer
    #[arg(long, value_name = "FILE", default_value = "benches/forward/peers.py")]
    script: PathBuf,

    /// The program that runs candle: see benches/forward/candle/README.md
    #[arg(long, value_name = "PROGRAM")]
    candle: Option<PathBuf>,

    /// Which peers of the script run
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "torch-f32,torch-bf16,onnxruntime-f32,onnxruntime-int8"
    )]
    peers: Vec<String>,

    /// In which numbers Tamis multiplies
    #[arg(long, value_delimiter = ',', default_value = "f32,bf16,int8")]
    precisions: Vec<Precision>,

    /// Pairs x tokens
    #[arg(long, value_delimiter = ',', default_value = "32x128,32x256,1x128")]
    shapes: Vec<Shape>,

    /// How often every engine is asked for every shape, after the warm-up
    #[arg(long, default_value_t = 9)]
    rounds: usize,

    /// How often it is asked before that; a GPU tries out its kernels meanwhile
    #[arg(long, default_value_t = 1)]
    warm_up: usize,

    /// Where to compute: cpu, cuda, cuda:1, wgpu or wgpu:1. The script's peers are told `cuda` when
    /// this is a GPU, and compute there too
    #[arg(long, default_value = "cpu")]
    device: String,

    /// Draw a head from this seed where the checkpoint has none
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "0")]
    new_head: Option<u64>,

    /// Threads of every engine
    #[arg(long, default_value_t = 2)]
    threads: usize,

    /// Also write the table to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Who is measured.
enum Engine {
    Tamis(Box<Reranker>),
    Peer(Peer),
}

pub fn forward(args: &ForwardArgs) -> Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    let mut engines = Vec::new();
    for &precision in &args.precisions {
        let name = format!("tamis-{precision}");
        engines.push((name, Engine::Tamis(Box::new(open(args, precision)?))));
    }
    for name in args.python.iter().flat_map(|_| &args.peers) {
        let python = args.python.as_deref().expect("there are peers only with a Python");
        say(&format!("starting {name}"));
        let mut command = Command::new(python);
        command.arg(&args.script).arg(name);
        let peer = Peer::start(command, &args.model, args.threads, &args.device)?;
        engines.push((name.clone(), Engine::Peer(peer)));
    }
    if let Some(program) = &args.candle {
        let name = "candle-f32";
        say(&format!("starting {name}"));
        let command = Command::new(program);
        let peer = Peer::start(command, &args.model, args.threads, &args.device)?;
        engines.push((name.to_owned(), Engine::Peer(peer)));
    }
    let mut table = String::from(
        "| pairs x tokens | engine | median ms | least | most | pairs/s | times the best peer of \
         its precision | first logit |\n|---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for &shape in &args.shapes {
        let mut measured: Vec<(Vec<f64>, f64)> = vec![(Vec::new(), 0.0); engines.len()];
        for round in 0..args.warm_up + args.rounds {
            for ((name, engine), (seconds, logit)) in engines.iter_mut().zip(&mut measured) {
                let (time, score) = engine.run(shape).with_context(|| format!("{name} failed"))?;
                ensure!(score.is_finite(), "{name}: the score is {score}");
                *logit = score;
                if round >= args.warm_up {
                    seconds.push(time);
                }
            }
        }
        for (seconds, _) in &mut measured {
            seconds.sort_by(f64::total_cmp);
        }
        let median = |index: usize| measured[index].0[args.rounds / 2];
        let kind = |name: &str| name.rsplit('-').next().unwrap_or_default().to_owned();
        for (index, (name, engine)) in engines.iter().enumerate() {
            let peers = engines.iter().enumerate().filter(|(_, (peer, engine))| {
                matches!(engine, Engine::Peer(_)) && kind(peer) == kind(name)
            });
            let best = peers.map(|(peer, _)| median(peer)).min_by(f64::total_cmp);
            let ratio = match (engine, best) {
                (Engine::Tamis(_), Some(best)) => format!("{:.2}", best / median(index)),
                _ => String::new(),
            };
            let (seconds, logit) = &measured[index];
            writeln!(
                table,
                "| {} x {} | {name} | {:.1} | {:.1} | {:.1} | {:.1} | {ratio} | {logit:.4} |",
                shape.rows,
                shape.tokens,
                median(index) * 1e3,
                seconds[0] * 1e3,
                seconds[seconds.len() - 1] * 1e3,
                shape.rows as f64 / median(index),
            )?;
        }
    }
    let kernels = match args.device.as_str() {
        "cpu" => format!("threads: {}; kernels: {}", args.threads, tamis_model::instructions()),
        device => format!("device: {device}; kernels: burn's"),
    };
    let summary = format!("{kernels}\n\n{table}");
    say(&summary);
    if let Some(path) = &args.out {
        output::write_file(path, |out| out.write_all(summary.as_bytes()))?;
    }
    Ok(())
}

fn open(args: &ForwardArgs, precision: Precision) -> Result<Reranker> {
    let new_head = args.new_head.map(|seed| NewHead { seed });
    let options = OpenOptions { precision, new_head };
    let reranker = Reranker::open_with(&args.model, &device(&args.device)?, options)?;
    let settings = Settings { max_length: 512, ..reranker.settings().clone() };
    Ok(reranker.with_settings(settings)?)
}

impl Engine {
    /// Seconds of one forward pass, and the first pair's logit.
    fn run(&mut self, shape: Shape) -> Result<(f64, f64)> {
        match self {
            Self::Tamis(reranker) => {
                let ids: Vec<(Vec<u32>, Vec<u32>)> =
                    (0..shape.rows).map(|row| shape.pair(row)).collect();
                let groups: Vec<IdGroup<'_>> = ids
                    .iter()
                    .map(|(query, document)| IdGroup { query, documents: vec![document] })
                    .collect();
                let start = Instant::now();
                let (scores, _) = reranker.score_ids(&groups)?;
                Ok((start.elapsed().as_secs_f64(), f64::from(scores[0][0])))
            }
            Self::Peer(peer) => match peer.ask(shape)?[..] {
                [seconds, logit] => Ok((seconds, logit)),
                ref other => bail!("expected seconds and a logit, found {other:?}"),
            },
        }
    }
}
