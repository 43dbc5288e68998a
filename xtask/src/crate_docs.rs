//! Documentation comments of the crates in the lock file into a retrieval collection: the default dataset.
//!
//! The summary sentence of an item asks; its name, signature and the rest of its documentation answer.
//! The crates lie on any machine that has built the workspace, so that nothing is fetched or committed.

mod collect;
mod files;
mod item;
mod markdown;
mod sources;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tamis_data::bm25::{Analyzer, Bm25, Bm25Options};
use tamis_data::{DocId, QueryId, Run};

use collect::{Collection, Entry};

/// What may be set; the defaults fit a build, a training of 8 minutes and a table on two cores.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// How many candidates BM25 proposes per query.
    pub(crate) depth: usize,
    /// The most documents of one family of crates (`arrow`, `arrow-array`, … are one).
    pub(crate) max_documents_per_family: usize,
    /// The most queries of one family.
    pub(crate) max_queries_per_family: usize,
    /// The most queries of the train split.
    pub(crate) max_train_queries: usize,
    /// The most queries of the dev split.
    pub(crate) max_dev_queries: usize,
    /// The most queries of the test split.
    pub(crate) max_test_queries: usize,
    /// The most characters of a document.
    pub(crate) max_characters: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            depth: 50,
            max_documents_per_family: 1500,
            max_queries_per_family: 400,
            max_train_queries: 20_000,
            max_dev_queries: 300,
            max_test_queries: 1000,
            max_characters: 1200,
        }
    }
}

/// What was built, or found built.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Statistics {
    /// Crates whose source was read.
    pub(crate) crates: usize,
    /// Crates of the lock file whose source is not on this machine.
    pub(crate) crates_without_source: usize,
    /// Source files read.
    pub(crate) files: usize,
    /// Source files that are not UTF-8 or that `syn` does not understand.
    pub(crate) files_not_parsed: usize,
    /// Documented public items.
    pub(crate) items: usize,
    /// Items left out because another has the same text.
    pub(crate) duplicate_items: usize,
    /// Items whose summary is not a query: shared with another item, too short, or too long.
    pub(crate) items_without_query: usize,
    /// Train, dev, test.
    pub(crate) splits: [SplitStatistics; 3],
    /// Seconds for all of it, when it was built.
    pub(crate) seconds: f64,
    /// Whether it was there already.
    #[serde(skip)]
    pub(crate) cached: bool,
}

/// One split's part.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct SplitStatistics {
    /// `train`, `dev` or `test`.
    pub(crate) name: String,
    /// Families of crates; none is in two splits.
    pub(crate) families: usize,
    /// Documents that candidates are drawn from.
    pub(crate) documents: usize,
    /// Queries, each with exactly one relevant document.
    pub(crate) queries: usize,
    /// Queries whose relevant document is among BM25's candidates.
    pub queries_answered_by_bm25: usize,
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// `reading crates` or `searching`.
    pub(crate) stage: &'static str,
    /// Crates read or splits searched.
    pub(crate) done: usize,
    /// Of how many.
    pub(crate) total: usize,
}

// Part of the cache key: to be raised when the same lock file would give other files.
const VERSION: u32 = 1;
const STATISTICS_FILE: &str = "statistics.json";
const KEY_FILE: &str = "key.txt";

/// Builds the collection in `out`, unless it is there already for this lock file and these options.
///
/// `out` then holds `corpus.jsonl`, `queries.jsonl`, `qrels/{train,dev,test}.tsv` (BEIR) and
/// `bm25/{train,dev,test}.run` (TREC); it appears at once or not at all. The files depend on nothing but
/// the lock file, the options and the machine's platform.
///
/// # Errors
/// When cargo cannot list the crates, there is too little documentation to split, `out` holds
/// something else, or it cannot be written.
pub(crate) fn build(
    workspace_root: &Path,
    out: &Path,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Statistics> {
    let started = Instant::now();
    let key = cache_key(workspace_root, options)?;
    if let Some(statistics) = cached(out, &key) {
        return Ok(statistics);
    }
    let found = sources::find(workspace_root)?;
    let read = collect::read(&found.crates, options, progress);
    let mut statistics = Statistics {
        crates: found.crates.len(),
        crates_without_source: found.without_source,
        files: read.files,
        files_not_parsed: read.files_not_parsed,
        items: read.items,
        duplicate_items: read.duplicate_items,
        items_without_query: read.items_without_query,
        splits: std::array::from_fn(|_| SplitStatistics::default()),
        seconds: 0.0,
        cached: false,
    };
    let runs = first_stage(&read, options, progress, &mut statistics)?;
    let unfinished = files::Unfinished::new(out, KEY_FILE)?;
    files::write_collection(unfinished.path(), &read, &runs)?;
    statistics.seconds = started.elapsed().as_secs_f64();
    files::write(
        &unfinished.path().join(STATISTICS_FILE),
        &serde_json::to_vec_pretty(&statistics)?,
    )?;
    files::write(&unfinished.path().join(KEY_FILE), key.as_bytes())?;
    unfinished.finish()?;
    Ok(statistics)
}

fn first_stage(
    collection: &Collection,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
    statistics: &mut Statistics,
) -> Result<Vec<Run>> {
    let bm25 = Bm25Options { analyzer: Analyzer::Code, ..Bm25Options::default() };
    let mut runs = Vec::new();
    for (i, split) in collection.splits.iter().enumerate() {
        progress(Progress { stage: "searching", done: i, total: collection.splits.len() });
        let documents = split.entries.iter().map(|entry| {
            Ok((DocId::new(&entry.id).map_err(tamis_data::ErrorKind::Id)?, entry.full_text()))
        });
        let index = Bm25::in_ram(documents, bm25)
            .with_context(|| format!("indexing the {} split", split.name))?;
        let queries: Vec<(QueryId, &str)> = split
            .queries()
            .map(|entry| Ok((QueryId::new(&entry.query_id())?, entry.summary.as_str())))
            .collect::<Result<_>>()?;
        let run = index.run(&queries, options.depth, "bm25")?;
        let answered = |entry: &&Entry| {
            let candidates = run.query(&entry.query_id()).unwrap_or_default();
            candidates.iter().any(|candidate| candidate.document.as_str() == entry.id)
        };
        statistics.splits[i] = SplitStatistics {
            name: split.name.to_owned(),
            families: split.families,
            documents: split.entries.len(),
            queries: split.queries().count(),
            queries_answered_by_bm25: split.queries().filter(answered).count(),
        };
        runs.push(run);
    }
    Ok(runs)
}

fn cache_key(workspace_root: &Path, options: &Options) -> Result<String> {
    let path = workspace_root.join("Cargo.lock");
    let lock = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut hash = Sha256::new();
    hash.update(lock);
    hash.update(serde_json::to_vec(options)?);
    hash.update(format!("{VERSION} {} {}", std::env::consts::ARCH, std::env::consts::OS));
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn cached(out: &Path, key: &str) -> Option<Statistics> {
    if std::fs::read_to_string(out.join(KEY_FILE)).ok()? != key {
        return None;
    }
    let statistics = std::fs::read(out.join(STATISTICS_FILE)).ok()?;
    let statistics: Statistics = serde_json::from_slice(&statistics).ok()?;
    Some(Statistics { cached: true, ..statistics })
}
