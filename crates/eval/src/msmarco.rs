//! MS MARCO's candidate files (`query document rank`) into its official reciprocal rank, and runs
//! into such files and back.
//!
//! # Source
//! `ms_marco_eval.py` of MS MARCO's organisers. It goes by the rank column, counts every line of
//! the reference as relevant, and divides by all queries of the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use tamis_data::{DocId, Qrels, QueryId, Run, ScoredDocument};

use crate::error::{Error, Result};

/// Whether the faults of the official script are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quirks {
    /// Ranks start at 1 and come once per query, as do documents; ids are any text.
    #[default]
    Refused,
    /// As the script has it: ids are integers, rank 0 is the thousandth place, of two lines with
    /// one rank the later counts, and places without a line hold document 0.
    Kept,
}

/// What the official script prints, and the value of every query.
#[derive(Debug, Clone, PartialEq)]
pub struct OfficialRr {
    /// Mean reciprocal rank over all queries of the reference.
    pub mrr: f64,
    /// Queries in the candidate file.
    pub queries_ranked: usize,
    /// The reciprocal rank of each query of the reference.
    pub per_query: BTreeMap<QueryId, f64>,
}

/// How many candidates the official script has place for.
const PLACES: usize = 1000;

/// The lines of a candidate file, by query, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CandidateFile {
    queries: BTreeMap<QueryId, Vec<(DocId, i64)>>,
}

impl CandidateFile {
    /// Reads `query document rank`, separated by tabs or spaces.
    ///
    /// # Errors
    /// When a line has other than three columns or a rank is no integer, and what `quirks` refuses:
    /// ranks below 1 and anything that comes twice, or ids that are no integers and ranks above
    /// 1000.
    pub fn read(path: &Path, quirks: Quirks) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let mut file = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let fault = |expected: &str, found: &str| Error::Line {
                path: path.to_owned(),
                line: number,
                expected: expected.to_owned(),
                found: found.to_owned(),
            };
            if line.trim().is_empty() {
                continue;
            }
            let columns: Vec<&str> = line.split_ascii_whitespace().collect();
            let [query, document, rank] = columns[..] else {
                return Err(fault("3 columns (query, document, rank)", line.trim()));
            };
            let rank: i64 = rank.parse().map_err(|_| fault("an integer as rank", rank))?;
            if quirks == Quirks::Kept {
                let integer = |id: &str| id.parse::<i64>().is_ok();
                if let Some(id) = [query, document].into_iter().find(|id| !integer(id)) {
                    return Err(fault("an integer as id", id));
                }
                if !(0..=PLACES as i64).contains(&rank) {
                    return Err(fault("a rank up to 1000", columns[2]));
                }
            } else if rank < 1 {
                return Err(fault("a rank of at least 1", columns[2]));
            }
            let id = |error: tamis_data::IdError| fault("an id", &error.to_string());
            let (query, document) =
                (QueryId::new(query).map_err(id)?, DocId::new(document).map_err(id)?);
            let lines = file.queries.entry(query).or_default();
            if quirks == Quirks::Refused {
                if lines.iter().any(|(_, other)| *other == rank) {
                    return Err(fault("each rank once per query", columns[2]));
                }
                if lines.iter().any(|(other, _)| *other == document) {
                    return Err(fault("each document once per query", columns[1]));
                }
            }
            lines.push((document, rank));
        }
        Ok(file)
    }

    /// The candidates of a run with ranks from 1, in canonical order.
    #[must_use]
    pub fn from_run(run: &Run) -> Self {
        let queries = run.iter().map(|(query, candidates)| {
            let lines = candidates.iter().zip(1..).map(|(c, rank)| (c.document.clone(), rank));
            (query.clone(), lines.collect())
        });
        Self { queries: queries.collect() }
    }

    /// A run that has the documents in the order of their ranks: the score is `1 / rank`.
    ///
    /// # Errors
    /// When a document comes twice for a query.
    pub fn to_run(&self, tag: &str) -> Result<Run> {
        let mut run = Run::new(tag);
        for (query, lines) in &self.queries {
            let candidates = lines.iter().map(|(document, rank)| ScoredDocument {
                document: document.clone(),
                score: 1.0 / *rank as f64,
            });
            run.insert(query.clone(), candidates.collect())?;
        }
        Ok(run)
    }

    /// Writes `query`, `document` and `rank`, separated by tabs.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for (query, lines) in &self.queries {
            for (document, rank) in lines {
                writeln!(out, "{query}\t{document}\t{rank}")?;
            }
        }
        Ok(())
    }

    /// The official mean reciprocal rank of the first `cutoff` documents (10 for passages, 100 for
    /// documents).
    ///
    /// # Errors
    /// When no query of the file is in the reference.
    pub fn official_rr(
        &self,
        reference: &Qrels,
        cutoff: usize,
        quirks: Quirks,
    ) -> Result<OfficialRr> {
        let known: BTreeSet<&str> = reference.iter().map(|(query, _)| query.as_str()).collect();
        if !self.queries.keys().any(|query| known.contains(query.as_str())) {
            let (n_run, n_judged) = (self.queries.len(), known.len());
            return Err(Error::NoCommonQuery { tag: "MS MARCO".to_owned(), n_run, n_judged });
        }
        let value = |query: &QueryId| {
            let lines = self.queries.get(query)?;
            let mut first: Option<usize> = None;
            if quirks == Quirks::Kept {
                let mut places = vec!["0"; PLACES];
                for (document, rank) in lines {
                    let place = usize::try_from(*rank - 1).unwrap_or(PLACES - 1);
                    places[place] = document.as_str();
                }
                let mut top = places.into_iter().take(cutoff);
                first = top.position(|id| reference.relevance(query.as_str(), id).is_some());
            } else {
                for (document, rank) in lines {
                    let index = usize::try_from(*rank - 1).unwrap_or(usize::MAX);
                    let hit = index < cutoff
                        && reference.relevance(query.as_str(), document.as_str()).is_some();
                    if hit && first.is_none_or(|first| index < first) {
                        first = Some(index);
                    }
                }
            }
            first.map(|index| 1.0 / (index + 1) as f64)
        };
        let per_query: BTreeMap<QueryId, f64> = reference
            .iter()
            .map(|(query, _)| (query.clone(), value(query).unwrap_or(0.0)))
            .collect();
        let mrr = per_query.values().sum::<f64>() / per_query.len() as f64;
        Ok(OfficialRr { mrr, queries_ranked: self.queries.len(), per_query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, quirks: Quirks) -> Result<CandidateFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        std::fs::write(&path, text).unwrap();
        CandidateFile::read(&path, quirks)
    }

    fn reference(lines: &[(&str, &str)]) -> Qrels {
        let mut qrels = Qrels::new();
        for (query, document) in lines {
            qrels.insert(query.parse().unwrap(), document.parse().unwrap(), 1).unwrap();
        }
        qrels
    }

    #[test]
    fn quirks_are_those_of_the_script() {
        let qrels = reference(&[("1", "7"), ("2", "0"), ("3", "5")]);
        // Query 1: the later line of rank 1 wins. Query 2: document 0 fills empty places. Query 3:
        // rank 0 is the last place.
        let text = "1 8 1\n1 7 1\n2 9 1\n3 5 0\n";
        let official = read(text, Quirks::Kept).unwrap().official_rr(&qrels, 10, Quirks::Kept);
        let official = official.unwrap();
        assert_eq!(official.per_query.values().copied().collect::<Vec<_>>(), [1.0, 0.5, 0.0]);
        assert_eq!((official.mrr, official.queries_ranked), (0.5, 3));
        for (text, message) in [
            ("1 8 1\n1 7 1\n", ":2: expected each rank once per query, found `1`"),
            ("1 8 0\n", ":1: expected a rank of at least 1, found `0`"),
            ("1 8\n", ":1: expected 3 columns (query, document, rank), found `1 8`"),
        ] {
            let error = read(text, Quirks::Refused).unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
        }
        assert!(read("D1 8 1\n", Quirks::Kept).unwrap_err().to_string().contains("integer as id"));
    }

    #[test]
    fn a_run_comes_back_in_the_same_order() {
        let file = read("1 D8 1\n1 D9 2\n1 D1 3\n2 D1 1\n", Quirks::Refused).unwrap();
        let run = file.to_run("t").unwrap();
        assert_eq!(CandidateFile::from_run(&run), file);
        let mut written = Vec::new();
        file.write(&mut written).unwrap();
        assert_eq!(read(std::str::from_utf8(&written).unwrap(), Quirks::Refused).unwrap(), file);
        let official =
            file.official_rr(&reference(&[("1", "D9"), ("4", "D1")]), 10, Quirks::Refused);
        assert_eq!(official.unwrap().mrr, 0.25);
    }
}
