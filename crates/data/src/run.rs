//! Runs: the scored candidates of each query, kept in the one canonical order.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind};
use crate::id::{DocId, QueryId};

/// A document proposed for a query, with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredDocument {
    /// Which document.
    pub document: DocId,
    /// The higher, the better; never NaN inside a [`Run`].
    pub score: f64,
}

/// Scored candidates per query, in canonical order: score descending, then document id descending.
///
/// The order is trec_eval's. The rank column of a file plays no part in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    tag: String,
    queries: BTreeMap<QueryId, Vec<ScoredDocument>>,
}

impl Run {
    /// An empty run with the name that its files carry in their last column.
    #[must_use]
    pub fn new(tag: &str) -> Self {
        Self { tag: tag.to_owned(), queries: BTreeMap::new() }
    }

    /// Adds a query with its candidates in any order.
    ///
    /// # Errors
    /// When the query is already there, a document occurs twice, or a score is NaN.
    pub fn insert(
        &mut self,
        query: QueryId,
        mut candidates: Vec<ScoredDocument>,
    ) -> Result<(), Error> {
        if self.queries.contains_key(&query) {
            return Err(ErrorKind::Duplicate { what: "query", id: query.to_string() }.into());
        }
        if let Some(bad) = candidates.iter().find(|c| c.score.is_nan()) {
            return Err(ErrorKind::NotANumber { document: bad.document.to_string() }.into());
        }
        if let Some(document) = repeated(&candidates) {
            let id = format!("{document} of query {query}");
            return Err(ErrorKind::Duplicate { what: "document", id }.into());
        }
        candidates.sort_unstable_by(canonical);
        self.queries.insert(query, candidates);
        Ok(())
    }

    /// The run's name.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The queries in byte order, each with its candidates in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&QueryId, &[ScoredDocument])> {
        self.queries.iter().map(|(query, candidates)| (query, candidates.as_slice()))
    }

    /// The candidates of one query in canonical order; `None` when the run lacks it.
    #[must_use]
    pub fn query(&self, query: &str) -> Option<&[ScoredDocument]> {
        self.queries.get(query).map(Vec::as_slice)
    }

    /// How many queries the run answers.
    #[must_use]
    pub fn n_queries(&self) -> usize {
        self.queries.len()
    }

    /// How many candidates it holds in all.
    #[must_use]
    pub fn n_candidates(&self) -> usize {
        self.queries.values().map(Vec::len).sum()
    }
}

/// A document that occurs twice, the first in byte order.
pub(crate) fn repeated(candidates: &[ScoredDocument]) -> Option<&DocId> {
    let mut ids: Vec<&DocId> = candidates.iter().map(|c| &c.document).collect();
    ids.sort_unstable();
    ids.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// Score descending, then document id descending (bytes).
pub(crate) fn canonical(a: &ScoredDocument, b: &ScoredDocument) -> std::cmp::Ordering {
    // `+ 0.0` makes -0.0 equal to 0.0, as C's comparison has it.
    (b.score + 0.0).total_cmp(&(a.score + 0.0)).then_with(|| b.document.cmp(&a.document))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(pairs: &[(&str, f64)]) -> Vec<ScoredDocument> {
        let doc = |&(id, score): &(&str, f64)| ScoredDocument {
            document: DocId::new(id).unwrap(),
            score,
        };
        pairs.iter().map(doc).collect()
    }

    #[test]
    fn ties_break_by_doc_id_descending() {
        let mut run = Run::new("t");
        let query = QueryId::new("q").unwrap();
        run.insert(query, candidates(&[("a", 1.0), ("c", 0.0), ("b", -0.0), ("d", 2.0)])).unwrap();
        let order: Vec<_> = run.query("q").unwrap().iter().map(|c| c.document.as_str()).collect();
        assert_eq!(order, ["d", "a", "c", "b"]);
    }

    #[test]
    fn nan_and_duplicates_are_refused() {
        let mut run = Run::new("t");
        let query = QueryId::new("q").unwrap();
        let nan = run.insert(query.clone(), candidates(&[("a", f64::NAN)])).unwrap_err();
        assert_eq!(nan.to_string(), "score of document `a` is NaN");
        let twice = run.insert(query, candidates(&[("a", 1.0), ("a", 2.0)])).unwrap_err();
        assert_eq!(twice.to_string(), "expected every document once, found `a of query q` again");
    }
}
