//! Pairs that are too long into pairs that fit, with a count of what was cut.

use std::str::FromStr;

use super::PairConfig;
use crate::error::{Error, ErrorKind};

/// Which side of a pair gives way when it is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truncation {
    /// Only the document (Hugging Face's `only_second`).
    SecondOnly,
    /// Whichever side is the longer, one token after the other (Hugging Face's `longest_first`).
    LongestFirst,
}

impl FromStr for Truncation {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "second-only" => Ok(Self::SecondOnly),
            "longest-first" => Ok(Self::LongestFirst),
            _ => Err(ErrorKind::Value {
                field: "truncation",
                expected: "`second-only` or `longest-first`",
                found: text.to_owned(),
            }
            .into()),
        }
    }
}

/// How much was cut from the rows that were encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TruncationReport {
    /// Rows encoded.
    pub rows: u64,
    /// Rows that lost at least one token.
    pub truncated_rows: u64,
    /// Rows whose query lost at least one token.
    pub truncated_queries: u64,
    /// Tokens lost, of queries and documents together.
    pub dropped_tokens: u64,
}

impl TruncationReport {
    /// Adds what another part of the work counted.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.truncated_rows += other.truncated_rows;
        self.truncated_queries += other.truncated_queries;
        self.dropped_tokens += other.dropped_tokens;
    }
}

/// What a template leaves to the two texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Tokens that every row has.
    pub(super) fixed: usize,
    /// The most tokens of a document.
    pub(super) document: usize,
}

/// How many tokens of a query and a document fit, by a config that was checked to leave room.
pub(super) fn pair(
    config: &PairConfig,
    limits: Room,
    n_query: usize,
    n_document: usize,
) -> (usize, usize) {
    let room = config.max_length - limits.fixed;
    let n_document = n_document.min(limits.document);
    let n_query = n_query.min(config.query_max_length);
    match config.truncation {
        Truncation::SecondOnly => (n_query, n_document.min(room - n_query)),
        Truncation::LongestFirst => longest_first(n_query, n_document, room),
    }
}

/// The first tokens of a query and a document, with a count of the rest.
pub(super) fn cut<'a>(
    (kept_query, kept_document): (usize, usize),
    query: &'a [u32],
    document: &'a [u32],
    report: &mut TruncationReport,
) -> (&'a [u32], &'a [u32]) {
    let dropped = query.len() - kept_query + document.len() - kept_document;
    report.rows += 1;
    report.truncated_rows += u64::from(dropped > 0);
    report.truncated_queries += u64::from(kept_query < query.len());
    report.dropped_tokens += dropped as u64;
    (&query[..kept_query], &document[..kept_document])
}

/// The lengths after the longer side lost one token at a time until both fit into `room`.
///
/// Both sides end at half the room when both are longer than that; of an odd room the spare token goes to
/// the document, unless the query was the longer side to begin with.
///
/// # Source
/// `tokenizers` 0.22, `src/utils/truncation.rs`, `TruncationStrategy::LongestFirst`.
fn longest_first(query: usize, document: usize, room: usize) -> (usize, usize) {
    if query + document <= room {
        return (query, document);
    }
    let shorter = query.min(document).min(room / 2);
    let longer = room - shorter;
    if query > document { (longer, shorter) } else { (shorter, longer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        assert_eq!("second-only".parse::<Truncation>().unwrap(), Truncation::SecondOnly);
        assert_eq!("longest-first".parse::<Truncation>().unwrap(), Truncation::LongestFirst);
        assert_eq!(
            "first".parse::<Truncation>().unwrap_err().to_string(),
            "truncation: expected `second-only` or `longest-first`, found `first`"
        );
    }

    #[test]
    fn longest_first_takes_from_the_longer_side_one_by_one() {
        for query in 0..24usize {
            for document in 0..24usize {
                for room in 2..20 {
                    // Only the last, odd token of two sides of equal length is a matter of choice.
                    let (mut q, mut d) = (query, document);
                    while q + d > room {
                        if q > d || (q == d && query <= document) { q -= 1 } else { d -= 1 }
                    }
                    assert_eq!(
                        longest_first(query, document, room),
                        (q, d),
                        "{query} {document} {room}"
                    );
                }
            }
        }
    }

    #[test]
    fn reports_add_up() {
        let mut all = TruncationReport { rows: 2, truncated_rows: 1, ..Default::default() };
        all.merge(&TruncationReport {
            rows: 1,
            truncated_rows: 1,
            truncated_queries: 1,
            dropped_tokens: 4,
        });
        let expected = TruncationReport {
            rows: 3,
            truncated_rows: 2,
            truncated_queries: 1,
            dropped_tokens: 4,
        };
        assert_eq!(all, expected);
    }
}
