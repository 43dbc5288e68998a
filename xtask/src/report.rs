//! Runs into one HTML page to look at: `cargo xtask report`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use tamis_data::Run;
use tamis_data::format::lines::Lines;
use tamis_data::format::read_run;
use tamis_eval::files::read_qrels;
use tamis_eval::report::html::{Page, PageConfig};
use tamis_eval::{CompareConfig, Correction, MissingQueries};

use crate::evaluate::{emit, name, parse_measures};
use crate::progress::say;

/// Write one self-contained HTML page about runs: means with intervals, tests, curves, and the
/// queries that moved most with their texts and top documents side by side.
///
/// The first run is the baseline. The page has no scripts and loads nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Judgements: TREC qrels or BEIR's tsv; `.gz` and `.zst` are decompressed.
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// Runs, TREC format or `.parquet`; the first is the baseline.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    run: Vec<PathBuf>,
    /// Measures as ir_measures names them; differences are shown for the first.
    #[arg(short, long = "measure", value_name = "MEASURE")]
    measures: Vec<String>,
    /// Texts of the queries, BEIR's queries.jsonl.
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Texts of the documents, BEIR's corpus.jsonl. Only those shown are kept in memory.
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// What becomes of judged queries that a run lacks: zero, skip or error.
    #[arg(long, default_value = "zero")]
    missing: MissingQueries,
    /// Adjustment of p-values for several systems: holm, bh or none.
    #[arg(long, default_value = "holm")]
    correction: Correction,
    /// How many of the queries that moved most are shown, for each run.
    #[arg(long, default_value_t = 10)]
    moved: usize,
    /// How many documents of each run are shown beside each other.
    #[arg(long, default_value_t = 5)]
    documents: usize,
    /// The page's heading.
    #[arg(long, default_value = "Evaluation")]
    title: String,
    /// Seed of the randomisation test and the bootstrap.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Where the page is written.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
}

/// Writes the page and tells its place on stderr.
///
/// # Errors
/// When a file cannot be read or written, or the runs cannot be evaluated.
pub fn run(args: Args) -> Result<ExitCode> {
    let qrels = read_qrels(&args.qrels)?;
    let runs: Vec<(String, Run)> =
        args.run.iter().map(|path| Ok((name(path), read_run(path)?))).collect::<Result<_>>()?;
    let systems: Vec<(&str, &Run)> = runs.iter().map(|(name, run)| (name.as_str(), run)).collect();
    let config = PageConfig {
        title: args.title,
        measures: parse_measures(&args.measures)?,
        missing: args.missing,
        compare: CompareConfig { seed: args.seed, ..CompareConfig::default() },
        correction: args.correction,
        n_moved: args.moved,
        n_documents: args.documents,
    };
    let page = Page::new(&qrels, &systems, &config)?;
    let queries = match &args.queries {
        Some(path) => texts(path, None)?,
        None => BTreeMap::new(),
    };
    let documents = match &args.corpus {
        Some(path) => {
            let shown = page.documents();
            texts(path, Some(&shown.iter().map(|id| id.as_str()).collect()))?
        }
        None => BTreeMap::new(),
    };
    emit(Some(&args.out), &page.render(&queries, &documents))?;
    say(&format!("{}", args.out.display()));
    Ok(ExitCode::SUCCESS)
}

/// The texts of a BEIR file, titles before texts; of those ids only, where some are given.
pub(crate) fn texts(
    path: &Path,
    wanted: Option<&BTreeSet<&str>>,
) -> Result<BTreeMap<String, String>> {
    let mut lines = Lines::open(path)?;
    let mut texts = BTreeMap::new();
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let parsed: serde_json::Result<serde_json::Value> = serde_json::from_str(line);
        let value = parsed.with_context(|| format!("{}:{}", path.display(), lines.number()))?;
        let field = |key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or("");
        let id = field("_id");
        if wanted.is_none_or(|wanted| wanted.contains(id)) {
            let text = format!("{} {}", field("title"), field("text"));
            texts.insert(id.to_owned(), text.trim().to_owned());
        }
    }
    Ok(texts)
}
