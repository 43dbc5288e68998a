//! MS MARCO files with tabs between columns: collections, queries, top-1000 files and runs.
//!
//! Its qrels are TREC's. Quotes are data: a tab and a line feed are the only delimiters.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use super::lines::Lines;
use super::run_builder::{RunBuilder, duplicate};
use super::text_row::TextRow;
use super::trec::is_comment;
use crate::error::{Error, ErrorKind, Result};
use crate::id;
use crate::run::Run;

/// The tag of runs read from files that have no place for one.
const TAG: &str = "msmarco";

/// Parses a line of a collection: `id, text` or `id, title, text` or `id, url, title, body`. The
/// columns before the last are joined by spaces.
pub(crate) fn document(line: &str) -> std::result::Result<Option<TextRow<'_>>, ErrorKind> {
    if line.is_empty() {
        return Ok(None);
    }
    let mut columns = line.split('\t');
    let mut column = || columns.next();
    let row = (column(), column(), column(), column(), column());
    let (id, title, text) = match row {
        (Some(id), Some(text), None, ..) => (id, Cow::Borrowed(""), text),
        (Some(id), Some(title), Some(text), None, _) => (id, Cow::Borrowed(title), text),
        (Some(id), Some(url), Some(title), Some(body), None) => {
            (id, Cow::Owned(format!("{url} {title}")), body)
        }
        _ => {
            return Err(ErrorKind::Columns {
                expected: "2 to 4 columns (id, text; id, title, text; id, url, title, body) \
                           with tabs between",
                found: line.split('\t').count(),
            });
        }
    };
    Ok(Some(TextRow { id: Cow::Borrowed(id), title, text: Cow::Borrowed(text) }))
}

/// Parses a line of queries: `id, text`.
pub(crate) fn query(line: &str) -> std::result::Result<Option<TextRow<'_>>, ErrorKind> {
    if line.is_empty() {
        return Ok(None);
    }
    match line.split_once('\t') {
        Some((id, text)) if !text.contains('\t') => Ok(Some(TextRow {
            id: Cow::Borrowed(id),
            title: Cow::Borrowed(""),
            text: Cow::Borrowed(text),
        })),
        _ => Err(ErrorKind::Columns {
            expected: "2 columns (id, text) with a tab between",
            found: line.split('\t').count(),
        }),
    }
}

/// Writes one line of a collection or of queries.
///
/// # Errors
/// When the text holds a tab or a line end, which this format cannot, or writing fails.
pub fn write_text(id: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{id}\t{}", field(id, text)?)
}

/// A line of a top-1000 file: a query with one of its candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Top1000Line<'a> {
    /// The query's id.
    pub query_id: &'a str,
    /// The document's id.
    pub document_id: &'a str,
    /// The query's text.
    pub query: &'a str,
    /// The document's text.
    pub document: &'a str,
}

/// Parses a line of a top-1000 file; a blank line is `None`.
pub(crate) fn top1000(line: &str) -> std::result::Result<Option<Top1000Line<'_>>, ErrorKind> {
    if line.is_empty() {
        return Ok(None);
    }
    let mut columns = line.split('\t');
    let mut column = || columns.next();
    let row = (column(), column(), column(), column(), column());
    let (Some(query_id), Some(document_id), Some(query), Some(document), None) = row else {
        return Err(ErrorKind::Columns {
            expected: "4 columns (query id, document id, query, document) with tabs between",
            found: line.split('\t').count(),
        });
    };
    id::check(query_id)?;
    id::check(document_id)?;
    Ok(Some(Top1000Line { query_id, document_id, query, document }))
}

/// Reads a top-1000 file line by line.
///
/// # Errors
/// When a line has other than four columns or a bad id, or `take` refuses it.
pub fn read_top1000(
    path: &Path,
    mut take: impl FnMut(Top1000Line<'_>) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    Lines::open(path)?.for_each(|line| top1000(line)?.map_or(Ok(()), &mut take))
}

/// Writes one line of a top-1000 file.
///
/// # Errors
/// When a text holds a tab or a line end, which this format cannot, or writing fails.
pub fn write_top1000(line: &Top1000Line<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Top1000Line { query_id, document_id, query, document } = *line;
    let (query, document) = (field(query_id, query)?, field(document_id, document)?);
    writeln!(out, "{query_id}\t{document_id}\t{query}\t{document}")
}

/// Refuses a text that would break its line.
fn field<'a>(id: &str, text: &'a str) -> io::Result<&'a str> {
    if text.contains(['\t', '\n', '\r']) {
        let problem = format!("the text of `{id}` holds a tab or a line end, which TSV cannot");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    Ok(text)
}

/// Reads a run of `query, document, rank` lines. The score is minus the rank, so that rank 1 is
/// best and scores descend.
///
/// # Errors
/// When a line has other than three columns, a rank is not a number from 1, or a document comes
/// twice for one query.
pub fn read_run(path: &Path) -> Result<Run> {
    let mut builder = RunBuilder::default();
    Lines::open(path)?.for_each(|line| match candidate(line)? {
        Some((query, document, score)) => builder.push(query, document, score),
        None => Ok(()),
    })?;
    let run = builder.finish(TAG).map_err(|(query, document)| {
        duplicate(path, &query, &document, |line| Ok(candidate(line)?.map(|c| (c.0, c.1))))
    })?;
    if run.n_queries() == 0 { Err(Error::file(path, ErrorKind::Empty)) } else { Ok(run) }
}

/// Parses a line of a run into query, document and score; `None` for a line that says nothing.
pub(crate) fn candidate(line: &str) -> std::result::Result<Option<(&str, &str, f64)>, ErrorKind> {
    if is_comment(line) {
        return Ok(None);
    }
    let mut columns = line.split_ascii_whitespace();
    let mut column = || columns.next();
    let (Some(query), Some(document), Some(rank), None) = (column(), column(), column(), column())
    else {
        return Err(ErrorKind::Columns {
            expected: "3 columns (query, document, rank)",
            found: line.split_ascii_whitespace().count(),
        });
    };
    match rank.parse::<u32>() {
        Ok(value) if value > 0 => Ok(Some((query, document, -f64::from(value)))),
        _ => Err(ErrorKind::Value {
            field: "rank",
            expected: "an integer from 1",
            found: rank.to_owned(),
        }),
    }
}

/// Writes a run in canonical order as `query, document, rank` lines, ranks from 1.
///
/// # Errors
/// When writing fails.
pub fn write_run(run: &Run, out: &mut dyn Write) -> io::Result<()> {
    for (query, candidates) in run.iter() {
        for (rank, candidate) in (1..).zip(candidates) {
            writeln!(out, "{query}\t{}\t{rank}", candidate.document)?;
        }
    }
    Ok(())
}
