//! `cargo xtask mine`: a run, or BM25, into hard negatives to train on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tamis_data::bm25::{Bm25, Bm25Options};
use tamis_data::format::group_jsonl::{self, GroupLine};
use tamis_data::mine::{MineOptions, MineQuery, MineReport, Pick, Rule, select};
use tamis_data::{DocId, QueryId, Run, ScoredDocument, TextGroup, format, output};
use tamis_model::{Precision, Reranker};

use crate::model;
use crate::progress::{Progress, say};
use tamis_model::device;

/// Queries that are scored in one call, between two signs of life.
const QUERIES_PER_CALL: usize = 8;

/// Mine hard negatives: documents that the first stage ranks high and nobody judged to be right.
///
/// Without a run BM25 searches the corpus. With a model, a cross-encoder scores positives and
/// candidates, and the rules about scores hold for its scores: what it puts as high as a positive is
/// probably one that nobody judged, and is left out.
///
///   cargo xtask mine --queries queries.jsonl --corpus corpus.jsonl --qrels qrels/train.tsv \
///       --run bm25/train.run --ranks 5:100 --n 10 --pick random --out train.jsonl
///   cargo xtask mine ... --model runs/medquad/checkpoint --relative-margin 0.05 --out train.jsonl
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct MineArgs {
    /// Queries: .jsonl (BEIR), .tsv (MS MARCO) or .parquet
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,

    /// Documents, in the same formats; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    corpus: Vec<PathBuf>,

    /// Judgements: which documents are positives
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,

    /// The run that proposes candidates [default: BM25 over the corpus]
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,

    /// Ranks that are taken from, from 1, both included
    #[arg(long, value_name = "FIRST:LAST", default_value = "1:200", value_parser = ranks)]
    ranks: (usize, usize),

    /// Candidates with a lower score are left out
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    min_score: Option<f64>,

    /// Candidates with a higher score are left out
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    max_score: Option<f64>,

    /// A negative's score is at most the lowest positive's minus this
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    margin: Option<f64>,

    /// A negative's score is at most the lowest positive's times one minus this
    #[arg(long, value_name = "PART")]
    relative_margin: Option<f64>,

    /// Negatives per query, at most
    #[arg(short, long, default_value_t = 10)]
    n: usize,

    /// Which of those that pass: the top ones, or a random draw
    #[arg(long, value_enum, default_value_t = PickName::Top)]
    pick: PickName,

    /// Where randomness comes from
    #[arg(long, default_value_t = 42)]
    seed: u64,

    /// A cross-encoder that scores positives and candidates anew: a folder or a name on the hub.
    /// Its scores are taken through the sigmoid, from 0 to 1
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,

    /// In which numbers it multiplies
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,

    /// Where it computes: cpu, cuda, cuda:1, wgpu or wgpu:1
    #[arg(long, default_value = "cpu")]
    device: String,

    /// Dropped candidates that are shown
    #[arg(long, default_value_t = 5)]
    examples: usize,

    /// Also keep queries for which nothing was found; otherwise they are counted and left out
    #[arg(long)]
    keep_empty: bool,

    /// What to write: groups (JSON lines of query, pos, neg and, with a model, their scores), ids
    /// (query, then negatives with commas between: RetroMAE's), or run (TREC)
    #[arg(long, value_enum, default_value_t = Format::Groups)]
    format: Format,

    /// Where to, compressed when it ends in .gz or .zst
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PickName {
    Top,
    Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Groups,
    Ids,
    Run,
}

fn ranks(text: &str) -> Result<(usize, usize), String> {
    let problem = || format!("expected FIRST:LAST with ranks from 1, found `{text}`");
    let (first, last) = text.split_once(':').ok_or_else(problem)?;
    let range = (first.parse().map_err(|_| problem())?, last.parse().map_err(|_| problem())?);
    if range.0 == 0 || range.1 < range.0 { Err(problem()) } else { Ok(range) }
}

/// A query with its positives and what was proposed for it.
struct Job {
    query: QueryId,
    text: String,
    positives: Vec<DocId>,
    candidates: Vec<ScoredDocument>,
}

/// A query with what was mined for it.
struct Mined<'a> {
    job: &'a Job,
    negatives: Vec<ScoredDocument>,
    /// Scores of the positives, where a cross-encoder gave them.
    positive_scores: Option<Vec<f64>>,
}

pub fn mine(args: &MineArgs) -> Result<()> {
    let jobs = jobs(args)?;
    let documents = documents(args, &jobs)?;
    let reranker = match &args.model {
        None => None,
        Some(model) => {
            let directory = model::locate(model)?;
            Some(Reranker::open_at(&directory, &device(&args.device)?, args.precision)?)
        }
    };
    let options = MineOptions {
        ranks: args.ranks,
        min_score: args.min_score,
        max_score: args.max_score,
        margin: args.margin,
        relative_margin: args.relative_margin,
        n_negatives: args.n,
        pick: match args.pick {
            PickName::Top => Pick::Top,
            PickName::Random => Pick::Random,
        },
        seed: args.seed,
        n_examples: args.examples,
    };
    let mut report = MineReport::default();
    let mut mined = Vec::new();
    let mut progress = Progress::new("mining", "queries", 0, jobs.len() as u64);
    for (place, jobs) in jobs.chunks(QUERIES_PER_CALL).enumerate() {
        let scored = match &reranker {
            None => None,
            Some(reranker) => Some(rescore(reranker, jobs, &documents)?),
        };
        for (index, job) in jobs.iter().enumerate() {
            let scores = scored.as_ref().map(|scored| &scored[index]);
            let found = mine_one(job, scores, &options, &mut report)?;
            if !found.negatives.is_empty() || args.keep_empty {
                mined.push(found);
            }
        }
        progress.set((place * QUERIES_PER_CALL + jobs.len()) as u64, "");
    }
    progress.finish();
    write(args, &mined, &documents)?;
    tell(&report, &jobs, &documents);
    say(&format!("wrote {} queries to {}", mined.len(), args.out.display()));
    Ok(())
}

/// The judged queries with their positives and candidates, in the order of the queries' file.
fn jobs(args: &MineArgs) -> Result<Vec<Job>> {
    let queries = format::read_queries(&args.queries)?;
    let qrels = format::read_qrels(&args.qrels)?;
    let judged: Vec<(&QueryId, &String, Vec<DocId>)> = queries
        .iter()
        .filter_map(|(id, text)| {
            let judged = qrels.query(id.as_str())?;
            let positives: Vec<DocId> = judged
                .iter()
                .filter(|&(_, &relevance)| relevance > 0)
                .map(|(document, _)| document.clone())
                .collect();
            (!positives.is_empty()).then_some((id, text, positives))
        })
        .collect();
    ensure!(
        !judged.is_empty(),
        "{}: expected positives of queries in {}, found none",
        args.qrels.display(),
        args.queries.display()
    );
    let run = match &args.run {
        Some(path) => format::read_run(path)?,
        None => {
            say("BM25 over the corpus");
            let mut documents = Vec::new();
            for path in &args.corpus {
                format::read_documents(path, |id, text| {
                    documents.push((DocId::new(id)?, text.to_owned()));
                    Ok(())
                })?;
            }
            let index = Bm25::in_ram(documents.into_iter().map(Ok), Bm25Options::default())?;
            let texts: Vec<(QueryId, &str)> =
                judged.iter().map(|(id, text, _)| ((*id).clone(), text.as_str())).collect();
            index.run(&texts, args.ranks.1, "bm25")?
        }
    };
    let n_judged = judged.len();
    let jobs: Vec<Job> = judged
        .into_iter()
        .filter_map(|(id, text, positives)| {
            let candidates = run.query(id.as_str())?;
            let candidates = candidates[..args.ranks.1.min(candidates.len())].to_vec();
            Some(Job { query: id.clone(), text: text.clone(), positives, candidates })
        })
        .collect();
    say(&format!(
        "{} of {} queries have positives, {} of them candidates",
        n_judged,
        queries.len(),
        jobs.len()
    ));
    Ok(jobs)
}

/// The texts of all positives and candidates.
fn documents(args: &MineArgs, jobs: &[Job]) -> Result<BTreeMap<DocId, String>> {
    let mut wanted = Run::new("wanted");
    for job in jobs {
        let mut ids: Vec<&DocId> = job.candidates.iter().map(|c| &c.document).collect();
        ids.extend(&job.positives);
        ids.sort_unstable();
        ids.dedup();
        let all = ids.into_iter().cloned().map(|document| ScoredDocument { document, score: 0.0 });
        wanted.insert(job.query.clone(), all.collect())?;
    }
    let corpus: Vec<&Path> = args.corpus.iter().map(PathBuf::as_path).collect();
    Ok(format::read_documents_of_run(&corpus, &wanted)?)
}

/// Scores of a query's positives and of its candidates.
struct Scored {
    positives: Vec<f64>,
    candidates: Vec<f64>,
}

fn rescore(
    reranker: &Reranker,
    jobs: &[Job],
    documents: &BTreeMap<DocId, String>,
) -> Result<Vec<Scored>> {
    let text = |id: &DocId| documents[id.as_str()].as_str();
    let groups: Vec<TextGroup<'_>> = jobs
        .iter()
        .map(|job| {
            let candidates = job.candidates.iter().map(|candidate| &candidate.document);
            let documents = job.positives.iter().chain(candidates).map(text).collect();
            TextGroup { query: &job.text, documents }
        })
        .collect();
    let (scores, _) = reranker.score(&groups)?;
    let sigmoid = |score: f32| 1.0 / (1.0 + f64::from(-score).exp());
    Ok(jobs
        .iter()
        .zip(scores)
        .map(|(job, scores)| {
            let mut scores: Vec<f64> = scores.into_iter().map(sigmoid).collect();
            let candidates = scores.split_off(job.positives.len());
            Scored { positives: scores, candidates }
        })
        .collect())
}

fn mine_one<'a>(
    job: &'a Job,
    scored: Option<&Scored>,
    options: &MineOptions,
    report: &mut MineReport,
) -> Result<Mined<'a>> {
    let is_positive = |id: &str| job.positives.iter().any(|positive| positive.as_str() == id);
    let of_run: Vec<f64> = job
        .candidates
        .iter()
        .filter(|candidate| is_positive(candidate.document.as_str()))
        .map(|candidate| candidate.score)
        .collect();
    let query = MineQuery {
        id: job.query.as_str(),
        candidates: &job.candidates,
        scores: scored.map(|scored| scored.candidates.as_slice()),
        positive_scores: scored.map_or(&of_run, |scored| &scored.positives),
    };
    let places = select(query, is_positive, options, report)?;
    let negatives = places
        .into_iter()
        .map(|place| {
            let candidate = job.candidates[place].clone();
            let score = scored.map_or(candidate.score, |scored| scored.candidates[place]);
            ScoredDocument { score, ..candidate }
        })
        .collect();
    Ok(Mined { job, negatives, positive_scores: scored.map(|scored| scored.positives.clone()) })
}

fn write(args: &MineArgs, mined: &[Mined<'_>], documents: &BTreeMap<DocId, String>) -> Result<()> {
    match args.format {
        Format::Groups => output::write_file(&args.out, |out| {
            for found in mined {
                group_jsonl::write_group(&group(found, documents), out)?;
            }
            Ok(())
        })?,
        Format::Ids => output::write_file(&args.out, |out| {
            for Mined { job, negatives, .. } in mined {
                let ids: Vec<&str> = negatives.iter().map(|n| n.document.as_str()).collect();
                writeln!(out, "{}\t{}", job.query, ids.join(","))?;
            }
            Ok(())
        })?,
        Format::Run => {
            let mut run = Run::new("negatives");
            for Mined { job, negatives, .. } in mined {
                run.insert(job.query.clone(), negatives.clone())?;
            }
            output::write_file(&args.out, |out| format::trec::write_run(&run, out))?;
        }
    }
    Ok(())
}

fn group(found: &Mined<'_>, documents: &BTreeMap<DocId, String>) -> GroupLine {
    let text = |id: &DocId| documents[id.as_str()].clone();
    let numbers = |scores: Vec<f64>| scores.into_iter().map(|score| score as f32).collect();
    let negative_scores = found.negatives.iter().map(|negative| negative.score).collect();
    GroupLine {
        query: found.job.text.clone(),
        positives: found.job.positives.iter().map(text).collect(),
        negatives: found.negatives.iter().map(|negative| text(&negative.document)).collect(),
        // The scores of two measures would be no teacher's: only a cross-encoder scores both.
        negative_scores: found.positive_scores.is_some().then(|| numbers(negative_scores)),
        positive_scores: found.positive_scores.clone().map(numbers),
    }
}

/// Prints what was counted, and some of what was dropped.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
fn tell(report: &MineReport, jobs: &[Job], documents: &BTreeMap<DocId, String>) {
    print!("{report}");
    let texts: BTreeMap<&str, &str> =
        jobs.iter().map(|job| (job.query.as_str(), job.text.as_str())).collect();
    for example in &report.examples {
        let why = match (example.rule, example.reference) {
            (Rule::MaxScore, _) | (_, None) => "above the greatest score".to_owned(),
            (_, Some(reference)) => format!("the positive has {reference:.4}"),
        };
        println!("\ndropped {:.4} ({why})", example.score);
        println!("  query {}: {}", example.query, start(texts[example.query.as_str()]));
        let document = &documents[example.document.as_str()];
        println!("  document {}: {}", example.document, start(document));
    }
}

/// The first words of a text.
fn start(text: &str) -> String {
    const MOST: usize = 150;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_a_range_from_one() {
        assert_eq!(ranks("5:100"), Ok((5, 100)));
        for bad in ["0:5", "7:3", "5", "a:b"] {
            assert!(ranks(bad).unwrap_err().contains(&format!("found `{bad}`")));
        }
    }

    #[test]
    fn a_corpus_and_judgements_become_groups() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let args = |format, pick| MineArgs {
            queries: file("q.tsv", "q1\tred apple\nq2\tgreen pear\nq3\tnobody judged\n"),
            corpus: vec![file(
                "c.tsv",
                "a\tred apple pie\nb\tred apple tart\nc\tgreen pear cake\nd\tapple\ne\tpear red\n",
            )],
            qrels: file("qrels", "q1 0 a 1\nq2 0 c 2\nq2 0 e 0\n"),
            run: None,
            ranks: (1, 10),
            min_score: None,
            max_score: None,
            margin: None,
            relative_margin: None,
            n: 2,
            pick,
            seed: 1,
            model: None,
            precision: Precision::F32,
            device: "cpu".to_owned(),
            examples: 3,
            keep_empty: false,
            format,
            out: folder.path().join("out"),
        };
        let written = |args: &MineArgs| {
            mine(args).unwrap();
            std::fs::read_to_string(&args.out).unwrap()
        };
        let ids = written(&args(Format::Ids, PickName::Top));
        // BM25 prefers b to d for `red apple`; e is judged, and judged wrong.
        assert_eq!(ids, "q1\tb,d\nq2\te\n");
        let groups = written(&args(Format::Groups, PickName::Top));
        let first = groups.lines().next().unwrap();
        let line: serde_json::Value = serde_json::from_str(first).unwrap();
        assert_eq!(line["pos"], serde_json::json!(["red apple pie"]));
        assert_eq!(line["neg"], serde_json::json!(["red apple tart", "apple"]));
        let run = written(&args(Format::Run, PickName::Random));
        assert!(run.lines().all(|line| !line.contains(" a ") && !line.contains(" c ")), "{run}");
        assert_eq!(run, written(&args(Format::Run, PickName::Random)));
    }
}
