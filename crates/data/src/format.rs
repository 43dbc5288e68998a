//! The file formats, one per file, and readers that tell the format by name or first line.
//!
//! | what | `.jsonl`, `.json` | `.tsv`, `.txt` | `.parquet` |
//! |---|---|---|---|
//! | documents | BEIR `_id`, `title`, `text` | MS MARCO `id, text` (or with title, or with url and title) | `id`, `title`, `text` |
//! | queries | BEIR `_id`, `text` | MS MARCO `id, text` | `id`, `text` |
//! | grouped text | `query`, `pos`, `neg`, `pos_scores`, `neg_scores` | | the same columns |
//! | grouped token ids | [`group_tokens`] | | |
//! | top-1000 | | [`msmarco::read_top1000`] | |
//!
//! Qrels are BEIR's when the first line is a header, and TREC's otherwise. Runs are TREC's with six
//! columns, MS MARCO's with three (a score file where the third is no rank), or `.parquet`. Every text file may be compressed: `.gz` or `.zst`
//! behind its name. Blank lines are passed over in all of them; anything else that is not as it
//! should be is an error with its file and line.

pub mod beir;
pub mod group_jsonl;
pub mod group_tokens;
pub mod lines;
pub mod msmarco;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod trec;

#[cfg(feature = "dataset")]
pub(crate) mod blocks;
pub(crate) mod text_row;

#[cfg(feature = "parquet")]
mod column;
#[cfg(not(feature = "parquet"))]
#[path = "format/no_parquet.rs"]
mod parquet;
mod run_builder;
mod scored_pair;

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;

use crate::error::{Error, ErrorKind, Result};
use crate::id::{DocId, QueryId};
use crate::qrels::Qrels;
use crate::run::Run;
use lines::Lines;
pub use scored_pair::{read_score_file, read_scored_pairs, read_test_pairs};
use text_row::TextRow;

/// What the name of a file of texts says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    JsonLines,
    Tsv,
    Parquet,
}

impl Layout {
    /// Tells the layout by the extension in front of `.gz` or `.zst`.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
        match plain.unwrap_or(&name).rsplit_once('.').map(|(_, extension)| extension) {
            Some("jsonl" | "json") => Ok(Self::JsonLines),
            Some("tsv" | "txt") => Ok(Self::Tsv),
            Some("parquet") if plain.is_none() => Ok(Self::Parquet),
            _ => Err(Error::file(
                path,
                ErrorKind::Value {
                    field: "extension",
                    expected: ".jsonl, .tsv (or .gz, .zst behind them) or .parquet",
                    found: name.into_owned(),
                },
            )),
        }
    }
}

/// Parses a line of a text file; a blank line is `None`.
pub(crate) type ParseRow =
    for<'a> fn(&'a str) -> std::result::Result<Option<TextRow<'a>>, ErrorKind>;

/// Reads documents one by one: `take` gets id and text, title and text joined by a space. Ids are
/// checked, but not that each comes once; empty texts are handed over.
///
/// # Errors
/// When the file is missing, a line is broken, or `take` refuses a document.
pub fn read_documents(
    path: &Path,
    take: impl FnMut(&str, &str) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    read_rows(path, beir::document, msmarco::document, take)
}

/// Reads rows of texts with the parser for the file's layout.
pub(crate) fn read_rows(
    path: &Path,
    json: ParseRow,
    tsv: ParseRow,
    mut take: impl FnMut(&str, &str) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    let mut joined = String::new();
    let mut take_row = |row: &TextRow<'_>| {
        row.check_id()?;
        joined.clear();
        joined.extend(row.parts());
        take(&row.id, &joined)
    };
    let parse = match Layout::of(path)? {
        Layout::JsonLines => json,
        Layout::Tsv => tsv,
        Layout::Parquet => {
            return parquet::read_texts(path, |id, title, text| {
                take_row(&TextRow { id: id.into(), title: title.into(), text: text.into() })
            });
        }
    };
    Lines::open(path)?.for_each(|line| parse(line)?.map_or(Ok(()), |row| take_row(&row)))
}

/// Reads all queries into memory, in the file's order.
///
/// # Errors
/// When the file is missing or holds nothing, a line is broken, an id comes twice, or a query is empty.
pub fn read_queries(path: &Path) -> Result<IndexMap<QueryId, String>> {
    let mut queries = IndexMap::new();
    read_rows(path, beir::query, msmarco::query, |id, text| {
        if text.trim().is_empty() {
            return Err(ErrorKind::EmptyText { what: "query", id: id.to_owned() });
        }
        match queries.insert(QueryId::new(id)?, text.to_owned()) {
            Some(_) => Err(ErrorKind::Duplicate { what: "query", id: id.to_owned() }),
            None => Ok(()),
        }
    })?;
    if queries.is_empty() { Err(Error::file(path, ErrorKind::Empty)) } else { Ok(queries) }
}

/// Reads the documents of a run that is to be reranked: only their texts are kept.
///
/// # Errors
/// When a file is missing, a line is broken, an id comes twice, or a document of the run is in none
/// of the files.
pub fn read_documents_of_run(paths: &[&Path], run: &Run) -> Result<BTreeMap<DocId, String>> {
    let mut wanted: BTreeMap<DocId, Option<String>> = run
        .iter()
        .flat_map(|(_, candidates)| candidates)
        .map(|candidate| (candidate.document.clone(), None))
        .collect();
    for path in paths {
        read_documents(path, |id, text| match wanted.get_mut(id) {
            Some(Some(_)) => Err(ErrorKind::Duplicate { what: "document", id: id.to_owned() }),
            Some(place) => {
                *place = Some(text.to_owned());
                Ok(())
            }
            None => Ok(()),
        })?;
    }
    let known = |(id, text): (DocId, Option<String>)| match text {
        Some(text) => Ok((id, text)),
        None => {
            let unknown = ErrorKind::Unknown { what: "document", id: id.to_string() };
            Err(paths.first().map_or_else(|| unknown_nowhere(&id), |p| Error::file(p, unknown)))
        }
    };
    wanted.into_iter().map(known).collect()
}

fn unknown_nowhere(id: &DocId) -> Error {
    ErrorKind::Unknown { what: "document", id: id.to_string() }.into()
}

/// Reads judgements: BEIR's when the first line is a header, TREC's otherwise.
///
/// # Errors
/// As [`beir::read_qrels`] and [`trec::read_qrels`].
pub fn read_qrels(path: &Path) -> Result<Qrels> {
    match first_line(path)? {
        Some(line) if beir::is_header(&line) => beir::read_qrels(path),
        _ => trec::read_qrels(path),
    }
}

/// Reads judgements one by one; that a pair comes once is not checked.
#[cfg(feature = "dataset")]
pub(crate) fn read_judgements(
    path: &Path,
    mut take: impl FnMut(&str, &str, i32) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    let is_beir = first_line(path)?.is_some_and(|line| beir::is_header(&line));
    let mut header = false;
    Lines::open(path)?.for_each(|line| {
        let found =
            if is_beir { beir::judgement(line, &mut header)? } else { trec::judgement(line)? };
        found.map_or(Ok(()), |(query, document, relevance)| take(query, document, relevance))
    })
}

/// Reads a run: Parquet by name; when the first line has three columns, MS MARCO's, or a score file
/// where the third is no rank; TREC's otherwise.
///
/// # Errors
/// As [`parquet::read_run`], [`msmarco::read_run`], [`read_score_file`] and [`trec::read_run`].
pub fn read_run(path: &Path) -> Result<Run> {
    match run_layout(path)? {
        RunLayout::Parquet => parquet::read_run(path),
        RunLayout::MsMarco => msmarco::read_run(path),
        RunLayout::Scores => read_score_file(path, "scores"),
        RunLayout::Trec => trec::read_run(path),
    }
}

/// Reads the candidates of a run one by one; that a document comes once is not checked.
#[cfg(feature = "dataset")]
pub(crate) fn read_candidates(
    path: &Path,
    mut take: impl FnMut(&str, &str, f64) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    match run_layout(path)? {
        RunLayout::Parquet => parquet::read_candidates(path, |q, d, score, _| take(q, d, score)),
        RunLayout::MsMarco => Lines::open(path)?.for_each(|line| {
            msmarco::candidate(line)?.map_or(Ok(()), |(q, d, score)| take(q, d, score))
        }),
        RunLayout::Scores => read_scored_pairs(path, None, take),
        RunLayout::Trec => Lines::open(path)?.for_each(|line| {
            trec::candidate(line)?.map_or(Ok(()), |(q, d, score, _)| take(q, d, score))
        }),
    }
}

enum RunLayout {
    Parquet,
    MsMarco,
    Scores,
    Trec,
}

fn run_layout(path: &Path) -> Result<RunLayout> {
    if path.extension().is_some_and(|extension| extension == "parquet") {
        return Ok(RunLayout::Parquet);
    }
    Ok(match first_line(path)? {
        Some(line) if scored_pair::is_scored(&line) => RunLayout::Scores,
        Some(line) if line.split_ascii_whitespace().count() == 3 => RunLayout::MsMarco,
        _ => RunLayout::Trec,
    })
}

/// Reads teachers' scores one by one: Parquet by name, TREC runs when the first line has six columns,
/// scored pairs ([`read_scored_pairs`]) otherwise.
#[cfg(feature = "dataset")]
pub(crate) fn read_teacher_scores(
    path: &Path,
    triples: Option<&Path>,
    take: impl FnMut(&str, &str, f64) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    let is_parquet = path.extension().is_some_and(|extension| extension == "parquet");
    let is_trec = || -> Result<bool> {
        Ok(first_line(path)?.is_some_and(|line| line.split_ascii_whitespace().count() == 6))
    };
    if is_parquet || is_trec()? {
        return read_candidates(path, take);
    }
    read_scored_pairs(path, triples, take)
}

/// Reads grouped text: Parquet by name, JSON lines otherwise.
///
/// # Errors
/// As [`parquet::read_groups`] and [`group_jsonl::read_groups`].
pub fn read_groups(
    path: &Path,
    take: impl FnMut(group_jsonl::GroupLine) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    match Layout::of(path)? {
        Layout::Parquet => parquet::read_groups(path, take),
        _ => group_jsonl::read_groups(path, take),
    }
}

/// The first line that says something.
fn first_line(path: &Path) -> Result<Option<String>> {
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        if !trec::is_comment(line) {
            return Ok(Some(line.to_owned()));
        }
    }
    Ok(None)
}
