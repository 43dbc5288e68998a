//! The routes that score: each reads the body of one family of clients and writes what they read.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::body::{Received, receive};
use super::observe::{RequestId, Served};
use super::{App, respond};
use crate::failure::Failure;
use crate::format::client::{Client, client, client_v1};
use crate::format::documents::{Dialect, DocumentsAnswer, DocumentsRequest};
use crate::format::error::{ErrorBody, ErrorStyle};
use crate::format::mixedbread::{MixedbreadAnswer, MixedbreadRequest};
use crate::format::nim::{NimAnswer, NimRequest};
use crate::format::parse;
use crate::format::score::{ScoreAnswer, ScoreRequest};
use crate::format::tei::{TeiRank, TeiRequest};
use crate::request::Answer;

/// A request's id and body.
async fn open(app: &App, request: Request) -> Result<(String, Received), Failure> {
    let (parts, body) = request.into_parts();
    let id = parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
    let received = receive(app, &parts.headers, body).await?;
    Ok((id, received))
}

/// The answer, or the error in the style of the route.
fn finish(result: Result<Response, Failure>, style: ErrorStyle) -> Response {
    result.unwrap_or_else(|failure| respond(&failure, style))
}

/// Rerank: TEI with `texts`; Jina, vLLM, infinity and Pinecone with `documents`.
#[utoipa::path(post, path = "/rerank", tag = "rerank", request_body(content = TeiRequest, description = "TEI's fields, or those of /v1/rerank"), responses(
    (status = 200, description = "The ranking; with `documents` the answer of /v1/rerank.", body = Vec<TeiRank>),
    (status = 400, description = "Not JSON, or nothing to rank.", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one.", body = ErrorBody),
    (status = 404, description = "No such model.", body = ErrorBody),
    (status = 413, description = "The body is too large.", body = ErrorBody),
    (status = 422, description = "A value is wrong, or more than the server takes.", body = ErrorBody),
    (status = 424, description = "The model failed.", body = ErrorBody),
    (status = 429, description = "The queue is full; try again after Retry-After.", body = ErrorBody),
    (status = 503, description = "Starting or stopping.", body = ErrorBody),
    (status = 504, description = "The request's time ran out.", body = ErrorBody),
))]
pub(super) async fn rerank(State(app): State<Arc<App>>, request: Request) -> Response {
    let is_pinecone = request.headers().contains_key("x-pinecone-api-version");
    let (id, received) = match open(&app, request).await {
        Ok(opened) => opened,
        Err(failure) => return respond(&failure, ErrorStyle::Plain),
    };
    match client(&received.bytes, is_pinecone) {
        Err(failure) => respond(&failure, ErrorStyle::Plain),
        Ok(Client::Tei) => finish(tei(&app, &received).await, ErrorStyle::Plain),
        Ok(Client::Documents(dialect)) => {
            let style = match dialect {
                Dialect::Pinecone => ErrorStyle::Plain,
                _ => ErrorStyle::List,
            };
            finish(documents(&app, &received, id, dialect).await, style)
        }
    }
}

/// Rerank: Cohere v1, Jina, vLLM, and with `top_k` or `truncation` Voyage.
#[utoipa::path(post, path = "/v1/rerank", tag = "rerank", request_body = DocumentsRequest, responses(
    (status = 200, description = "The ranking.", body = DocumentsAnswer),
    (status = 422, description = "A value is wrong, or more than the server takes.", body = ErrorBody),
    (status = 429, description = "The queue is full; try again after Retry-After.", body = ErrorBody),
))]
pub(super) async fn rerank_v1(State(app): State<Arc<App>>, request: Request) -> Response {
    let answer = async {
        let (id, received) = open(&app, request).await?;
        let dialect = client_v1(&received.bytes)?;
        documents(&app, &received, id, dialect).await
    };
    finish(answer.await, ErrorStyle::Plain)
}

/// Rerank: Cohere v2.
#[utoipa::path(post, path = "/v2/rerank", tag = "rerank", request_body = DocumentsRequest, responses(
    (status = 200, description = "The ranking.", body = DocumentsAnswer),
    (status = 422, description = "A value is wrong, or more than the server takes.", body = ErrorBody),
    (status = 429, description = "The queue is full; try again after Retry-After.", body = ErrorBody),
))]
pub(super) async fn rerank_v2(State(app): State<Arc<App>>, request: Request) -> Response {
    let answer = async {
        let (id, received) = open(&app, request).await?;
        documents(&app, &received, id, Dialect::CohereV2).await
    };
    finish(answer.await, ErrorStyle::Plain)
}

/// Rerank: Voyage, on a path where nobody else asks.
#[utoipa::path(post, path = "/voyage/v1/rerank", tag = "rerank", request_body = DocumentsRequest, responses((status = 200, description = "The ranking, in `data`.", body = DocumentsAnswer)))]
pub(super) async fn voyage(State(app): State<Arc<App>>, request: Request) -> Response {
    let answer = async {
        let (id, received) = open(&app, request).await?;
        documents(&app, &received, id, Dialect::Voyage).await
    };
    finish(answer.await, ErrorStyle::Plain)
}

/// Score pairs, in the order of the request: vLLM.
#[utoipa::path(post, path = "/v1/score", tag = "rerank", request_body = ScoreRequest, responses((status = 200, description = "The scores.", body = ScoreAnswer)))]
pub(super) async fn score(State(app): State<Arc<App>>, request: Request) -> Response {
    let answer = async {
        let (id, received) = open(&app, request).await?;
        let (request, raw) = parse::<ScoreRequest>(&received.bytes)?.into_request()?;
        let answer = app.service.score(request).await?;
        let body = ScoreAnswer::new(&answer, raw, format!("score-{id}"), seconds());
        Ok(served(&app, &answer, &body))
    };
    finish(answer.await, ErrorStyle::Object)
}

/// Rerank: Mixedbread.
#[utoipa::path(post, path = "/v1/reranking", tag = "rerank", request_body = MixedbreadRequest, responses((status = 200, description = "The ranking.", body = MixedbreadAnswer)))]
pub(super) async fn mixedbread(State(app): State<Arc<App>>, request: Request) -> Response {
    let answer = async {
        let (_, received) = open(&app, request).await?;
        let (request, shape) = parse::<MixedbreadRequest>(&received.bytes)?.into_request()?;
        let answer = app.service.score(request).await?;
        Ok(served(&app, &answer, &shape.answer(&answer)))
    };
    finish(answer.await, ErrorStyle::Plain)
}

/// Rerank: NVIDIA NIM, answered with logits.
#[utoipa::path(post, path = "/v1/ranking", tag = "rerank", request_body = NimRequest, responses((status = 200, description = "The ranking.", body = NimAnswer)))]
pub(super) async fn nim(State(app): State<Arc<App>>, request: Request) -> Response {
    let answer = async {
        let (_, received) = open(&app, request).await?;
        let request = parse::<NimRequest>(&received.bytes)?.into_request()?;
        let answer = app.service.score(request).await?;
        Ok(served(&app, &answer, &NimAnswer::new(&answer)))
    };
    finish(answer.await, ErrorStyle::Plain)
}

async fn tei(app: &App, received: &Received) -> Result<Response, Failure> {
    let request: TeiRequest = parse(&received.bytes)?;
    let models = app.service.models();
    let known = |name: &str| models.get(Some(name)).is_ok();
    let (request, shape) = request.into_request(app.config.auto_truncate, known)?;
    let answer = app.service.score(request).await?;
    let ranks = shape.ranks(&answer);
    Ok(served(app, &answer, &ranks))
}

async fn documents(
    app: &App,
    received: &Received,
    id: String,
    dialect: Dialect,
) -> Result<Response, Failure> {
    let request: DocumentsRequest = parse(&received.bytes)?;
    let (request, shape) = request.into_request(dialect)?;
    let answer = app.service.score(request).await?;
    Ok(served(app, &answer, &shape.answer(&answer, format!("rerank-{id}"), seconds())))
}

/// Seconds since 1970.
fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// An answer with TEI's headers of times.
fn served(app: &App, answer: &Answer, body: &impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    let ms = |duration: std::time::Duration| format!("{:.3}", duration.as_secs_f64() * 1000.0);
    let timing = &answer.timing;
    for (name, value) in [
        ("x-compute-type", app.config.compute.to_owned()),
        ("x-compute-time", ms(timing.tokenization + timing.queue + timing.inference)),
        ("x-compute-characters", answer.n_characters.to_string()),
        ("x-compute-tokens", answer.n_tokens.to_string()),
        ("x-total-time", ms(timing.total)),
        ("x-tokenization-time", ms(timing.tokenization)),
        ("x-queue-time", ms(timing.queue)),
        ("x-inference-time", ms(timing.inference)),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response.extensions_mut().insert(Served {
        model: answer.model.name().to_owned(),
        n_documents: answer.scores.iter().map(Vec::len).sum(),
        n_tokens: answer.n_tokens,
        n_truncated: answer.cut.len(),
    });
    response
}
