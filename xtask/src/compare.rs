//! Systems beside a baseline, with every test: `cargo xtask compare`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use tamis_eval::files::read_qrels;
use tamis_eval::report::terminal::{align, p_value, stars};
use tamis_eval::statistics::tukey_hsd;
use tamis_eval::{CompareConfig, Comparison, Correction, Evaluation, MissingQueries, compare_all};

use crate::evaluate::{Format, emit, evaluate_all, formatted, parse_measures};
use crate::report::texts;

/// Compare runs with a baseline: differences, tests, intervals, and the queries that moved most.
///
/// The p-value is that of a paired randomisation test (exact up to 20 queries that differ),
/// adjusted for the number of systems. Exit code 1 when a system is significantly worse.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Judgements: TREC qrels or BEIR's tsv; `.gz` and `.zst` are decompressed.
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// The run that the others are compared with.
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
    /// Runs to compare. May be given several times.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    run: Vec<PathBuf>,
    /// Measures as ir_measures names them.
    #[arg(short, long = "measure", value_name = "MEASURE")]
    measures: Vec<String>,
    /// What becomes of judged queries that a run lacks: zero, skip or error.
    #[arg(long, default_value = "zero")]
    missing: MissingQueries,
    /// Adjustment of p-values for several systems: holm, bh or none.
    #[arg(long, default_value = "holm")]
    correction: Correction,
    /// How many of the queries that moved most are listed for the first measure.
    #[arg(long, default_value_t = 5)]
    moved: usize,
    /// Texts of the queries, BEIR's queries.jsonl, to be shown with those that moved most.
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Samples of the randomisation test where it is not exact.
    #[arg(long, default_value_t = 100_000)]
    permutations: u64,
    /// Significance level of the exit code.
    #[arg(long, default_value_t = 0.05)]
    alpha: f64,
    /// Seed of the randomisation test and the bootstrap.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// terminal, markdown, latex, csv or json.
    #[arg(long, default_value = "terminal")]
    format: Format,
    /// Write to a file instead of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Prints the comparison to stdout. Exit code 1 tells of a significant loss.
///
/// # Errors
/// When a file cannot be read, a measure is not known, or the runs cannot be compared.
pub fn run(args: Args) -> Result<ExitCode> {
    let measures = parse_measures(&args.measures)?;
    let qrels = read_qrels(&args.qrels)?;
    let paths: Vec<&Path> =
        std::iter::once(&args.baseline).chain(&args.run).map(PathBuf::as_path).collect();
    let evaluations = evaluate_all(&qrels, &paths, &measures, args.missing)?;
    let shown: Vec<&Evaluation> = evaluations.iter().collect();
    let config = CompareConfig {
        seed: args.seed,
        n_permutations: args.permutations,
        ..CompareConfig::default()
    };
    let comparisons = compare_all(shown[0], &shown[1..], &config, args.correction)?;
    let text = match args.format {
        Format::Terminal => {
            let queries = match &args.queries {
                Some(path) => texts(path, None)?,
                None => BTreeMap::new(),
            };
            details(&shown, &comparisons, args.moved, &queries)
        }
        format => formatted(format, false, &shown, &comparisons),
    };
    emit(args.out.as_deref(), &text)?;
    let entries = comparisons.iter().flat_map(|comparison| &comparison.measures);
    let worse = |entry: &&tamis_eval::MeasureComparison| {
        entry.adjusted_p < args.alpha && entry.system < entry.baseline
    };
    Ok(if entries.into_iter().any(|entry| worse(&entry)) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

fn details(
    evaluations: &[&Evaluation],
    comparisons: &[Comparison],
    n_moved: usize,
    queries: &BTreeMap<String, String>,
) -> String {
    let mut out = String::new();
    for comparison in comparisons {
        out.push_str(&format!("{} against {}\n", comparison.system, comparison.baseline));
        let head = [
            "",
            "baseline",
            "system",
            "difference",
            "95 % interval",
            "p",
            "adjusted p",
            "t-test",
            "Wilcoxon",
            "sign",
            "effect d",
            "won/tied/lost",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for entry in &comparison.measures {
            let difference = entry.system - entry.baseline;
            rows.push(vec![
                entry.measure.to_string(),
                format!("{:.4}", entry.baseline),
                format!("{:.4}", entry.system),
                format!("{difference:+.4}{}", stars(entry.adjusted_p)),
                format!("{:+.4} {:+.4}", entry.interval.low, entry.interval.high),
                p_value(entry.randomisation.p),
                p_value(entry.adjusted_p),
                p_value(entry.student.p),
                p_value(entry.wilcoxon_p),
                p_value(entry.sign_p),
                format!("{:+.2}", entry.effect_size),
                format!("{}/{}/{}", entry.wins, entry.ties, entry.losses),
            ]);
        }
        out.push_str(&align(&rows));
        let moved = comparison.most_moved(0, n_moved);
        if !moved.is_empty() {
            out.push_str(&format!("moved most ({})\n", comparison.measures[0].measure));
            for (query, difference) in moved {
                let text = queries.get(query.as_str()).map_or("", String::as_str);
                let line = format!("  {difference:+.4}  {query}  {text}");
                out.push_str(line.trim_end());
                out.push('\n');
            }
        }
        out.push('\n');
    }
    if evaluations.len() > 2 {
        out.push_str("all pairs, Tukey's honestly significant differences\n");
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(evaluations[0].measures().iter().map(ToString::to_string));
        for first in 0..evaluations.len() {
            for second in first + 1..evaluations.len() {
                let names = (evaluations[second].tag(), evaluations[first].tag());
                rows.push(vec![format!("{} - {}", names.0, names.1)]);
            }
        }
        for measure in 0..evaluations[0].measures().len() {
            let values: Vec<&[f64]> = evaluations.iter().map(|e| e.values(measure)).collect();
            for (row, pair) in rows[1..].iter_mut().zip(tukey_hsd(&values)) {
                row.push(format!("{:+.4} (p {})", pair.difference, p_value(pair.p)));
            }
        }
        out.push_str(&align(&rows));
    }
    out
}
