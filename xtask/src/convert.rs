//! A run in one format into the same run in another: `cargo xtask convert`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use tamis_data::format::{msmarco, parquet, read_run, trec};
use tamis_data::output::write_file;

use crate::progress::say;

/// Convert a run between TREC, MS MARCO (query, document, rank) and Parquet.
///
/// Read is what the file holds: Parquet by its ending, MS MARCO's where the first line has three
/// columns, TREC's otherwise. MS MARCO's has no scores: a document's is minus its rank.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run, `.gz` and `.zst` are decompressed.
    #[arg(long, value_name = "FILE")]
    run: PathBuf,
    /// What to write.
    #[arg(long)]
    to: Format,
    /// Where to, compressed when it ends in `.gz` or `.zst`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The formats of runs.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Six columns: query, Q0, document, rank, score, tag.
    Trec,
    /// Three columns: query, document, rank.
    Msmarco,
    /// Columns query, document, rank, score, tag.
    Parquet,
}

/// Writes the file and tells on stderr what is in it.
///
/// # Errors
/// When the run cannot be read or the file cannot be written.
pub fn run(args: Args) -> Result<ExitCode> {
    let run = read_run(&args.run)?;
    match args.to {
        Format::Trec => write_file(&args.out, |out| trec::write_run(&run, out))?,
        Format::Msmarco => write_file(&args.out, |out| msmarco::write_run(&run, out))?,
        Format::Parquet => {
            let mut bytes = Vec::new();
            parquet::write_run(&run, &mut bytes)?;
            write_file(&args.out, |out| out.write_all(&bytes))?;
        }
    }
    let (queries, candidates) = (run.n_queries(), run.n_candidates());
    say(&format!("{}: {queries} queries, {candidates} candidates", args.out.display()));
    Ok(ExitCode::SUCCESS)
}
