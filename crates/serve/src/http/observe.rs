//! What is counted and written down of every request: never its texts.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use tracing::Instrument;
use uuid::Uuid;

use super::respond;
use crate::failure::Failure;
use crate::format::error::ErrorStyle;

/// The header that names a request.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// The longest name that is taken from a client.
const LONGEST_ID: usize = 128;

/// The name of a request: its client's, or a new one.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Why a request was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(pub(super) &'static str);

/// What a handler says of a request that it served.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) model: String,
    pub(super) n_documents: usize,
    pub(super) n_tokens: usize,
    pub(super) n_truncated: usize,
}

/// Counts a request; one whose client goes away before the answer is counted too.
struct Unanswered {
    route: String,
    is_answered: bool,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if !self.is_answered {
            let labels = [("route", std::mem::take(&mut self.route))];
            metrics::counter!("tamis_disconnected_total", &labels).increment(1);
        }
    }
}

/// Names, times, counts and logs a request, and turns a panic of its handler into an answer.
pub(super) async fn observe(mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let given = given.filter(|id| id.len() <= LONGEST_ID && !id.is_empty()).map(str::to_owned);
    let id = given.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let route = route.to_owned();
    let span = tracing::info_span!("request", %method, route, request_id = id);
    let mut unanswered = Unanswered { route: route.clone(), is_answered: false };
    let answered =
        AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = answered.unwrap_or_else(|_| {
        let failure = Failure::Internal("a defect of the server; see its log".to_owned());
        respond(&failure, ErrorStyle::Plain)
    });
    unanswered.is_answered = true;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let _entered = span.entered();
    count(&response, &route, start);
    response
}

fn count(response: &Response, route: &str, start: Instant) {
    let took = start.elapsed();
    let status = response.status().as_u16();
    let served = response.extensions().get::<Served>();
    let refused = response.extensions().get::<Refused>();
    let labels = [
        ("route", route.to_owned()),
        ("model", served.map_or_else(String::new, |served| served.model.clone())),
        ("status", status.to_string()),
    ];
    metrics::counter!("tamis_requests_total", &labels).increment(1);
    metrics::histogram!("tamis_request_seconds", "route" => route.to_owned()).record(took);
    if let Some(Refused(reason)) = refused {
        metrics::counter!("tamis_refused_total", "reason" => *reason).increment(1);
    }
    let ms = took.as_secs_f64() * 1000.0;
    match (served, refused) {
        (Some(served), _) => tracing::info!(
            status,
            ms,
            model = served.model,
            documents = served.n_documents,
            tokens = served.n_tokens,
            truncated = served.n_truncated,
            "served"
        ),
        (None, Some(Refused(reason))) => tracing::info!(status, ms, reason, "refused"),
        (None, None) => tracing::debug!(status, ms, "answered"),
    }
}
