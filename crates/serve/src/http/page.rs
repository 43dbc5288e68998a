//! The playground and the page of routes, compiled in: no file of another host is asked for.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and text of every file of the folder `page`, but the first page itself.
const FILES: &[(&str, &str, &str)] = &[
    ("/compare.js", SCRIPT, include_str!("../../page/compare.js")),
    ("/docs", HTML, include_str!("../../page/docs.html")),
    ("/docs.js", SCRIPT, include_str!("../../page/docs.js")),
    ("/documents.js", SCRIPT, include_str!("../../page/documents.js")),
    ("/dom.js", SCRIPT, include_str!("../../page/dom.js")),
    ("/examples.js", SCRIPT, include_str!("../../page/examples.js")),
    ("/favicon.ico", IMAGE, include_str!("../../page/favicon.svg")),
    ("/favicon.svg", IMAGE, include_str!("../../page/favicon.svg")),
    ("/page.css", STYLE, include_str!("../../page/page.css")),
    ("/page.js", SCRIPT, include_str!("../../page/page.js")),
    ("/ranking.js", SCRIPT, include_str!("../../page/ranking.js")),
    ("/request.js", SCRIPT, include_str!("../../page/request.js")),
    ("/schema.js", SCRIPT, include_str!("../../page/schema.js")),
    ("/snippets.js", SCRIPT, include_str!("../../page/snippets.js")),
    ("/state.js", SCRIPT, include_str!("../../page/state.js")),
    ("/theme.js", SCRIPT, include_str!("../../page/theme.js")),
];

/// The first page; the same path takes requests that are posted to it.
pub(super) async fn index() -> Response {
    file(HTML, include_str!("../../page/index.html"))
}

/// The routes of all other files.
pub(super) fn files<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, &(path, kind, text)| {
        router.route(path, get(async move || file(kind, text)))
    })
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new version of the server brings a new page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), text).into_response()
}
