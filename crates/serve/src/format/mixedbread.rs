//! Mixedbread: `POST /v1/reranking` with `input`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::documents::{Usage, usage};
use super::{documents, limit, text::TextInput};
use crate::failure::Failure;
use crate::request::{Answer, Group, Options, Request};

/// What Mixedbread's clients send.
#[derive(Debug, Deserialize, ToSchema)]
pub struct MixedbreadRequest {
    /// The query.
    pub query: TextInput,
    /// The documents.
    #[schema(value_type = Vec<TextInput>)]
    pub input: Vec<Value>,
    /// A model's name; the first model when absent.
    pub model: Option<String>,
    /// The best so many are returned; all when null or 0.
    pub top_k: Option<i64>,
    /// Repeats each document beside its score.
    pub return_input: Option<bool>,
    /// The fields of objects that are read.
    pub rank_fields: Option<Vec<String>>,
}

/// One document of the ranking.
#[derive(Debug, Serialize, ToSchema)]
pub struct MixedbreadRank {
    /// Its place in the request.
    pub index: usize,
    /// Its score.
    pub score: f32,
    /// The document as it was sent, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub input: Option<Value>,
    /// `rank_result`.
    pub object: &'static str,
}

/// A ranking, the best document first.
#[derive(Debug, Serialize, ToSchema)]
pub struct MixedbreadAnswer {
    /// `list`.
    pub object: &'static str,
    /// The model that scored.
    pub model: String,
    /// The ranking.
    pub data: Vec<MixedbreadRank>,
    /// Tokens that the model read.
    pub usage: Usage,
    /// As it was asked for.
    pub top_k: Option<usize>,
    /// As it was asked for.
    pub return_input: bool,
}

/// What an answer needs to know of its request.
#[derive(Debug)]
pub struct MixedbreadShape {
    top_k: Option<usize>,
    inputs: Option<Vec<Value>>,
}

impl MixedbreadRequest {
    /// The request, and the shape of its answer.
    ///
    /// # Errors
    /// When a value is not what is expected.
    pub fn into_request(self) -> Result<(Request, MixedbreadShape), Failure> {
        let query = self.query.query().map_err(|e| Failure::Invalid(format!("query: {e}")))?;
        let top_k = limit(self.top_k, "top_k")?;
        let inputs = self.return_input.unwrap_or(false).then(|| self.input.clone());
        let read = |(place, input)| {
            serde_json::from_value(input)
                .map_err(|error| Failure::Invalid(format!("input[{place}]: {error}")))
        };
        let input: Vec<TextInput> =
            self.input.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let documents = documents(input, "input", self.rank_fields.as_deref())?;
        let groups = vec![Group { query, documents }];
        let request = Request { model: self.model, groups, options: Options::default() };
        Ok((request, MixedbreadShape { top_k, inputs }))
    }
}

impl MixedbreadShape {
    /// The answer.
    #[must_use]
    pub fn answer(mut self, answer: &Answer) -> MixedbreadAnswer {
        let return_input = self.inputs.is_some();
        let rank = |(index, logit)| MixedbreadRank {
            index,
            score: answer.shown(logit, false),
            input: self.inputs.as_mut().and_then(|all| all.get_mut(index)).map(Value::take),
            object: "rank_result",
        };
        MixedbreadAnswer {
            object: "list",
            model: answer.model.name().to_owned(),
            data: answer.ranking(0, self.top_k).into_iter().map(rank).collect(),
            usage: usage(answer, false),
            top_k: self.top_k,
            return_input,
        }
    }
}
