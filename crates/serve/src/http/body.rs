//! Bodies: read within a time, a size and a share of memory, and parsed with errors that say where.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::App;
use crate::budget::Share;
use crate::failure::Failure;

/// A body, and its share of the memory for bodies.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    _share: Share,
}

/// Reads the JSON body of a request.
pub(super) async fn receive(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received, Failure> {
    check_type(headers)?;
    let limit = app.service.limits().max_body_bytes;
    let said =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let said: usize = said.unwrap_or(0);
    if said > limit {
        return Err(Failure::TooLarge { limit });
    }
    let wait = app.service.engine().wait();
    let full = || Failure::Overloaded { retry_after: wait.max(std::time::Duration::from_secs(1)) };
    let mut share = app.bodies.take(said).ok_or_else(full)?;
    let read = async {
        let mut body = body;
        // No more than was said is set aside, and that a little at a time: a header costs nothing to send.
        let mut bytes = BytesMut::with_capacity(said.min(64 << 10));
        let mut counted = said;
        while let Some(frame) = body.frame().await {
            let broken = |error| Failure::Malformed(format!("it ended early: {error}"));
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(Failure::TooLarge { limit });
            }
            bytes.extend_from_slice(&data);
            if bytes.len() > counted {
                if !share.grow(bytes.len() - counted) {
                    return Err(full());
                }
                counted = bytes.len();
            }
        }
        Ok(bytes.freeze())
    };
    let timeout = app.config.body_timeout;
    let bytes =
        tokio::time::timeout(timeout, read).await.map_err(|_| Failure::SlowBody(timeout))??;
    Ok(Received { bytes, _share: share })
}

/// JSON is expected; a body that says nothing of itself is taken for it.
fn check_type(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or("?");
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json =
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    if is_json { Ok(()) } else { Err(Failure::MediaType(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_json_is_read() {
        let check = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            check_type(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        assert_eq!(check_type(&HeaderMap::new()), Ok(()));
        for json in
            ["application/json", "application/json; charset=utf-8", "application/cloud+JSON"]
        {
            assert_eq!(check(json), Ok(()));
        }
        let failure = check("text/plain").unwrap_err();
        assert_eq!(failure.to_string(), "content type `text/plain`: expected application/json");
    }
}
