//! TREC files: qrels (`query 0 document relevance`) and runs (`query Q0 document rank score tag`).

use std::io::Write;
use std::path::Path;

use super::lines::Lines;
use super::run_builder::{RunBuilder, duplicate};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{DocId, QueryId};
use crate::qrels::Qrels;
use crate::run::{Run, ScoredDocument};

/// Reads judgements; blank lines and lines that start with `#` are passed over.
///
/// # Errors
/// When a line has other than four columns, a relevance is not an integer, or a pair comes twice.
pub fn read_qrels(path: &Path) -> Result<Qrels> {
    collect_qrels(path, judgement)
}

/// Reads a run; the rank column is passed over, the tag is that of the first line.
///
/// # Errors
/// When a line has other than six columns, a score is not a number, or a document comes twice for
/// one query.
pub fn read_run(path: &Path) -> Result<Run> {
    let mut tag: Option<String> = None;
    let mut builder = RunBuilder::default();
    Lines::open(path)?.for_each(|line| match candidate(line)? {
        Some((query, document, score, name)) => {
            tag.get_or_insert_with(|| name.to_owned());
            builder.push(query, document, score)
        }
        None => Ok(()),
    })?;
    let Some(tag) = tag else { return Err(Error::file(path, ErrorKind::Empty)) };
    builder.finish(&tag).map_err(|(query, document)| {
        duplicate(path, &query, &document, |line| Ok(candidate(line)?.map(|c| (c.0, c.1))))
    })
}

/// Whether a line of a TREC file says nothing.
pub(crate) fn is_comment(line: &str) -> bool {
    line.starts_with('#') || line.trim_ascii().is_empty()
}

/// Query, document and relevance of a line; `None` for a line that says nothing.
pub(crate) type Judgement<'a> = Option<(&'a str, &'a str, i32)>;

/// Parses a line of a qrels file.
pub(crate) fn judgement(line: &str) -> std::result::Result<Judgement<'_>, ErrorKind> {
    if is_comment(line) {
        return Ok(None);
    }
    let mut columns = line.split_ascii_whitespace();
    let mut column = || columns.next();
    match (column(), column(), column(), column(), column()) {
        (Some(query), Some(_), Some(document), Some(relevance), None) => {
            Ok(Some((query, document, parse_relevance(relevance)?)))
        }
        _ => Err(ErrorKind::Columns {
            expected: "4 columns (query, iteration, document, relevance)",
            found: line.split_ascii_whitespace().count(),
        }),
    }
}

pub(crate) fn parse_relevance(relevance: &str) -> std::result::Result<i32, ErrorKind> {
    relevance.parse().map_err(|_| ErrorKind::Value {
        field: "relevance",
        expected: "an integer",
        found: relevance.to_owned(),
    })
}

/// Collects the judgements that `parse` finds.
pub(crate) fn collect_qrels(
    path: &Path,
    mut parse: impl FnMut(&str) -> std::result::Result<Judgement<'_>, ErrorKind>,
) -> Result<Qrels> {
    let mut qrels = Qrels::new();
    Lines::open(path)?.for_each(|line| {
        let Some((query, document, relevance)) = parse(line)? else { return Ok(()) };
        if qrels.relevance(query, document).is_some() {
            let id = format!("{document} of query {query}");
            return Err(ErrorKind::Duplicate { what: "judgement of document", id });
        }
        let (query, document) = (QueryId::new(query)?, DocId::new(document)?);
        qrels.insert(query, document, relevance).map_err(Error::into_kind)
    })?;
    if qrels.n_queries() == 0 { Err(Error::file(path, ErrorKind::Empty)) } else { Ok(qrels) }
}

/// Parses a line of a run into query, document, score and tag.
pub(crate) fn candidate(
    line: &str,
) -> std::result::Result<Option<(&str, &str, f64, &str)>, ErrorKind> {
    if is_comment(line) {
        return Ok(None);
    }
    let mut columns = line.split_ascii_whitespace();
    let mut column = || columns.next();
    let row = (column(), column(), column(), column(), column(), column(), column());
    let (Some(query), _, Some(document), _, Some(score), Some(tag), None) = row else {
        return Err(ErrorKind::Columns {
            expected: "6 columns (query, Q0, document, rank, score, tag)",
            found: line.split_ascii_whitespace().count(),
        });
    };
    match score.parse::<f64>() {
        Ok(value) if !value.is_nan() => Ok(Some((query, document, value, tag))),
        _ => {
            Err(ErrorKind::Value { field: "score", expected: "a number", found: score.to_owned() })
        }
    }
}

/// Writes a run in canonical order with ranks from 1. Scores keep every bit of an `f64`.
///
/// # Errors
/// When writing fails.
pub fn write_run(run: &Run, out: &mut dyn Write) -> std::io::Result<()> {
    for (query, candidates) in run.iter() {
        for (rank, candidate) in (1..).zip(candidates) {
            let ScoredDocument { document, score } = candidate;
            writeln!(out, "{query} Q0 {document} {rank} {score} {}", run.tag())?;
        }
    }
    Ok(())
}

/// Writes judgements in byte order of query and document.
///
/// # Errors
/// When writing fails.
pub fn write_qrels(qrels: &Qrels, out: &mut dyn Write) -> std::io::Result<()> {
    for (query, judged) in qrels.iter() {
        for (document, relevance) in judged {
            writeln!(out, "{query} 0 {document} {relevance}")?;
        }
    }
    Ok(())
}
