//! `cargo xtask rerank`: a first stage's run into a reranked run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use tamis_data::term_store::TermStore;
use tamis_data::{
    DocId, QueryId, Run, ScoredDocument, TextGroup, TruncationReport, format, output,
};
use tamis_model::checkpoint::NewHead;
use tamis_model::{
    LongDocuments, OpenOptions, Precision, Reranker, TermCandidate, TermGroup, WindowPooling,
};

use crate::decoder::DecoderArgs;
use crate::model;
use crate::progress::{Progress, say};
use tamis_model::device;

/// Queries that are scored in one call, between two signs of life.
const QUERIES_PER_CALL: usize = 8;

/// Memory for documents that are computed because a store lacks them.
const CACHE_BYTES: usize = 256 << 20;

/// Rerank the candidates of a run with a trained model.
///
///   cargo xtask rerank --model runs/medquad/checkpoint --queries queries.jsonl \
///       --corpus corpus.jsonl --run bm25/test.run --depth 100 --out reranked.run
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct RerankArgs {
    /// A checkpoint: a Hugging Face folder, or its name on the hub: ORG/NAME, ORG/NAME@REVISION
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,

    /// Queries: .jsonl (BEIR), .tsv (MS MARCO) or .parquet
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,

    /// Documents, in the same formats; may be repeated
    #[arg(long, value_name = "FILE", required_unless_present = "terms")]
    corpus: Vec<PathBuf>,

    /// A store of documents that `index` made with this model. Those that it lacks are computed from the
    /// corpus, if one is given
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["max_length", "window"])]
    terms: Option<PathBuf>,

    /// The first stage's run
    #[arg(long, value_name = "FILE")]
    run: PathBuf,

    /// Candidates per query that are reranked; those below are left out of the result
    #[arg(long, default_value_t = 100)]
    depth: usize,

    /// The longest row in tokens [default: the checkpoint's]
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,

    /// What becomes of documents that do not fit: the first window alone (what is beyond is cut and
    /// counted); the max, mean, sum or top3-mean of the scores of all windows; pieces-mean of as few equal
    /// pieces as fit; or chunk-max or chunk-mean of windows whose cores follow each other
    #[arg(long, value_name = "POOLING", default_value_t)]
    long_documents: WindowPooling,

    /// Tokens of a window [default: as many as fit]
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,

    /// Tokens that neighbouring windows share; of chunks, those around the core at either side
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    overlap: usize,

    /// The numbers that linear maps multiply: f32, bf16 (on devices that compute in it) or int8 (CPU
    /// only). Coarser ones are faster, and their scores drift a little
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,

    #[command(flatten)]
    decoder: DecoderArgs,

    /// Draw a head from this seed where the checkpoint has none: untrained, its order means nothing
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "0")]
    new_head: Option<u64>,

    /// The last column of the result
    #[arg(long, default_value = "tamis")]
    tag: String,

    /// The reranked run, in TREC's format
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Where to compute: cpu, cuda, cuda:1, wgpu or wgpu:1
    #[arg(long, default_value = "cpu")]
    device: String,
}

pub fn rerank(args: &RerankArgs) -> Result<()> {
    let directory = model::locate(&args.model)?;
    let device = device(&args.device)?;
    let new_head = args.new_head.map(|seed| NewHead { seed });
    let options = OpenOptions { precision: args.precision, new_head };
    let mut reranker = Reranker::open_with(&directory, &device, options)?;
    if let Some(max_length) = args.max_length {
        let mut settings = reranker.settings().clone();
        settings.query_max_length = settings.query_max_length.min(max_length / 2);
        settings.max_length = max_length;
        reranker = reranker.with_settings(settings)?;
    }
    reranker = args.decoder.apply(reranker)?;
    reranker = reranker.with_long_documents(LongDocuments {
        pooling: args.long_documents,
        window: args.window,
        overlap: args.overlap,
    })?;
    if let Some(path) = &args.terms {
        let store = TermStore::open_for(path, &reranker.term_identity()?)?;
        reranker = reranker.with_terms(Arc::new(store), CACHE_BYTES)?;
    }
    let files = Files { queries: &args.queries, corpus: &args.corpus, run: &args.run };
    let run = rerank_files(&reranker, &files, args.depth, &args.tag)?;
    output::write_file(&args.out, |out| format::trec::write_run(&run, out))?;
    say(&format!("wrote {}", args.out.display()));
    Ok(())
}

/// What is reranked.
pub struct Files<'a> {
    pub queries: &'a Path,
    pub corpus: &'a [PathBuf],
    pub run: &'a Path,
}

/// Scores the top of a run, and says how long it took and what was cut.
pub fn rerank_files(
    reranker: &Reranker,
    files: &Files<'_>,
    depth: usize,
    tag: &str,
) -> Result<Run> {
    let first = top(&format::read_run(files.run)?, depth)?;
    let queries = format::read_queries(files.queries)?;
    let corpus: Vec<&Path> = files.corpus.iter().map(PathBuf::as_path).collect();
    let documents = if corpus.is_empty() {
        BTreeMap::new()
    } else {
        format::read_documents_of_run(&corpus, &first)?
    };

    let mut run = Run::new(tag);
    let mut report = TruncationReport::default();
    let mut progress = Progress::new("reranking", "pairs", 0, first.n_candidates() as u64);
    let start = Instant::now();
    let mut n_scored = 0;
    let entries: Vec<(&QueryId, &[ScoredDocument])> = first.iter().collect();
    for entries in entries.chunks(QUERIES_PER_CALL) {
        let text = |query: &QueryId| {
            queries
                .get(query.as_str())
                .map(String::as_str)
                .with_context(|| format!("{}: unknown query `{query}`", files.run.display()))
        };
        let (scores, cut) = match reranker.terms() {
            None => {
                let groups = entries.iter().map(|&(query, candidates)| {
                    let document = |id: &DocId| documents[id.as_str()].as_str();
                    let documents = candidates.iter().map(|c| document(&c.document)).collect();
                    Ok(TextGroup { query: text(query)?, documents })
                });
                reranker.score(&groups.collect::<Result<Vec<_>>>()?)?
            }
            Some(store) => {
                let groups = entries.iter().map(|&(query, candidates)| {
                    let documents = candidates
                        .iter()
                        .map(|c| term_candidate(store, &documents, &c.document))
                        .collect::<Result<_>>()?;
                    Ok(TermGroup { query: text(query)?, documents })
                });
                reranker.score_terms(&groups.collect::<Result<Vec<_>>>()?)?
            }
        };
        report.merge(&cut);
        for ((query, candidates), scores) in entries.iter().zip(scores) {
            n_scored += candidates.len();
            let scored = candidates
                .iter()
                .zip(scores)
                .map(|(c, score)| ScoredDocument {
                    document: c.document.clone(),
                    score: f64::from(score),
                })
                .collect();
            run.insert((*query).clone(), scored)?;
        }
        let rate = n_scored as f64 / start.elapsed().as_secs_f64();
        progress.set(n_scored as u64, &format!("{rate:.0} pairs/s"));
    }
    progress.finish();
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "scored {n_scored} pairs in {seconds:.1} s ({:.0} pairs/s); {} rows were cut to {} tokens, \
         {} queries to {}",
        n_scored as f64 / seconds,
        report.truncated_rows,
        reranker.settings().max_length,
        report.truncated_queries,
        reranker.settings().query_max_length,
    ));
    Ok(run)
}

/// A document of the store, or the text of one that it lacks.
fn term_candidate<'a>(
    store: &TermStore,
    documents: &'a BTreeMap<DocId, String>,
    id: &'a DocId,
) -> Result<TermCandidate<'a>> {
    match documents.get(id.as_str()) {
        Some(text) if store.get(id.as_str())?.is_none() => Ok(TermCandidate::Text(text)),
        _ => Ok(TermCandidate::Id(id.as_str())),
    }
}

/// The best `depth` candidates of every query.
fn top(run: &Run, depth: usize) -> Result<Run> {
    let mut top = Run::new(run.tag());
    for (query, candidates) in run.iter() {
        top.insert(query.clone(), candidates[..depth.min(candidates.len())].to_vec())?;
    }
    Ok(top)
}
