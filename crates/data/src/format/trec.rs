//! TREC files: qrels (`query 0 document relevance`) and runs (`query Q0 document rank score tag`).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::lines::Lines;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{DocId, QueryId};
use crate::qrels::Qrels;
use crate::run::{Run, ScoredDocument};

/// Reads judgements; blank lines and lines that start with `#` are passed over.
///
/// # Errors
/// When a line has other than four columns, a relevance is not an integer, or a pair comes twice.
pub fn read_qrels(path: &Path) -> Result<Qrels> {
    let mut lines = Lines::open(path)?;
    let mut qrels = Qrels::new();
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let parsed = match columns[..] {
            [query, _, document, relevance] => judgement(query, document, relevance),
            _ => Err(ErrorKind::Columns {
                expected: "4 columns (query, iteration, document, relevance)",
                found: columns.len(),
            }),
        };
        let (query, document, relevance) = parsed.map_err(|kind| lines.error(kind))?;
        if qrels.relevance(query.as_str(), document.as_str()).is_some() {
            let id = format!("{document} of query {query}");
            return Err(lines.error(ErrorKind::Duplicate { what: "judgement of document", id }));
        }
        qrels.insert(query, document, relevance)?;
    }
    if qrels.n_queries() == 0 {
        return Err(Error::file(path, ErrorKind::Empty));
    }
    Ok(qrels)
}

/// Parses the three fields of a judgement that mean something.
pub(crate) fn judgement(
    query: &str,
    document: &str,
    relevance: &str,
) -> std::result::Result<(QueryId, DocId, i32), ErrorKind> {
    let value = relevance.parse().map_err(|_| ErrorKind::Value {
        field: "relevance",
        expected: "an integer",
        found: relevance.to_owned(),
    })?;
    Ok((QueryId::new(query)?, DocId::new(document)?, value))
}

/// Reads a run; the rank column is passed over, the tag is that of the first line.
///
/// # Errors
/// When a line has fewer than six columns, a score is not a number, or a document comes twice for
/// one query.
pub fn read_run(path: &Path) -> Result<Run> {
    let mut lines = Lines::open(path)?;
    let mut tag: Option<String> = None;
    let mut queries: BTreeMap<QueryId, Vec<ScoredDocument>> = BTreeMap::new();
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut columns = line.split_ascii_whitespace();
        let mut found = 0;
        let mut column = || columns.next().inspect(|_| found += 1);
        let (query, _, document, _, score, name) =
            (column(), column(), column(), column(), column(), column());
        let (Some(query), Some(document), Some(score), Some(name)) = (query, document, score, name)
        else {
            return Err(lines.error(ErrorKind::Columns {
                expected: "6 columns (query, Q0, document, rank, score, tag)",
                found,
            }));
        };
        let candidate = candidate(document, score).map_err(|kind| lines.error(kind))?;
        tag.get_or_insert_with(|| name.to_owned());
        match queries.get_mut(query) {
            Some(candidates) => candidates.push(candidate),
            None => {
                let query = QueryId::new(query).map_err(|error| lines.error(error))?;
                queries.insert(query, vec![candidate]);
            }
        }
    }
    let Some(tag) = tag else { return Err(Error::file(path, ErrorKind::Empty)) };
    let mut run = Run::new(&tag);
    for (query, candidates) in queries {
        run.insert(query, candidates).map_err(|error| match error {
            _ if error.path().is_some() => error,
            _ => Error::file(path, ErrorKind::Invalid(error.to_string())),
        })?;
    }
    Ok(run)
}

fn candidate(document: &str, score: &str) -> std::result::Result<ScoredDocument, ErrorKind> {
    match score.parse::<f64>() {
        Ok(value) if !value.is_nan() => {
            Ok(ScoredDocument { document: DocId::new(document)?, score: value })
        }
        _ => Err(ErrorKind::Value {
            field: "score",
            expected: "a number",
            found: score.to_owned(),
        }),
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
