//! NVIDIA NIM: `POST /v1/ranking` with `passages`, answered with logits.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::documents::{Usage, usage};
use super::{documents, text::TextInput};
use crate::failure::Failure;
use crate::request::{Answer, Group, Options, Request};

/// What NIM's clients send.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NimRequest {
    /// The query.
    pub query: TextInput,
    /// The documents.
    pub passages: Vec<TextInput>,
    /// A model's name; the first model when absent.
    pub model: Option<String>,
    /// `NONE` refuses texts that do not fit; `END` cuts them, as when absent.
    pub truncate: Option<String>,
}

/// One document of the ranking.
#[derive(Debug, Serialize, ToSchema)]
pub struct NimRank {
    /// Its place in the request.
    pub index: usize,
    /// Its logit.
    pub logit: f32,
}

/// A ranking, the best document first.
#[derive(Debug, Serialize, ToSchema)]
pub struct NimAnswer {
    /// The ranking.
    pub rankings: Vec<NimRank>,
    /// Tokens that the model read.
    pub usage: Usage,
}

impl NimRequest {
    /// The request.
    ///
    /// # Errors
    /// When a value is not what is expected.
    pub fn into_request(self) -> Result<Request, Failure> {
        let query = self.query.query().map_err(|e| Failure::Invalid(format!("query: {e}")))?;
        let documents = documents(self.passages, "passages", None)?;
        let refuses_truncation = match self.truncate.as_deref() {
            None | Some("END") => false,
            Some("NONE") => true,
            Some(other) => {
                let problem = format!("truncate: expected `NONE` or `END`, found `{other}`");
                return Err(Failure::Invalid(problem));
            }
        };
        let groups = vec![Group { query, documents }];
        let options = Options { refuses_truncation, ..Options::default() };
        Ok(Request { model: self.model, groups, options })
    }
}

impl NimAnswer {
    /// The answer.
    #[must_use]
    pub fn new(answer: &Answer) -> Self {
        let rank = |(index, logit)| NimRank { index, logit };
        let rankings = answer.ranking(0, None).into_iter().map(rank).collect();
        Self { rankings, usage: usage(answer, false) }
    }
}
