//! TREC files: qrels (`query 0 document relevance`) and runs (`query Q0 document rank score tag`).

use std::io::Write;
use std::path::Path;

use super::lines::Lines;
use super::run_builder::RunBuilder;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{DocId, QueryId};
use crate::qrels::Qrels;
use crate::run::{Run, ScoredDocument};

/// Reads judgements; blank lines and lines that start with `#` are passed over.
///
/// # Errors
/// When a line has other than four columns, a relevance is not an integer, or a pair comes twice.
pub fn read_qrels(path: &Path) -> Result<Qrels> {
    let mut qrels = Qrels::new();
    Lines::open(path)?
        .for_each(|line| if is_comment(line) { Ok(()) } else { qrels_line(line, &mut qrels) })?;
    if qrels.n_queries() == 0 {
        return Err(Error::file(path, ErrorKind::Empty));
    }
    Ok(qrels)
}

/// Whether a line of a TREC file says nothing.
pub(crate) fn is_comment(line: &str) -> bool {
    line.starts_with('#') || line.trim().is_empty()
}

/// Takes one line of a TREC qrels file.
pub(crate) fn qrels_line(line: &str, qrels: &mut Qrels) -> std::result::Result<(), ErrorKind> {
    let mut columns = line.split_ascii_whitespace();
    let mut column = || columns.next();
    match (column(), column(), column(), column(), column()) {
        (Some(query), Some(_), Some(document), Some(relevance), None) => {
            judgement(qrels, query, document, relevance)
        }
        _ => Err(ErrorKind::Columns {
            expected: "4 columns (query, iteration, document, relevance)",
            found: line.split_ascii_whitespace().count(),
        }),
    }
}

/// Adds the three fields of a judgement that mean something.
pub(crate) fn judgement(
    qrels: &mut Qrels,
    query: &str,
    document: &str,
    relevance: &str,
) -> std::result::Result<(), ErrorKind> {
    let value = relevance.parse().map_err(|_| ErrorKind::Value {
        field: "relevance",
        expected: "an integer",
        found: relevance.to_owned(),
    })?;
    if qrels.relevance(query, document).is_some() {
        let id = format!("{document} of query {query}");
        return Err(ErrorKind::Duplicate { what: "judgement of document", id });
    }
    let (query, document) = (QueryId::new(query)?, DocId::new(document)?);
    qrels.insert(query, document, value).map_err(Error::into_kind)
}

/// Reads a run; the rank column is passed over, the tag is that of the first line.
///
/// # Errors
/// When a line has other than six columns, a score is not a number, or a document comes twice for
/// one query.
pub fn read_run(path: &Path) -> Result<Run> {
    let mut tag: Option<String> = None;
    let mut builder = RunBuilder::default();
    Lines::open(path)?.for_each(|line| {
        if is_comment(line) {
            return Ok(());
        }
        let mut columns = line.split_ascii_whitespace();
        let mut column = || columns.next();
        let row = (column(), column(), column(), column(), column(), column(), column());
        let (Some(query), _, Some(document), _, Some(score), Some(name), None) = row else {
            return Err(ErrorKind::Columns {
                expected: "6 columns (query, Q0, document, rank, score, tag)",
                found: line.split_ascii_whitespace().count(),
            });
        };
        let value: f64 =
            score.parse().ok().filter(|value: &f64| !value.is_nan()).ok_or_else(|| {
                ErrorKind::Value { field: "score", expected: "a number", found: score.to_owned() }
            })?;
        tag.get_or_insert_with(|| name.to_owned());
        builder.push(query, document, value)
    })?;
    let Some(tag) = tag else { return Err(Error::file(path, ErrorKind::Empty)) };
    builder.finish(&tag).map_err(|(query, document)| {
        let is_it = |line: &str| {
            let mut columns = line.split_ascii_whitespace();
            let row = (columns.next(), columns.nth(1));
            !is_comment(line) && row == (Some(query.as_str()), Some(document.as_str()))
        };
        super::run_builder::duplicate(path, &query, &document, is_it)
    })
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
