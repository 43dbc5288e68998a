//! `cargo xtask score`: a checkpoint over pairs or groups into a teacher's scores.

mod parts;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tamis_data::format::group_jsonl::{self, GroupLine};
use tamis_data::{
    DocId, QueryId, Run, ScoredDocument, TextGroup, TruncationReport, format, output,
};
use tamis_model::checkpoint::NewHead;
use tamis_model::{OpenOptions, Precision, Reranker};

use crate::decoder::DecoderArgs;
use crate::model;
use crate::progress::{Progress, say};
pub use parts::sha256;
use parts::{Parts, Plan};
use tamis_model::device;

/// Score pairs or groups with a checkpoint, to distil from it or to rank by it.
///
/// Pairs come as lines of ids (2 to 4 columns: query, document, rank, score), as a run, or as grouped
/// text. What is done is kept in parts beside the output: the same command goes on after a kill.
///
///   cargo xtask score --model teacher --queries queries.jsonl --corpus corpus.jsonl \
///       --pairs bm25/train.run --depth 100 --out teacher.tsv
///   cargo xtask score --model teacher --groups train.jsonl --out train.scored.jsonl
///
/// For RetroMAE's distillation score its positives (train_qrels.txt) and its candidates into two
/// files; `prepare --teacher` and RetroMAE both read several, the later over the earlier.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct ScoreArgs {
    /// A checkpoint: a Hugging Face folder, or its name on the hub: ORG/NAME, ORG/NAME@REVISION
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,

    /// Queries: .jsonl (BEIR), .tsv (MS MARCO) or .parquet
    #[arg(long, value_name = "FILE", requires = "pairs")]
    queries: Option<PathBuf>,

    /// Documents, in the same formats; may be repeated
    #[arg(long, value_name = "FILE", requires = "pairs")]
    corpus: Vec<PathBuf>,

    /// Which pairs: lines of 2 to 4 columns, a TREC run or .parquet
    #[arg(long, value_name = "FILE", requires_all = ["queries", "corpus"], conflicts_with = "groups")]
    pairs: Option<PathBuf>,

    /// Grouped text: JSON lines of query, pos, neg, or .parquet; scores that it has are replaced
    #[arg(long, value_name = "FILE", required_unless_present = "pairs")]
    groups: Option<PathBuf>,

    /// Only pairs whose rank is at most this
    #[arg(long, value_name = "N")]
    depth: Option<u32>,

    /// The longest row in tokens [default: the checkpoint's]
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,

    /// The numbers that linear maps multiply: f32, bf16 or int8
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,

    #[command(flatten)]
    decoder: DecoderArgs,

    /// Draw a head from this seed where the checkpoint has none
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "0")]
    new_head: Option<u64>,

    /// Queries of one part: what a kill loses at most
    #[arg(long, value_name = "N", default_value_t = 32)]
    part: usize,

    /// Where to: pairs as .tsv (query, document, score), .parquet or .run (TREC); groups as .jsonl or
    /// .parquet. Text is compressed when .gz or .zst follows
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Where to compute: cpu, cuda, cuda:1, wgpu or wgpu:1
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Tsv,
    Trec,
    JsonLines,
    Parquet,
}

impl Layout {
    fn of(path: &Path, is_groups: bool) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
        let is_compressed = plain.is_some();
        let extension = plain.unwrap_or(&name).rsplit_once('.').map(|(_, extension)| extension);
        match (extension, is_groups) {
            (Some("parquet"), _) if !is_compressed => Ok(Self::Parquet),
            (Some("tsv" | "txt"), false) => Ok(Self::Tsv),
            (Some("run" | "trec"), false) => Ok(Self::Trec),
            (Some("jsonl" | "json"), true) => Ok(Self::JsonLines),
            (_, true) => bail!("{name}: expected .jsonl or .parquet for groups"),
            (_, false) => bail!("{name}: expected .tsv, .run or .parquet for pairs"),
        }
    }
}

pub fn score(args: &ScoreArgs) -> Result<()> {
    ensure!(args.part > 0, "--part: expected at least 1, found `0`");
    ensure!(!args.out.exists(), "{}: already exists; remove it first", args.out.display());
    let layout = Layout::of(&args.out, args.groups.is_some())?;
    let directory = model::locate(&args.model)?;
    let mut scorer = Scorer::open(args, &directory)?;
    match (&args.pairs, &args.groups) {
        (Some(pairs), _) => scorer.pairs(args, pairs, &directory, layout)?,
        (None, Some(groups)) => scorer.groups(args, groups, &directory, layout)?,
        (None, None) => bail!("expected --pairs or --groups"),
    }
    scorer.tell();
    say(&format!("wrote {}", args.out.display()));
    Ok(())
}

/// A checkpoint and what it has done.
struct Scorer {
    reranker: Reranker,
    report: TruncationReport,
    n_scored: usize,
    start: Instant,
}

impl Scorer {
    fn open(args: &ScoreArgs, directory: &Path) -> Result<Self> {
        let new_head = args.new_head.map(|seed| NewHead { seed });
        let options = OpenOptions { precision: args.precision, new_head };
        let mut reranker = Reranker::open_with(directory, &device(&args.device)?, options)?;
        if let Some(max_length) = args.max_length {
            let mut settings = reranker.settings().clone();
            settings.query_max_length = settings.query_max_length.min(max_length / 2);
            settings.max_length = max_length;
            reranker = reranker.with_settings(settings)?;
        }
        let reranker = args.decoder.apply(reranker)?;
        let report = TruncationReport::default();
        Ok(Self { reranker, report, n_scored: 0, start: Instant::now() })
    }

    fn score(&mut self, groups: &[TextGroup<'_>]) -> Result<Vec<Vec<f32>>> {
        let (scores, cut) = self.reranker.score(groups)?;
        self.report.merge(&cut);
        self.n_scored += scores.iter().map(Vec::len).sum::<usize>();
        Ok(scores)
    }

    /// Lets `make` fill every part that is missing.
    fn fill(
        &mut self,
        parts: &Parts,
        n_parts: usize,
        mut make: impl FnMut(&mut Self, usize) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let missing = parts.missing();
        let done = n_parts - missing.len();
        if done > 0 {
            say(&format!("going on: {done} of {n_parts} parts are done"));
        }
        let mut progress = Progress::new("scoring", "parts", done as u64, n_parts as u64);
        self.start = Instant::now();
        for (index, part) in missing.into_iter().enumerate() {
            let text = make(self, part)?;
            parts.write(part, &text)?;
            let rate = self.n_scored as f64 / self.start.elapsed().as_secs_f64();
            progress.set((done + index + 1) as u64, &format!("{rate:.0} pairs/s"));
        }
        progress.finish();
        Ok(())
    }

    fn pairs(
        &mut self,
        args: &ScoreArgs,
        pairs: &Path,
        directory: &Path,
        layout: Layout,
    ) -> Result<()> {
        let run = read_pairs(pairs, args.depth)?;
        let path = args.queries.as_deref().context("--queries is needed")?;
        let queries = format::read_queries(path)?;
        let corpus: Vec<&Path> = args.corpus.iter().map(PathBuf::as_path).collect();
        let documents = format::read_documents_of_run(&corpus, &run)?;
        let entries: Vec<(&QueryId, &[ScoredDocument])> = run.iter().collect();
        let chunks: Vec<_> = entries.chunks(args.part).collect();
        let inputs = [pairs, path].into_iter().chain(corpus);
        let parts = Parts::open(&args.out, &plan(args, directory, inputs, chunks.len())?)?;
        self.fill(&parts, chunks.len(), |scorer, part| {
            let groups = chunks[part]
                .iter()
                .map(|(query, candidates)| {
                    let text = queries.get(query.as_str());
                    let query = text
                        .with_context(|| format!("{}: unknown query `{query}`", pairs.display()))?;
                    let text = |c: &ScoredDocument| documents[c.document.as_str()].as_str();
                    Ok(TextGroup { query, documents: candidates.iter().map(text).collect() })
                })
                .collect::<Result<Vec<_>>>()?;
            let scores = scorer.score(&groups)?;
            let mut text = String::new();
            for ((query, candidates), scores) in chunks[part].iter().zip(scores) {
                for (candidate, score) in candidates.iter().zip(scores) {
                    writeln!(text, "{query}\t{}\t{score}", candidate.document)?;
                }
            }
            Ok(text.into_bytes())
        })?;
        match layout {
            Layout::Tsv => output::write_file(&args.out, |out| parts.copy_to(out))?,
            _ => {
                let run = scored_run(&parts)?;
                let mut bytes = Vec::new();
                match layout {
                    Layout::Parquet => format::parquet::write_run(&run, &mut bytes)?,
                    _ => format::trec::write_run(&run, &mut bytes)?,
                }
                output::write_file(&args.out, |out| out.write_all(&bytes))?;
            }
        }
        parts.remove()
    }

    fn groups(
        &mut self,
        args: &ScoreArgs,
        path: &Path,
        directory: &Path,
        layout: Layout,
    ) -> Result<()> {
        let mut groups = Vec::new();
        format::read_groups(path, |group| {
            groups.push(group);
            Ok(())
        })?;
        ensure!(!groups.is_empty(), "{}: expected at least one group", path.display());
        let chunks: Vec<&[GroupLine]> = groups.chunks(args.part).collect();
        let inputs = [path].into_iter();
        let parts = Parts::open(&args.out, &plan(args, directory, inputs, chunks.len())?)?;
        self.fill(&parts, chunks.len(), |scorer, part| {
            let texts: Vec<TextGroup<'_>> = chunks[part]
                .iter()
                .map(|group| {
                    let all = group.positives.iter().chain(&group.negatives);
                    TextGroup { query: &group.query, documents: all.map(String::as_str).collect() }
                })
                .collect();
            let scores = scorer.score(&texts)?;
            let mut text = Vec::new();
            for (group, mut scores) in chunks[part].iter().zip(scores) {
                let negative_scores = scores.split_off(group.positives.len());
                let scored = GroupLine {
                    positive_scores: Some(scores),
                    negative_scores: (!negative_scores.is_empty()).then_some(negative_scores),
                    ..group.clone()
                };
                group_jsonl::write_group(&scored, &mut text)?;
            }
            Ok(text)
        })?;
        match layout {
            Layout::Parquet => {
                let mut groups = Vec::new();
                for part in parts.paths() {
                    group_jsonl::read_groups(&part, |group| {
                        groups.push(group);
                        Ok(())
                    })?;
                }
                let mut bytes = Vec::new();
                format::parquet::write_groups(&groups, &mut bytes)?;
                output::write_file(&args.out, |out| out.write_all(&bytes))?;
            }
            _ => output::write_file(&args.out, |out| parts.copy_to(out))?,
        }
        parts.remove()
    }

    fn tell(&self) {
        let seconds = self.start.elapsed().as_secs_f64();
        say(&format!(
            "scored {} pairs in {seconds:.1} s ({:.0} pairs/s); {} rows were cut to {} tokens, {} \
             queries to {}",
            self.n_scored,
            self.n_scored as f64 / seconds,
            self.report.truncated_rows,
            self.reranker.settings().max_length,
            self.report.truncated_queries,
            self.reranker.settings().query_max_length,
        ));
    }
}

/// Which pairs to score, by query.
fn read_pairs(path: &Path, depth: Option<u32>) -> Result<Run> {
    let is_parquet = path.extension().is_some_and(|extension| extension == "parquet");
    let mut lines = format::lines::Lines::open(path)?;
    let mut is_run = is_parquet;
    while !is_parquet && let Some(line) = lines.next()? {
        if !line.trim().is_empty() {
            is_run = line.split_ascii_whitespace().count() == 6;
            break;
        }
    }
    if !is_run {
        return Ok(format::read_test_pairs(path, depth)?);
    }
    let run = format::read_run(path)?;
    let mut top = Run::new(run.tag());
    let depth = depth.map_or(usize::MAX, |depth| depth as usize);
    for (query, candidates) in run.iter() {
        top.insert(query.clone(), candidates[..depth.min(candidates.len())].to_vec())?;
    }
    Ok(top)
}

/// All parts as one run.
fn scored_run(parts: &Parts) -> Result<Run> {
    let mut run = Run::new("tamis");
    for path in parts.paths() {
        let mut queries: Vec<(QueryId, Vec<ScoredDocument>)> = Vec::new();
        format::read_scored_pairs(&path, None, |query, document, score| {
            let document = ScoredDocument { document: DocId::new(document)?, score };
            match queries.last_mut() {
                Some((last, candidates)) if last.as_str() == query => candidates.push(document),
                _ => queries.push((QueryId::new(query)?, vec![document])),
            }
            Ok(())
        })?;
        for (query, candidates) in queries {
            run.insert(query, candidates)?;
        }
    }
    Ok(run)
}

/// Everything that a score depends on.
fn plan<'a>(
    args: &ScoreArgs,
    directory: &Path,
    inputs: impl Iterator<Item = &'a Path>,
    n_parts: usize,
) -> Result<Plan> {
    let mut hashes = Vec::new();
    for path in inputs {
        hashes.push((path.display().to_string(), sha256(path)?));
    }
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| directory.display().to_string())?;
    names.retain(|path| {
        path.extension().is_some_and(|extension| extension == "json" || extension == "safetensors")
    });
    names.sort();
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hashes.push((format!("model: {name}"), sha256(&path)?));
    }
    let settings = format!(
        "precision {}, max_length {:?}, depth {:?}, new_head {:?}, part {}, {}",
        args.precision,
        args.max_length,
        args.depth,
        args.new_head,
        args.part,
        args.decoder.describe()?
    );
    Ok(Plan { inputs: hashes, settings, n_parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_say_what_is_written() {
        let of = |name: &str, is_groups| Layout::of(Path::new(name), is_groups).ok();
        assert_eq!(of("a.tsv.gz", false), Some(Layout::Tsv));
        assert_eq!(of("a.run", false), Some(Layout::Trec));
        assert_eq!(of("a.parquet", true), Some(Layout::Parquet));
        assert_eq!(of("a.jsonl.zst", true), Some(Layout::JsonLines));
        for (name, is_groups) in [("a.parquet.gz", false), ("a.jsonl", false), ("a.tsv", true)] {
            assert_eq!(of(name, is_groups), None, "{name}");
        }
    }

    #[test]
    fn pairs_come_in_every_form() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str, depth| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let run = read_pairs(&path, depth).unwrap();
            run.iter()
                .flat_map(|(q, all)| all.iter().map(move |c| format!("{q} {}", c.document)))
                .collect::<Vec<_>>()
        };
        assert_eq!(read("two", "q b\nq a\n", None), ["q b", "q a"]);
        assert_eq!(read("three", "q b 2\nq a 1\n", Some(1)), ["q a"]);
        let trec = "q Q0 b 1 9 t\nq Q0 a 2 8 t\n";
        assert_eq!(read("six", trec, Some(1)), ["q b"]);
    }
}
