//! Bytes of a TREC run into lines, lines into the candidates of one query, those into a ranking.

use std::path::Path;

use tamis_data::ErrorKind;

use super::lookup::{Judged, hash};
use crate::ranking::Ranking;

const COLUMNS: &str = "6 columns (query, Q0, document, rank, score, tag)";

/// What is wrong, and at which byte of the file.
#[derive(Debug)]
pub(super) struct Fault {
    at: usize,
    kind: ErrorKind,
}

impl Fault {
    pub(super) fn new(at: usize, kind: ErrorKind) -> Self {
        Self { at, kind }
    }

    /// Only what is wrong, for files without lines.
    #[cfg(feature = "parquet")]
    pub(super) fn into_kind(self) -> ErrorKind {
        self.kind
    }

    /// Finds the line. Only this counts lines, so that reading without errors need not.
    pub(super) fn locate(self, path: &Path, bytes: &[u8], before: u64) -> tamis_data::Error {
        let line = before + count_lines(&bytes[..self.at]) + 1;
        tamis_data::Error::line(path, line, self.kind)
    }
}

pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// One line of a run.
pub(super) struct Line<'a> {
    /// Where it starts in the file.
    pub(super) start: usize,
    pub(super) query: &'a str,
    pub(super) document: &'a str,
    pub(super) score: f64,
    pub(super) tag: &'a str,
}

/// The lines of a piece of a file; blank ones and comments are passed over.
pub(super) struct Lines<'a> {
    text: &'a str,
    offset: usize,
    at: usize,
}

impl<'a> Lines<'a> {
    /// `offset` is where `text` starts in the file.
    pub(super) fn new(text: &'a str, offset: usize) -> Self {
        Self { text, offset, at: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<Line<'a>>, Fault> {
        let bytes = self.text.as_bytes();
        loop {
            let start = self.at;
            if start >= bytes.len() {
                return Ok(None);
            }
            let mut columns = [(0usize, 0usize); 6];
            let mut n_columns = 0;
            let mut at = start;
            if bytes[at] == b'#' {
                at = end_of_line(bytes, at);
            }
            loop {
                while at < bytes.len() && is_blank(bytes[at]) {
                    at += 1;
                }
                if at >= bytes.len() || bytes[at] == b'\n' {
                    break;
                }
                let from = at;
                while at < bytes.len() && bytes[at] > b' ' {
                    at += 1;
                }
                if at == from {
                    // A control character that is no white space, such as NUL.
                    at += 1;
                }
                if n_columns < 6 {
                    columns[n_columns] = (from, at);
                }
                n_columns += 1;
                if n_columns == 6 {
                    at = end_of_line(bytes, at);
                    break;
                }
            }
            self.at = at + 1;
            if n_columns == 0 {
                continue;
            }
            let fault = |kind| Fault::new(self.offset + start, kind);
            if n_columns < 6 {
                return Err(fault(ErrorKind::Columns { expected: COLUMNS, found: n_columns }));
            }
            let column = |index: usize| &self.text[columns[index].0..columns[index].1];
            let score = match number(column(4)) {
                Some(score) if !score.is_nan() => score,
                _ => {
                    return Err(fault(ErrorKind::Value {
                        field: "score",
                        expected: "a number",
                        found: column(4).to_owned(),
                    }));
                }
            };
            return Ok(Some(Line {
                start: self.offset + start,
                query: column(0),
                document: column(2),
                // Makes -0 equal to 0, as comparing does.
                score: score + 0.0,
                tag: column(5),
            }));
        }
    }
}

/// A decimal number. Short ones are a whole number divided by a power of ten, both of which 64 bits
/// hold exactly, so that the quotient is the nearest there is; the library reads all others.
fn number(text: &str) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let bytes = text.as_bytes();
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let (mut whole, mut n_digits, mut point) = (0u64, 0usize, None);
    for (index, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                whole = whole.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                n_digits += 1;
            }
            b'.' if point.is_none() => point = Some(index),
            _ => return text.parse().ok(),
        }
    }
    if n_digits == 0 || n_digits > 15 {
        return text.parse().ok();
    }
    let after = point.map_or(0, |point| digits.len() - point - 1);
    let value = whole as f64 / POWERS[after];
    Some(if digits.len() < bytes.len() { -value } else { value })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c')
}

fn end_of_line(bytes: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |n| from + n)
}

/// The first column of the line that starts at a byte.
fn query_at(bytes: &[u8], start: usize) -> &[u8] {
    let line = &bytes[start..end_of_line(bytes, start)];
    let line = line.trim_ascii_start();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    &line[..end]
}

/// Where the group of the last whole line starts; the rest may go on in the next chunk.
pub(super) fn last_group_start(bytes: &[u8]) -> usize {
    let Some(end) = memchr::memrchr(b'\n', bytes) else { return 0 };
    let line_start = |end: usize| memchr::memrchr(b'\n', &bytes[..end]).map_or(0, |n| n + 1);
    let mut start = line_start(end);
    let query = query_at(bytes, start);
    while start > 0 {
        let before = line_start(start - 1);
        if query_at(bytes, before) != query {
            return start;
        }
        start = before;
    }
    0
}

/// Cuts bytes into up to `n_pieces` ranges at places where the query changes.
pub(super) fn split(bytes: &[u8], n_pieces: usize) -> Vec<(usize, usize)> {
    let mut cuts = vec![0];
    for piece in 1..n_pieces {
        let near = bytes.len() / n_pieces * piece;
        let mut at = (end_of_line(bytes, near) + 1).min(bytes.len());
        if at < bytes.len() {
            let query = query_at(bytes, at);
            while at < bytes.len() && query_at(bytes, at) == query {
                at = (end_of_line(bytes, at) + 1).min(bytes.len());
            }
        }
        if at > cuts[cuts.len() - 1] {
            cuts.push(at);
        }
    }
    if cuts[cuts.len() - 1] < bytes.len() {
        cuts.push(bytes.len());
    }
    cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// A piece of the file as text.
pub(super) fn text(bytes: &[u8], start: usize, end: usize) -> Result<&str, Fault> {
    std::str::from_utf8(&bytes[start..end]).map_err(|error| {
        let at = start + error.valid_up_to();
        let line = memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |n| n + 1);
        Fault::new(at, ErrorKind::Utf8 { byte: at - line })
    })
}

/// The candidates of one query, in the order of the file.
#[derive(Default)]
pub(super) struct Group<'a> {
    candidates: Vec<Candidate<'a>>,
    slots: Vec<u32>,
    start: usize,
}

struct Candidate<'a> {
    document: &'a str,
    score: f64,
    hash: u64,
    start: usize,
}

impl<'a> Group<'a> {
    pub(super) fn clear(&mut self) {
        self.candidates.clear();
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn push(&mut self, line: &Line<'a>) {
        if self.candidates.is_empty() {
            self.start = line.start;
        }
        self.candidates.push(Candidate {
            document: line.document,
            score: line.score,
            hash: hash(line.document.as_bytes()),
            start: line.start,
        });
    }

    /// Fails at the second line of a document that comes twice.
    pub(super) fn refuse_duplicates(&mut self, query: &str) -> Result<(), Fault> {
        // An open-addressing table of places in `candidates`, counted from 1 so that 0 is free.
        let size = (self.candidates.len() * 2).next_power_of_two();
        self.slots.clear();
        self.slots.resize(size, 0);
        for (index, candidate) in self.candidates.iter().enumerate() {
            let mut at = candidate.hash as usize & (size - 1);
            while self.slots[at] != 0 {
                let other = &self.candidates[self.slots[at] as usize - 1];
                if other.hash == candidate.hash && other.document == candidate.document {
                    let id = format!("{} of query {query}", candidate.document);
                    let kind = ErrorKind::Duplicate { what: "document", id };
                    return Err(Fault::new(candidate.start, kind));
                }
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = u32::try_from(index + 1).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    /// Puts the candidates in canonical order and looks up what was judged of them.
    pub(super) fn ranking(&mut self, judged: &Judged<'_>) -> Ranking {
        self.candidates.sort_unstable_by(|a, b| {
            b.score.total_cmp(&a.score).then_with(|| b.document.cmp(a.document))
        });
        let grades = self.candidates.iter().map(|c| judged.grade(c.hash, c.document));
        Ranking::new(grades.collect(), judged.grades().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_those_of_the_library(text in "-?[0-9]{0,12}\\.?[0-9]{0,12}(e-?[0-9]{1,3})?") {
            let expect: Option<f64> = text.parse().ok();
            prop_assert_eq!(number(&text).map(f64::to_bits), expect.map(f64::to_bits), "{}", text);
        }
    }

    #[test]
    fn pieces_end_where_the_query_changes() {
        let bytes = b"1 Q0 a\n1 Q0 b\n1 Q0 c\n2 Q0 a\n3 Q0 a\n3 Q0 b";
        for n_pieces in 1..20 {
            let pieces = split(bytes, n_pieces);
            assert_eq!((pieces[0].0, pieces[pieces.len() - 1].1), (0, bytes.len()));
            for pair in pieces.windows(2) {
                assert_eq!(pair[0].1, pair[1].0);
                assert!([21, 28].contains(&pair[0].1), "{pieces:?}");
            }
        }
        assert_eq!(last_group_start(bytes), 28);
        assert_eq!(last_group_start(b"1 a\n1 b\n"), 0);
    }
}
