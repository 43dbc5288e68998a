//! What all wire formats become, and what all answers are made of.

use std::sync::Arc;
use std::time::Duration;

use tamis_data::TruncationReport;
use tamis_model::{Activation, LongDocuments};

use crate::model::Model;

/// Queries with their candidates, and how they are to be scored.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The model's name; the first model when absent.
    pub model: Option<String>,
    /// Each query with its candidates.
    pub groups: Vec<Group>,
    /// How they are scored.
    pub options: Options,
}

/// A query with its candidates.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The query's text.
    pub query: String,
    /// Its candidates.
    pub documents: Vec<Document>,
}

/// A candidate: a text, or the id of a document in the model's store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// Its id, which answers repeat.
    pub id: Option<String>,
    /// Its text; without one the document is read from the store.
    pub text: Option<String>,
}

/// How a request is scored, where it does not leave that to the model.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Refuses the request when a text would be cut.
    pub refuses_truncation: bool,
    /// Keeps the end of a document that is cut.
    pub keeps_end: bool,
    /// The most tokens of a query.
    pub query_max_length: Option<usize>,
    /// The most tokens of a document.
    pub document_max_length: Option<usize>,
    /// What becomes of documents that do not fit.
    pub long_documents: Option<LongDocuments>,
    /// The depth that gives scores.
    pub exit: Option<usize>,
    /// So many tokens of a document become one.
    pub ratio: Option<usize>,
    /// Lower ones come first, as in Cohere's and vLLM's formats; 0 is usual.
    pub priority: i32,
    /// How long the client waits.
    pub timeout: Option<Duration>,
}

/// The scores of a request, and what it took.
pub struct Answer {
    /// The model that scored.
    pub model: Arc<Model>,
    /// Raw logits: of every group those of its documents, in their order.
    pub scores: Vec<Vec<f32>>,
    /// Tokens that the model read.
    pub n_tokens: usize,
    /// Characters of all texts.
    pub n_characters: usize,
    /// What was cut.
    pub truncation: TruncationReport,
    /// Documents that were cut: places group after group.
    pub cut: Vec<usize>,
    /// Where the time went.
    pub timing: Timing,
}

/// Where the time of a request went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Reading its texts into tokens.
    pub tokenization: Duration,
    /// Waiting for its turn.
    pub queue: Duration,
    /// From its first row to its last score.
    pub inference: Duration,
    /// From its body to its answer.
    pub total: Duration,
}

impl Answer {
    /// A logit as it is shown: raw, or through the model's activation.
    #[must_use]
    pub fn shown(&self, logit: f32, raw: bool) -> f32 {
        match self.model.activation() {
            Activation::Sigmoid if !raw => 1.0 / (1.0 + (-logit).exp()),
            _ => logit,
        }
    }

    /// The documents of a group by score, the best first; those of one score as they came.
    ///
    /// The order is that of the logits: an activation that is flat at its ends does not tie them.
    #[must_use]
    pub fn ranking(&self, group: usize, top_n: Option<usize>) -> Vec<(usize, f32)> {
        let scores = self.scores.get(group).map(Vec::as_slice).unwrap_or_default();
        let mut ranking: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranking.truncate(top_n.unwrap_or(usize::MAX));
        ranking
    }
}
