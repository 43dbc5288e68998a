//! Runs and judgements into measures: `cargo xtask eval`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use tamis_data::Qrels;
use tamis_data::output::write_file;
use tamis_eval::files::{evaluate_run_file, read_qrels};
use tamis_eval::msmarco::{CandidateFile, Quirks};
use tamis_eval::report::{csv, json, latex, markdown, terminal, trec};
use tamis_eval::trec::Compat;
use tamis_eval::{
    CompareConfig, Comparison, Correction, Evaluation, Measure, MissingQueries, compare_all,
};

use crate::progress::say;

/// Measure runs against judgements, with trec_eval's definitions and order of ties.
///
/// Scores sort descending, equal scores by document id descending; the rank column is not read.
/// With `--trec`, everything after it is read as trec_eval's own arguments and the output is
/// trec_eval's, byte for byte: `cargo xtask eval --trec -q -m all_trec qrels.txt bm25.run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Judgements: TREC qrels or BEIR's tsv; `.gz` and `.zst` are decompressed.
    #[arg(long, value_name = "FILE", required_unless_present = "trec")]
    qrels: Option<PathBuf>,
    /// Runs to measure, TREC format (`.gz`, `.zst`, `-` for stdin) or `.parquet`. May be given several
    /// times.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "trec")]
    run: Vec<PathBuf>,
    /// A run to compare the others with, such as the first stage.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Measures as ir_measures names them (nDCG@10, RR@10, AP(rel=2), Judged@10 ...) or as trec_eval
    /// does (ndcg_cut_10, P.5,10, gm_map, all_trec ...).
    #[arg(short, long = "measure", value_name = "MEASURE")]
    measures: Vec<String>,
    /// What becomes of judged queries that a run lacks: zero, skip or error.
    #[arg(long, default_value = "zero")]
    missing: MissingQueries,
    /// Print the value of every query too (formats trec, csv and json always do).
    #[arg(long)]
    by_query: bool,
    /// terminal, markdown, latex, csv, json or trec.
    #[arg(long, default_value = "terminal")]
    format: Format,
    /// Write to a file instead of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Seed of the randomisation test and the bootstrap.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Take the runs as MS MARCO candidate files (query, document, rank) and print the official
    /// MRR@10 and MRR@100. `official` keeps the faults of the official script, `strict` refuses
    /// what it would get wrong.
    #[arg(long, value_name = "official|strict", conflicts_with_all = ["baseline", "trec"])]
    msmarco: Option<String>,
    /// Which trec_eval to be like after `--trec`: 9.0.7 (32-bit scores, inside pytrec_eval),
    /// 9.0.8 or 10.
    #[arg(long, default_value = "10")]
    compat: Compat,
    /// Behave as trec_eval with the arguments that follow.
    #[arg(long, value_name = "ARGUMENT", num_args = 0.., allow_hyphen_values = true)]
    trec: Option<Vec<String>>,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for the terminal.
    Terminal,
    /// A Markdown table.
    Markdown,
    /// A LaTeX table (booktabs).
    Latex,
    /// One value per line.
    Csv,
    /// Everything, for programs.
    Json,
    /// Measure, query, value.
    Trec,
}

/// Prints results to stdout and notes on missing queries to stderr.
///
/// # Errors
/// When a file cannot be read, a measure is not known, or files have no query in common.
pub fn run(args: Args) -> Result<ExitCode> {
    if let Some(arguments) = &args.trec {
        let stdout = std::io::stdout();
        let mut out = std::io::BufWriter::new(stdout.lock());
        let code = tamis_eval::trec::run(arguments, args.compat, &mut out, &mut std::io::stderr())?;
        out.flush()?;
        return Ok(ExitCode::from(code));
    }
    let qrels = read_qrels(args.qrels.as_deref().context("--qrels is missing")?)?;
    if let Some(quirks) = &args.msmarco {
        return msmarco(&qrels, &args.run, quirks);
    }
    let measures = parse_measures(&args.measures)?;
    let paths: Vec<&Path> = args.baseline.iter().chain(&args.run).map(PathBuf::as_path).collect();
    let evaluations = evaluate_all(&qrels, &paths, &measures, args.missing)?;
    let shown: Vec<&Evaluation> = evaluations.iter().collect();
    let comparisons = match args.baseline {
        None => Vec::new(),
        Some(_) => {
            let config = CompareConfig { seed: args.seed, ..CompareConfig::default() };
            compare_all(shown[0], &shown[1..], &config, Correction::Holm)?
        }
    };
    let text = formatted(args.format, args.by_query, &shown, &comparisons);
    emit(args.out.as_deref(), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The official MS MARCO figures of candidate files.
fn msmarco(qrels: &Qrels, runs: &[PathBuf], quirks: &str) -> Result<ExitCode> {
    let quirks = match quirks {
        "official" => Quirks::Kept,
        "strict" => Quirks::Refused,
        other => anyhow::bail!("msmarco: expected `official` or `strict`, found `{other}`"),
    };
    let mut rows = vec![["", "MRR@10", "MRR@100", "QueriesRanked"].map(str::to_owned).to_vec()];
    for path in runs {
        let file = CandidateFile::read(path, quirks)?;
        let ten = file.official_rr(qrels, 10, quirks)?;
        let hundred = file.official_rr(qrels, 100, quirks)?;
        let ranked = ten.queries_ranked.to_string();
        rows.push(vec![name(path), ten.mrr.to_string(), hundred.mrr.to_string(), ranked]);
    }
    print!("{}", terminal::align(&rows));
    Ok(ExitCode::SUCCESS)
}

/// Evaluates run files, and tells of queries that one side lacks.
pub(crate) fn evaluate_all(
    qrels: &Qrels,
    paths: &[&Path],
    measures: &[Measure],
    missing: MissingQueries,
) -> Result<Vec<Evaluation>> {
    if let Some(note) = note_irrelevance(qrels) {
        say(&note);
    }
    let mut evaluations: Vec<Evaluation> = Vec::new();
    for path in paths {
        let mut evaluation = evaluate_run_file(qrels, path, measures, missing)?;
        if *path != Path::new("-") {
            evaluation = evaluation.named(&name(path));
        }
        note_absence(&evaluation);
        evaluations.push(evaluation);
    }
    Ok(evaluations)
}

/// Results in one of the formats.
pub(crate) fn formatted(
    format: Format,
    by_query: bool,
    evaluations: &[&Evaluation],
    comparisons: &[Comparison],
) -> String {
    match format {
        Format::Terminal => {
            let mut text = String::new();
            if by_query {
                text = evaluations.iter().map(|evaluation| queries(evaluation)).collect();
            }
            text + &terminal::table(evaluations, comparisons)
        }
        Format::Markdown => markdown::table(evaluations, comparisons),
        Format::Latex => latex::table(evaluations, comparisons),
        Format::Csv => csv::values(evaluations),
        Format::Json => format!("{:#}\n", json::document(evaluations, comparisons)),
        Format::Trec => evaluations.iter().map(|e| trec::lines(e, by_query)).collect(),
    }
}

fn queries(evaluation: &Evaluation) -> String {
    let mut rows = vec![vec![evaluation.tag().to_owned()]];
    rows[0].extend(evaluation.measures().iter().map(ToString::to_string));
    for (at, query) in evaluation.queries().iter().enumerate() {
        let mut row = vec![query.to_string()];
        row.extend((0..rows[0].len() - 1).map(|m| format!("{:.4}", evaluation.values(m)[at])));
        rows.push(row);
    }
    terminal::align(&rows) + "\n"
}

/// Names into measures; the usual ones when there are none.
pub(crate) fn parse_measures(names: &[String]) -> Result<Vec<Measure>> {
    if names.is_empty() {
        return Ok(Measure::defaults());
    }
    let mut measures: Vec<Measure> = Vec::new();
    for measure in names.iter().map(|name| Measure::parse_all(name)) {
        for measure in measure? {
            if !measures.contains(&measure) {
                measures.push(measure);
            }
        }
    }
    Ok(measures)
}

/// A run's file name without its folder and endings: what tables call it.
pub(crate) fn name(path: &Path) -> String {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
    let endings = [".gz", ".zst", ".run", ".trec", ".txt", ".tsv", ".parquet"];
    endings.iter().fold(name, |name, ending| match name.strip_suffix(ending) {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => name,
    })
}

/// Prints to stdout, or writes a file that is whole or not there.
pub(crate) fn emit(path: Option<&Path>, text: &str) -> Result<()> {
    match path {
        None => std::io::stdout().lock().write_all(text.as_bytes())?,
        Some(path) => write_file(path, |out| out.write_all(text.as_bytes()))?,
    }
    Ok(())
}

/// What there is to say of judgements that make every measure 0.
fn note_irrelevance(qrels: &Qrels) -> Option<String> {
    let highest = qrels.iter().flat_map(|(_, judged)| judged.values()).max()?;
    (*highest < 1).then(|| {
        format!(
            "qrels: expected a grade above 0, found none above {highest}: no document is relevant, \
             and measures of relevance are 0"
        )
    })
}

/// Tells on stderr which queries one side lacks and what was done about it.
fn note_absence(evaluation: &Evaluation) {
    let absence = evaluation.absence();
    if !absence.absent.is_empty() {
        let done = match absence.missing {
            MissingQueries::Zero => "they count as 0",
            MissingQueries::Skip => "they are left out",
            MissingQueries::Error => "an error",
        };
        let n = absence.absent.len();
        say(&format!("{}: {n} judged queries are missing from the run: {done}", evaluation.tag()));
    }
    if !absence.unjudged.is_empty() {
        let n = absence.unjudged.len();
        say(&format!("{}: {n} queries of the run have no judgements: left out", evaluation.tag()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judgements_without_a_relevant_document_are_told() {
        let mut qrels = Qrels::new();
        assert_eq!(note_irrelevance(&qrels), None);
        for (document, grade) in [("a", -2), ("b", -1)] {
            let query = "q".parse().expect("it is an id");
            let document = document.parse().expect("it is an id");
            qrels.insert(query, document, grade).expect("it comes once");
        }
        assert_eq!(
            note_irrelevance(&qrels).expect("there is something to say"),
            "qrels: expected a grade above 0, found none above -1: no document is relevant, and \
             measures of relevance are 0"
        );
        let (query, document) = ("q".parse(), "c".parse());
        qrels.insert(query.expect("it is an id"), document.expect("it is an id"), 1).expect("once");
        assert_eq!(note_irrelevance(&qrels), None);
    }

    #[test]
    fn names_of_trec_eval_stand_for_several_measures_once() {
        let names = ["P.5,10", "P_5", "nDCG@10"].map(str::to_owned);
        let measures = parse_measures(&names).expect("they are known");
        let names: Vec<String> = measures.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["P_5", "P_10", "nDCG@10"]);
    }
}
