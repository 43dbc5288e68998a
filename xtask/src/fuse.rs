//! Several runs into one: `cargo xtask fuse`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tamis_data::Run;
use tamis_data::format::read_run;
use tamis_data::format::trec::write_run;
use tamis_eval::Measure;
use tamis_eval::files::read_qrels;
use tamis_eval::fuse::{Method, Normalization, Search, fuse, tune_weights};

use crate::evaluate::emit;
use crate::progress::say;

/// Fuse runs into one, by rank, by score or by votes.
///
/// Weights of an interpolation are given with `--weights`, or tuned on a development split with
/// `--tune`: the same number of runs of that split in the same order.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runs to fuse, TREC format or `.parquet`.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    run: Vec<PathBuf>,
    /// rrf, combsum, combmnz, combanz, combmax, combmin, combmed, isr, logisr, borda, condorcet or
    /// interpolation.
    #[arg(long, default_value = "rrf")]
    method: Method,
    /// The k of rrf.
    #[arg(long, default_value_t = 60.0)]
    k: f64,
    /// Normalisation of scores per query: min-max, z-score, sum, rank or none.
    #[arg(long, default_value = "min-max")]
    normalization: Normalization,
    /// Interpolation weights, one per run.
    #[arg(long, value_delimiter = ',')]
    weights: Vec<f64>,
    /// Runs of a development split to tune the weights on.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "tune_qrels")]
    tune: Vec<PathBuf>,
    /// Judgements of the development split.
    #[arg(long, value_name = "FILE")]
    tune_qrels: Option<PathBuf>,
    /// The measure that tuning raises.
    #[arg(long, default_value = "nDCG@10")]
    tune_measure: Measure,
    /// How weights are looked for: grid, golden (two runs only), or learned: by gradient descent on the
    /// cross-entropy of relevant documents, whatever the measure.
    #[arg(long, default_value = "grid")]
    search: String,
    /// Distance between the weights of the grid.
    #[arg(long, default_value_t = 0.05)]
    step: f64,
    /// Keep this many documents per query.
    #[arg(long, default_value_t = 1000)]
    depth: usize,
    /// The fused run's name.
    #[arg(long, default_value = "fused")]
    tag: String,
    /// Where the fused run is written; stdout when left out.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes the fused run; tells of tuned weights on stderr.
///
/// # Errors
/// When a file cannot be read or written, or the weights do not fit the runs.
pub fn run(args: Args) -> Result<ExitCode> {
    let read = |paths: &[PathBuf]| -> Result<Vec<Run>> {
        paths.iter().map(|path| Ok(read_run(path)?)).collect::<Result<Vec<_>>>()
    };
    let runs = read(&args.run)?;
    let runs: Vec<&Run> = runs.iter().collect();
    let method = match args.method {
        Method::Rrf { .. } => Method::Rrf { k: args.k },
        Method::Interpolation { .. } if !args.tune.is_empty() => {
            if args.tune.len() != runs.len() {
                bail!("tune: expected {} runs, found {}", runs.len(), args.tune.len());
            }
            let search = match args.search.as_str() {
                "grid" => Search::Grid { step: args.step },
                "golden" => Search::GoldenSection { tolerance: 0.001 },
                // A first stage that is known before the reranker begins with most of the weight.
                "learned" => Search::Learned { start: -1.0 },
                other => bail!("search: expected `grid`, `golden` or `learned`, found `{other}`"),
            };
            let qrels = read_qrels(args.tune_qrels.as_deref().context("--tune-qrels is missing")?)?;
            let dev = read(&args.tune)?;
            let dev: Vec<&Run> = dev.iter().collect();
            let tuned = tune_weights(&qrels, &dev, &args.tune_measure, args.normalization, search)?;
            let (measure, value) = (&args.tune_measure, tuned.value);
            let weights: Vec<String> = tuned.weights.iter().map(|w| format!("{w:.3}")).collect();
            say(&format!(
                "weights {}: {measure} {value:.4} on the development split, best of {}",
                weights.join(","),
                tuned.tried.len()
            ));
            Method::Interpolation { weights: tuned.weights }
        }
        Method::Interpolation { .. } => Method::Interpolation { weights: args.weights },
        other => other,
    };
    let fused = fuse(&runs, &method, args.normalization, &args.tag)?;
    let mut cut = Run::new(&args.tag);
    for (query, candidates) in fused.iter() {
        let kept = candidates[..args.depth.min(candidates.len())].to_vec();
        cut.insert(query.clone(), kept)?;
    }
    let mut bytes = Vec::new();
    write_run(&cut, &mut bytes)?;
    emit(args.out.as_deref(), &String::from_utf8(bytes).context("ids are UTF-8")?)?;
    Ok(ExitCode::SUCCESS)
}
