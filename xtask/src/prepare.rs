//! `cargo xtask prepare`: text files into a prepared dataset that opens in milliseconds.

use std::path::PathBuf;

use anyhow::Context;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tamis_data::{
    Dataset, Error, ErrorKind, GroupScores, LabelHistogram, MissingTeacher, PrepareOptions,
    Sources, TeacherMerge, TeacherOptions, TeacherSources,
};

/// Turn text files into a prepared dataset.
///
/// Give a corpus and queries (with a run and qrels for the groups), or grouped text, or an MS MARCO
/// top-1000 file. Formats are told by name and first line; `.gz` and `.zst` are read too. The
/// dataset is a folder of memory-mapped Arrow files with a manifest; it appears whole or not at all.
///
/// Examples:
///   cargo xtask prepare --corpus corpus.jsonl --queries queries.jsonl \
///       --qrels qrels/train.tsv --run bm25/train.run --depth 100 --require-positive --out prepared/train
///   cargo xtask prepare --groups train.jsonl.gz --out prepared/train
///   cargo xtask prepare --top1000 top1000.dev.tsv --qrels qrels.dev.tsv --out prepared/dev
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct PrepareArgs {
    /// Documents: .jsonl (BEIR: _id, title, text), .tsv (MS MARCO: id, text) or .parquet; may be repeated
    #[arg(long, value_name = "FILE")]
    corpus: Vec<PathBuf>,

    /// Queries: .jsonl (BEIR: _id, text), .tsv (MS MARCO: id, text) or .parquet; may be repeated
    #[arg(long, value_name = "FILE")]
    queries: Vec<PathBuf>,

    /// Judgements: BEIR (with its header line) or TREC (4 columns); may be repeated
    #[arg(long, value_name = "FILE")]
    qrels: Vec<PathBuf>,

    /// First-stage run: TREC (6 columns), MS MARCO (3 columns) or .parquet; may be repeated
    #[arg(long, value_name = "FILE")]
    run: Vec<PathBuf>,

    /// Grouped text: JSON lines of query, pos, neg, pos_scores, neg_scores, or .parquet; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["corpus", "queries", "qrels", "run", "top1000"])]
    groups: Vec<PathBuf>,

    /// MS MARCO top-1000 file: query id, document id, query, document; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["corpus", "queries", "run"])]
    top1000: Vec<PathBuf>,

    /// A teacher's scores of the candidates: query, document, score; or score of the positive, of the
    /// negative, query, positive, negative; or the two scores beside --triples; or a run. May be repeated
    #[arg(long, value_name = "FILE")]
    teacher: Vec<PathBuf>,

    /// The triples that teachers' files of two columns belong to: query, positive, negative
    #[arg(long, value_name = "FILE", requires = "teacher")]
    triples: Option<PathBuf>,

    /// What several teachers' files do for one pair: the last counts, or their mean
    #[arg(long, value_name = "RULE", default_value = "last", value_parser = merge)]
    merge_teachers: TeacherMerge,

    /// What becomes of candidates without a teacher's score: refuse, keep or drop. They are counted
    #[arg(long, value_name = "RULE", default_value = "refuse", value_parser = missing)]
    missing_teacher: MissingTeacher,

    /// Folder of the prepared dataset
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,

    /// Candidates of the run per query, from the top [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    depth: Option<usize>,

    /// Leave out judged positives that are not among the candidates, instead of adding them
    #[arg(long)]
    no_added_positives: bool,

    /// Leave out queries without a positive candidate, as for training
    #[arg(long)]
    require_positive: bool,

    /// Leave out and count lines of run and qrels with unknown ids, instead of refusing them
    #[arg(long)]
    skip_unknown: bool,

    /// Keep and count documents and queries without text, instead of refusing them
    #[arg(long)]
    allow_empty: bool,

    /// Take the scores of grouped text as labels from MIN to MAX, scaled to 0..1 [default: teacher scores]
    #[arg(long, value_name = "MIN:MAX", requires = "groups", value_parser = label_range)]
    labels: Option<(f32, f32)>,

    /// Replace a dataset that is already there
    #[arg(long)]
    replace: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected an integer from 1".to_owned())
}

fn merge(text: &str) -> Result<TeacherMerge, String> {
    match text {
        "last" => Ok(TeacherMerge::Last),
        "mean" => Ok(TeacherMerge::Mean),
        _ => Err("expected last or mean".to_owned()),
    }
}

fn missing(text: &str) -> Result<MissingTeacher, String> {
    match text {
        "refuse" => Ok(MissingTeacher::Refuse),
        "keep" => Ok(MissingTeacher::Keep),
        "drop" => Ok(MissingTeacher::Drop),
        _ => Err("expected refuse, keep or drop".to_owned()),
    }
}

fn label_range(text: &str) -> Result<(f32, f32), String> {
    let (min, max) = text.split_once(':').ok_or("expected MIN:MAX, for example 0:2")?;
    let number = |text: &str| text.parse::<f32>().map_err(|_| format!("`{text}` is not a number"));
    let (min, max) = (number(min)?, number(max)?);
    if min < max { Ok((min, max)) } else { Err("MIN must be below MAX".to_owned()) }
}

/// Prepares a dataset, with a progress bar, and prints what was counted.
///
/// # Errors
/// When a source is missing or broken, ids do not match, or the output cannot be written.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub fn prepare(args: &PrepareArgs) -> anyhow::Result<()> {
    let sources = Sources {
        corpus: args.corpus.clone(),
        queries: args.queries.clone(),
        qrels: args.qrels.clone(),
        runs: args.run.clone(),
        groups: args.groups.clone(),
        top1000: args.top1000.clone(),
        teachers: TeacherSources { scores: args.teacher.clone(), triples: args.triples.clone() },
    };
    let options = PrepareOptions {
        depth: args.depth,
        add_positives: !args.no_added_positives,
        require_positive: args.require_positive,
        skip_unknown: args.skip_unknown,
        allow_empty: args.allow_empty,
        group_scores: match args.labels {
            Some((min, max)) => GroupScores::Label { min, max },
            None => GroupScores::Teacher,
        },
        teacher: TeacherOptions { merge: args.merge_teachers, missing: args.missing_teacher },
        replace: args.replace,
    };
    let style = ProgressStyle::with_template(
        "{bar:40} {bytes} of {total_bytes} ({bytes_per_sec}), {eta} left",
    )
    .context("the progress bar's template")?;
    let bar = ProgressBar::new(0).with_style(style);
    let report = tamis_data::prepare(&sources, &args.out, &options, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report.map_err(with_advice)?;
    let dataset = Dataset::open(&args.out)?;
    let bytes: u64 = dataset.manifest().files.values().map(|file| file.bytes).sum();
    print!("{report}");
    let candidates = dataset.groups().iter().flat_map(|group| group.candidates);
    println!("{}", LabelHistogram::of(candidates.filter_map(|candidate| candidate.label)));
    println!("{} in {}", HumanBytes(bytes), args.out.display());
    Ok(())
}

/// Names the flag that lets such a line pass, where there is one.
fn with_advice(error: Error) -> anyhow::Error {
    let advice = match error.kind() {
        ErrorKind::Unknown { .. } => "--skip-unknown leaves such lines out and counts them",
        ErrorKind::EmptyText { .. } => "--allow-empty keeps such texts and counts them",
        ErrorKind::Exists => "--replace replaces it",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error} ({advice})")
}
