//! Routes: which path answers whom.

mod auth;
mod body;
mod info;
mod observe;
pub mod openapi;
mod page;
mod rerank;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use crate::budget::Budget;
use crate::failure::Failure;
use crate::format::error::{ErrorBody, ErrorStyle};
use crate::service::Service;
pub use auth::Keys;

/// How requests are read, and what the server says about itself.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// What computes, as TEI's header says it: `cpu` or `gpu`.
    pub compute: &'static str,
    /// Cuts texts that do not fit where a TEI request does not say.
    pub auto_truncate: bool,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Pages of other hosts that may ask.
    pub cors_origins: Vec<HeaderValue>,
    /// Connections at a time.
    pub max_connections: usize,
}

/// What every handler knows.
pub struct App {
    pub(crate) service: Arc<Service>,
    pub(crate) keys: ArcSwap<Keys>,
    pub(crate) config: HttpConfig,
    bodies: Arc<Budget>,
    metrics: PrometheusHandle,
}

impl App {
    /// Everything that answers a request.
    #[must_use]
    pub fn new(
        service: Arc<Service>,
        keys: Keys,
        config: HttpConfig,
        metrics: PrometheusHandle,
    ) -> Self {
        let bodies = Budget::new(service.limits().max_bodies_bytes);
        Self { service, keys: ArcSwap::from_pointee(keys), config, bodies, metrics }
    }

    /// Whether the headers of a request have a key, or none is needed.
    pub(crate) fn is_allowed(&self, headers: &HeaderMap) -> bool {
        self.keys.load().allow(headers)
    }
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let cors = cors(&app.config.cors_origins);
    Router::new()
        .route("/rerank", post(rerank::rerank))
        .route("/", get(page::index).post(rerank::rerank))
        .route("/invocations", post(rerank::rerank))
        .route("/v1/rerank", post(rerank::rerank_v1))
        .route("/v2/rerank", post(rerank::rerank_v2))
        .route("/voyage/v1/rerank", post(rerank::voyage))
        .route("/score", post(rerank::score))
        .route("/v1/score", post(rerank::score))
        .route("/v1/reranking", post(rerank::mixedbread))
        .route("/v1/ranking", post(rerank::nim))
        .route("/info", get(info::info))
        .route("/v1/models", get(info::models))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/api-doc/openapi.json", get(openapi::document))
        .merge(page::files())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(app.clone(), auth::authorize))
        // What a balancer asks needs no key.
        .route("/health", get(health))
        .route("/ping", get(health))
        .route("/ready", get(ready))
        .layer(cors)
        .layer(from_fn(observe::observe))
        .with_state(app)
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    if origins.is_empty() {
        return CorsLayer::new();
    }
    let any = origins.iter().any(|origin| origin == "*");
    let allowed = if any { AllowOrigin::any() } else { AllowOrigin::list(origins.iter().cloned()) };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(AllowMethods::any())
        .allow_headers(AllowHeaders::any())
}

/// Lives: the process answers.
#[utoipa::path(get, path = "/health", tag = "operations", responses((status = 200, description = "The process lives.")))]
async fn health() -> &'static str {
    ""
}

/// Takes requests: models are warm, a worker computes, and the server is not stopping.
#[utoipa::path(get, path = "/ready", tag = "operations", responses(
    (status = 200, description = "Requests are taken."),
    (status = 503, description = "Starting, stopping or broken.", body = ErrorBody),
))]
async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.service.readiness() {
        Ok(()) => "".into_response(),
        Err(failure) => respond(&failure, ErrorStyle::Plain),
    }
}

/// Everything that is counted, in Prometheus' format.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, description = "Counters, gauges and histograms.", body = String, content_type = "text/plain")))]
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let ready = app.service.readiness().is_ok();
    metrics::gauge!("tamis_ready").set(f64::from(u8::from(ready)));
    metrics::gauge!("tamis_queue_tokens").set(app.service.engine().queued_tokens() as f64);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], app.metrics.render()).into_response()
}

async fn no_route(request: Request) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    respond(&Failure::NoRoute { method, path }, ErrorStyle::Plain)
}

async fn no_method(request: Request) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    respond(&Failure::Method { method, path }, ErrorStyle::Plain)
}

/// The answer to a request that was not served.
fn respond(failure: &Failure, style: ErrorStyle) -> Response {
    let mut response =
        (failure.status(), axum::Json(ErrorBody::new(failure, style))).into_response();
    let headers = response.headers_mut();
    if let Some(after) = failure.retry_after() {
        // Whole seconds, one at least: clients take 0 for no word at all.
        let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        headers.insert("retry-after-ms", HeaderValue::from(after.as_millis() as u64));
    }
    if matches!(failure, Failure::Unauthorized) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let reason = failure.reason();
    response.extensions_mut().insert(observe::Refused(reason));
    response
}
