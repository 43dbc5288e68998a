//! One body for errors in which every client finds its own field.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::failure::Failure;

/// What clients of a route read when something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStyle {
    /// TEI reads `error` and `error_type`, Cohere `message`, Jina and Voyage `detail`.
    Plain,
    /// infinity reads `detail` at 422 as a list.
    List,
    /// vLLM reads `error` as an object.
    Object,
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong (TEI); on `/score` an object of `message`, `type`, `param`, `code` (vLLM).
    #[schema(value_type = String)]
    pub error: Value,
    /// The kind: `Validation`, `Empty`, `Overloaded`, `Unhealthy`, `Backend`, `Timeout`, `NotFound`,
    /// `Unauthorized` (TEI).
    pub error_type: &'static str,
    /// What is wrong (Cohere).
    pub message: String,
    /// What is wrong (Jina, Voyage, NIM); on `/rerank` with `documents` and status 422 a list (infinity).
    #[schema(value_type = String)]
    pub detail: Value,
}

impl ErrorBody {
    /// The body for the clients of a route.
    #[must_use]
    pub fn new(failure: &Failure, style: ErrorStyle) -> Self {
        let message = failure.to_string();
        let status = failure.status().as_u16();
        let error = match style {
            ErrorStyle::Object => json!({
                "message": message, "type": failure.kind(), "param": null, "code": status,
            }),
            _ => json!(message),
        };
        let detail = match (style, status) {
            (ErrorStyle::List, 422) => {
                let place = message.split(':').next().unwrap_or_default();
                json!([{ "loc": ["body", place], "msg": message, "type": "value_error" }])
            }
            _ => json!(message),
        };
        Self { error, error_type: failure.kind(), message, detail }
    }
}
