//! A judgements file, TREC or BEIR, into [`Qrels`].

use std::path::Path;

use tamis_data::{DocId, ErrorKind, Qrels, QueryId};

use super::bytes::read_all;
use crate::error::Result;

/// Reads judgements: TREC's four columns, or BEIR's three after a header line that starts with
/// `query-id`. `.gz` and `.zst` are decompressed, `-` is standard input.
///
/// Blank lines and lines that start with `#` are passed over, as is a byte order mark.
///
/// # Errors
/// When the file cannot be read, is empty, a line has another number of columns, a relevance is no
/// integer, or a document is judged twice for a query.
pub fn read_qrels(path: &Path) -> Result<Qrels> {
    parse_qrels(path, &read_all(path)?)
}

/// Reads judgements from the bytes of a file; `path` only stands in messages.
///
/// # Errors
/// As [`read_qrels`], but for reading.
pub fn parse_qrels(path: &Path, bytes: &[u8]) -> Result<Qrels> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut qrels = Qrels::new();
    let mut beir = false;
    for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let fault = |kind: ErrorKind| tamis_data::Error::line(path, number, kind);
        let line = std::str::from_utf8(line)
            .map_err(|error| fault(ErrorKind::Utf8 { byte: error.valid_up_to() }))?;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if number == 1 && line.starts_with("query-id") {
            beir = true;
            continue;
        }
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (query, document, relevance) = match columns[..] {
            [query, document, relevance] if beir => (query, document, relevance),
            [query, _, document, relevance] if !beir => (query, document, relevance),
            _ => {
                let expected = match beir {
                    true => "3 columns (query, document, relevance)",
                    false => "4 columns (query, iteration, document, relevance)",
                };
                let found = columns.len();
                return Err(fault(ErrorKind::Columns { expected, found }).into());
            }
        };
        let relevance = relevance.parse().map_err(|_| {
            let found = relevance.to_owned();
            fault(ErrorKind::Value { field: "relevance", expected: "an integer", found })
        })?;
        if qrels.relevance(query, document).is_some() {
            let id = format!("{document} of query {query}");
            let what = "judgement of document";
            return Err(fault(ErrorKind::Duplicate { what, id }).into());
        }
        let query = QueryId::new(query).map_err(|why| fault(why.into()))?;
        let document = DocId::new(document).map_err(|why| fault(why.into()))?;
        qrels.insert(query, document, relevance)?;
    }
    if qrels.n_queries() == 0 {
        return Err(tamis_data::Error::file(path, ErrorKind::Empty).into());
    }
    Ok(qrels)
}
