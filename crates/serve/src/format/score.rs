//! vLLM's scores: `POST /score` with pairs, one query and many documents, or as many of both.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::documents::{Usage, usage};
use super::{documents, limit, text::TextInput};
use crate::failure::Failure;
use crate::request::{Answer, Group, Options, Request};

/// One text or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// Several.
    Many(Vec<TextInput>),
    /// One.
    One(TextInput),
}

/// What vLLM's clients send, in any of its words for the two sides.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ScoreRequest {
    /// The queries: one, or one for every document.
    #[serde(alias = "text_1", alias = "data_1")]
    pub queries: OneOrMany,
    /// The documents.
    #[serde(alias = "text_2", alias = "data_2", alias = "items")]
    pub documents: OneOrMany,
    /// A model's name; the first model when absent.
    pub model: Option<String>,
    /// The most tokens of a document.
    pub max_tokens_per_doc: Option<i64>,
    /// The most tokens of a query.
    pub max_tokens_per_query: Option<i64>,
    /// `false` returns logits.
    pub use_activation: Option<bool>,
    /// Lower ones are served first; 0 when absent.
    pub priority: Option<i32>,
}

/// The score of one pair.
#[derive(Debug, Serialize, ToSchema)]
pub struct PairScore {
    /// Its place in the request.
    pub index: usize,
    /// `score`.
    pub object: &'static str,
    /// Its score.
    pub score: f32,
}

/// Scores in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScoreAnswer {
    /// The request's own name.
    pub id: String,
    /// `list`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that scored.
    pub model: String,
    /// The scores.
    pub data: Vec<PairScore>,
    /// Tokens that the model read.
    pub usage: Usage,
}

impl OneOrMany {
    fn into_list(self) -> Vec<TextInput> {
        match self {
            Self::Many(list) => list,
            Self::One(one) => vec![one],
        }
    }
}

impl ScoreRequest {
    /// The request, and whether its scores are shown as logits.
    ///
    /// # Errors
    /// When a value is not what is expected, or the two sides do not match.
    pub fn into_request(self) -> Result<(Request, bool), Failure> {
        let query = |(place, query): (usize, TextInput)| {
            query.query().map_err(|error| Failure::Invalid(format!("queries[{place}]: {error}")))
        };
        let queries: Vec<String> = self
            .queries
            .into_list()
            .into_iter()
            .enumerate()
            .map(query)
            .collect::<Result<_, _>>()?;
        let documents = documents(self.documents.into_list(), "documents", None)?;
        let n_queries = queries.len();
        let groups = match <[String; 1]>::try_from(queries) {
            Ok([query]) => vec![Group { query, documents }],
            Err(queries) if n_queries == documents.len() => queries
                .into_iter()
                .zip(documents)
                .map(|(query, document)| Group { query, documents: vec![document] })
                .collect(),
            Err(_) => {
                return Err(Failure::Invalid(format!(
                    "queries: expected one, or one for each of the {} documents; found {n_queries}",
                    documents.len()
                )));
            }
        };
        let options = Options {
            query_max_length: limit(self.max_tokens_per_query, "max_tokens_per_query")?,
            document_max_length: limit(self.max_tokens_per_doc, "max_tokens_per_doc")?,
            priority: self.priority.unwrap_or(0),
            ..Options::default()
        };
        let raw = self.use_activation == Some(false);
        Ok((Request { model: self.model, groups, options }, raw))
    }
}

impl ScoreAnswer {
    /// The answer to a request of that id, made now (seconds since 1970).
    #[must_use]
    pub fn new(answer: &Answer, raw: bool, id: String, created: u64) -> Self {
        let pair = |(index, &logit): (usize, &f32)| PairScore {
            index,
            object: "score",
            score: answer.shown(logit, raw),
        };
        Self {
            id,
            object: "list",
            created,
            model: answer.model.name().to_owned(),
            data: answer.scores.iter().flatten().enumerate().map(pair).collect(),
            usage: usage(answer, false),
        }
    }
}
