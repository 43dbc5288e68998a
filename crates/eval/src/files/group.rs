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
            let score = match column(4).parse::<f64>() {
                Ok(score) if !score.is_nan() => score,
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
    order: Vec<(u64, u32)>,
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
        self.order.clear();
        self.order.extend((0..).zip(&self.candidates).map(|(index, c)| (c.hash, index)));
        self.order.sort_unstable();
        let mut second: Option<usize> = None;
        for same in self.order.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            for (n, &(_, later)) in same.iter().enumerate() {
                let document = self.candidates[later as usize].document;
                let earlier = same[..n].iter().map(|&(_, index)| &self.candidates[index as usize]);
                if earlier.into_iter().any(|candidate| candidate.document == document) {
                    let later = later as usize;
                    second = Some(second.map_or(later, |first| first.min(later)));
                }
            }
        }
        let Some(index) = second else { return Ok(()) };
        let Candidate { document, start, .. } = self.candidates[index];
        let id = format!("{document} of query {query}");
        Err(Fault::new(start, ErrorKind::Duplicate { what: "document", id }))
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
