//! Groups: a query and its candidates, as row numbers for training and as texts for scoring.

/// A query and its candidates, by their rows in the prepared tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Row of the query.
    pub query: u32,
    /// What was proposed for it.
    pub candidates: Vec<Candidate>,
}

/// A document proposed for a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Row of the document.
    pub document: u32,
    /// The training target; `None` when nobody judged the document.
    pub label: Option<f32>,
    /// The distillation target, where there is one.
    pub teacher_score: Option<f32>,
    /// The first stage's score, where it proposed the document.
    pub first_stage: Option<f32>,
}

/// A query and its candidates as texts.
#[derive(Debug, Clone, PartialEq)]
pub struct TextGroup<'a> {
    /// The query's text.
    pub query: &'a str,
    /// The candidates' texts.
    pub documents: Vec<&'a str>,
}
