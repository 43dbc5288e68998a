//! The one shape that everything shares: a query with its candidates.

/// A query and its candidates, as rows of the dataset's queries and corpus.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// Row of the query in [`Dataset::queries`](crate::Dataset::queries).
    pub query: u32,
    /// The candidates: in the order of the first stage, then the judged positives it missed.
    pub candidates: Vec<Candidate>,
}

/// A document proposed for a query, with what is known about the pair.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Candidate {
    /// Row of the document in [`Dataset::corpus`](crate::Dataset::corpus).
    pub document: u32,
    /// Training target, by default the relevance of the qrels; `None` when nobody judged the pair.
    pub label: Option<f32>,
    /// Score of a teacher to distil from.
    pub teacher_score: Option<f32>,
    /// Score of the first stage that proposed the document; `None` when it did not.
    pub first_stage: Option<f32>,
}

/// The texts of one group: what a reranker scores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextGroup<'a> {
    /// The query's text.
    pub query: &'a str,
    /// The candidates' texts, in the order in which scores come back.
    pub documents: Vec<&'a str>,
}
