//! The OpenAPI document, made from the code that answers.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use super::{info, rerank};

/// All routes and bodies.
#[derive(OpenApi)]
#[openapi(
    info(title = "Tamis", description = "A reranking server. Scores are those of the checkpoint, through its own activation unless raw scores are asked for."),
    paths(
        rerank::rerank, rerank::rerank_v1, rerank::rerank_v2, rerank::voyage, rerank::score, rerank::mixedbread, rerank::nim,
        info::info, info::models, super::health, super::ready, super::metrics,
    ),
    components(schemas(
        crate::format::documents::DocumentsRequest, crate::format::documents::DocumentsAnswer,
    )),
    tags((name = "rerank", description = "Rank documents, or score pairs."), (name = "operations", description = "What the server says about itself.")),
)]
struct Api;

/// The document as JSON.
#[must_use]
pub fn openapi() -> Document {
    let mut api = Api::openapi();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    api.components.get_or_insert_default().add_security_scheme("key", bearer);
    api
}

pub(super) async fn document() -> Json<Document> {
    Json(openapi())
}
