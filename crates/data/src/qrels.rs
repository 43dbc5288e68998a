//! Relevance judgements: what assessors said of a query and a document. Unjudged is absent, not zero.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind};
use crate::id::{DocId, QueryId};

/// The judgements of a collection, by query and document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Qrels {
    queries: BTreeMap<QueryId, BTreeMap<DocId, i32>>,
}

impl Qrels {
    /// No judgements yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one judgement.
    ///
    /// # Errors
    /// When the pair was judged before.
    pub fn insert(&mut self, query: QueryId, document: DocId, relevance: i32) -> Result<(), Error> {
        let judged = self.queries.entry(query).or_default();
        if judged.contains_key(&document) {
            let id = document.to_string();
            return Err(ErrorKind::Duplicate { what: "judgement of document", id }.into());
        }
        judged.insert(document, relevance);
        Ok(())
    }

    /// The judged queries in byte order, each with its documents.
    pub fn iter(&self) -> impl Iterator<Item = (&QueryId, &BTreeMap<DocId, i32>)> {
        self.queries.iter()
    }

    /// The judgements of one query; `None` when it has none.
    #[must_use]
    pub fn query(&self, query: &str) -> Option<&BTreeMap<DocId, i32>> {
        self.queries.get(query)
    }

    /// The relevance of a document, `None` when nobody judged it.
    #[must_use]
    pub fn relevance(&self, query: &str, document: &str) -> Option<i32> {
        self.queries.get(query)?.get(document).copied()
    }

    /// How many queries have judgements.
    #[must_use]
    pub fn n_queries(&self) -> usize {
        self.queries.len()
    }

    /// How many judgements there are.
    #[must_use]
    pub fn n_judgements(&self) -> usize {
        self.queries.values().map(BTreeMap::len).sum()
    }
}
