//! Runs and judgements into measures: `cargo xtask eval`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use tamis_data::Run;
use tamis_data::format::{read_qrels, read_run};
use tamis_eval::report::terminal;
use tamis_eval::{CompareConfig, Evaluation, Measure, MissingQueries, compare, evaluate};

/// Measure runs against judgements, with trec_eval's definitions and order of ties.
///
/// Scores sort descending, equal scores by document id descending; the rank column is not read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Judgements: TREC qrels or BEIR's tsv; `.gz` and `.zst` are decompressed.
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// Runs to measure, TREC format. May be given several times.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    run: Vec<PathBuf>,
    /// A run to compare the others with, such as the first stage.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Measures as ir_measures names them: nDCG@10, RR@10, AP(rel=2), R@100, Judged@10 ...
    #[arg(short, long = "measure", value_name = "MEASURE")]
    measures: Vec<String>,
    /// What becomes of judged queries that a run lacks: zero, skip or error.
    #[arg(long, default_value = "zero")]
    missing: MissingQueries,
    /// Print the value of every query too.
    #[arg(long)]
    by_query: bool,
    /// Seed of the randomisation test and the bootstrap.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

/// Prints the table to stdout and notes on missing queries to stderr.
///
/// # Errors
/// When a file cannot be read, a measure is not known, or files have no query in common.
pub fn run(args: Args) -> Result<ExitCode> {
    let measures = parse_measures(&args.measures)?;
    let qrels = read_qrels(&args.qrels)?;
    let mut evaluations = Vec::new();
    for path in args.baseline.iter().chain(&args.run) {
        let run: Run = read_run(path)?;
        let evaluation = evaluate(&qrels, &run, &measures, args.missing)?;
        evaluations.push(evaluation.named(&name(path)));
    }
    for evaluation in &evaluations {
        note_absence(evaluation);
    }
    let config = CompareConfig { seed: args.seed, ..CompareConfig::default() };
    let comparisons = match args.baseline {
        None => Vec::new(),
        Some(_) => {
            let others = evaluations.iter().skip(1);
            others.map(|e| compare(&evaluations[0], e, &config)).collect::<Result<Vec<_>, _>>()?
        }
    };
    let shown: Vec<&Evaluation> = evaluations.iter().collect();
    print!("{}", terminal::table(&shown, &comparisons));
    Ok(ExitCode::SUCCESS)
}

/// Names into measures; the usual ones when there are none. Commas may separate them.
pub(crate) fn parse_measures(names: &[String]) -> Result<Vec<Measure>> {
    if names.is_empty() {
        return Ok(Measure::defaults());
    }
    let parsed: Result<Vec<Measure>, _> = names.iter().map(|name| name.parse()).collect();
    Ok(parsed?)
}

/// A run's file name without its folder and endings: what tables call it.
pub(crate) fn name(path: &std::path::Path) -> String {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
    let endings = [".gz", ".zst", ".run", ".trec", ".txt", ".tsv", ".parquet"];
    endings.iter().fold(name, |name, ending| {
        name.strip_suffix(ending).filter(|rest| !rest.is_empty()).map_or(name.clone(), str::to_owned)
    })
}

/// Tells on stderr which queries one side lacks and what was done about it.
pub(crate) fn note_absence(evaluation: &Evaluation) {
    let absence = evaluation.absence();
    if !absence.absent.is_empty() {
        let done = match absence.missing {
            MissingQueries::Zero => "they count as 0",
            MissingQueries::Skip => "they are left out",
            MissingQueries::Error => "an error",
        };
        let n = absence.absent.len();
        eprintln!("{}: {n} judged queries are missing from the run: {done}", evaluation.tag());
    }
    if !absence.unjudged.is_empty() {
        let n = absence.unjudged.len();
        eprintln!("{}: {n} queries of the run have no judgements: left out", evaluation.tag());
    }
}
