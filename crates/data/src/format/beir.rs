//! BEIR files: `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels/*.tsv`.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::text_row::TextRow;
use super::trec;
use crate::error::{ErrorKind, Result};
use crate::qrels::Qrels;

/// The first line of a qrels file.
pub const QRELS_HEADER: &str = "query-id\tcorpus-id\tscore";

/// A line of `corpus.jsonl` or `queries.jsonl`; other keys (`metadata`) are passed over.
#[derive(DeriveDeserialize)]
struct Line<'a> {
    #[serde(borrow)]
    _id: Id<'a>,
    #[serde(borrow, default)]
    title: Title<'a>,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Parses a line of a corpus. Title and text are joined by a space.
pub(crate) fn document(line: &str) -> std::result::Result<Option<TextRow<'_>>, ErrorKind> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let Line { _id: Id(id), title: Title(title), text } = serde_json::from_str(line)?;
    Ok(Some(TextRow { id, title, text }))
}

/// Parses a line of queries. A title, where there is one, is passed over.
pub(crate) fn query(line: &str) -> std::result::Result<Option<TextRow<'_>>, ErrorKind> {
    let row = document(line)?;
    Ok(row.map(|row| TextRow { title: Cow::Borrowed(""), ..row }))
}

/// Writes one line of a corpus.
///
/// # Errors
/// When writing fails.
pub fn write_document(
    id: &str,
    title: &str,
    text: &str,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        _id: &'a str,
        title: &'a str,
        text: &'a str,
    }
    serde_json::to_writer(&mut *out, &Line { _id: id, title, text })?;
    writeln!(out)
}

/// Writes one line of queries.
///
/// # Errors
/// When writing fails.
pub fn write_query(id: &str, text: &str, out: &mut dyn Write) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        _id: &'a str,
        text: &'a str,
    }
    serde_json::to_writer(&mut *out, &Line { _id: id, text })?;
    writeln!(out)
}

/// Reads judgements: a header line, then query, document and relevance with tabs between.
///
/// # Errors
/// When the header is missing, a line has other than three columns, a relevance is not an integer,
/// or a pair comes twice.
pub fn read_qrels(path: &Path) -> Result<Qrels> {
    let mut header = false;
    trec::collect_qrels(path, |line| judgement(line, &mut header))
}

/// Parses a line of a qrels file; `header` tells whether its first line was seen.
pub(crate) fn judgement<'a>(
    line: &'a str,
    header: &mut bool,
) -> std::result::Result<trec::Judgement<'a>, ErrorKind> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    if !std::mem::replace(header, true) {
        return if is_header(line) {
            Ok(None)
        } else {
            Err(ErrorKind::Value {
                field: "first line",
                expected: "the header `query-id corpus-id score`",
                found: line.replace('\t', " "),
            })
        };
    }
    let mut columns = line.split('\t');
    let mut column = || columns.next();
    match (column(), column(), column(), column()) {
        (Some(query), Some(document), Some(relevance), None) => {
            Ok(Some((query, document, trec::parse_relevance(relevance.trim_ascii_end())?)))
        }
        _ => Err(ErrorKind::Columns {
            expected: "3 columns (query-id, corpus-id, score) with tabs between",
            found: line.split('\t').count(),
        }),
    }
}

/// Whether a qrels file that starts with this line is BEIR's: three columns, the last not a number.
pub(crate) fn is_header(line: &str) -> bool {
    let columns: Vec<&str> = line.split('\t').map(str::trim_ascii).collect();
    columns.len() == 3 && columns[2].parse::<f64>().is_err()
}

/// Writes judgements in byte order of query and document, under the header line.
///
/// # Errors
/// When writing fails.
pub fn write_qrels(qrels: &Qrels, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{QRELS_HEADER}")?;
    for (query, judged) in qrels.iter() {
        for (document, relevance) in judged {
            writeln!(out, "{query}\t{document}\t{relevance}")?;
        }
    }
    Ok(())
}

/// An id: a string, or an integer that stands for its decimal digits.
pub(crate) struct Id<'a>(pub(crate) Cow<'a, str>);

/// A title: a string or null.
#[derive(Default)]
struct Title<'a>(Cow<'a, str>);

struct IdVisitor;

impl<'de> Visitor<'de> for IdVisitor {
    type Value = Id<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an integer")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Id<'de>, E> {
        Ok(Id(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Id<'de>, E> {
        Ok(Id(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> std::result::Result<Id<'de>, E> {
        Ok(Id(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> std::result::Result<Id<'de>, E> {
        Ok(Id(Cow::Owned(number.to_string())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_any(IdVisitor)
    }
}

struct TitleVisitor;

impl<'de> Visitor<'de> for TitleVisitor {
    type Value = Title<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or null")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Title<'de>, E> {
        Ok(Title(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Title<'de>, E> {
        Ok(Title(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> std::result::Result<Title<'de>, E> {
        Ok(Title::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Title<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_any(TitleVisitor)
    }
}
