//! Keys: who may ask.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{App, respond};
use crate::failure::Failure;
use crate::format::error::ErrorStyle;

/// The keys that open the server; none, and it is open to all.
///
/// Only their hashes are kept, and every one is compared in full, so that the time an answer takes says
/// nothing about a key.
#[derive(Clone, Default)]
pub struct Keys {
    hashes: Vec<[u8; 32]>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.hashes.len())
    }
}

impl Keys {
    /// Reads a file of keys: one a line, empty lines and those that start with `#` left out.
    ///
    /// # Errors
    /// When the file cannot be read, has no key, or one has blanks in it or is shorter than 16 characters.
    pub fn read(path: &Path) -> Result<Self> {
        let place = path.display();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{place}: the keys could not be read"))?;
        let mut hashes = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let key = line.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            let line = index + 1;
            ensure!(!key.contains(char::is_whitespace), "{place}:{line}: a key has no blanks");
            ensure!(
                key.len() >= 16,
                "{place}:{line}: expected a key of 16 characters or more, found {}",
                key.len()
            );
            hashes.push(hash(key.as_bytes()));
        }
        ensure!(!hashes.is_empty(), "{place}: expected one key a line, found none");
        Ok(Self { hashes })
    }

    /// Whether the server asks for a key.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether headers have a key, or none is needed.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        self.is_open() || is_allowed(self, headers)
    }

    fn holds(&self, key: &[u8]) -> bool {
        let key = hash(key);
        let found =
            self.hashes.iter().fold(0u8, |found, known| found | known.ct_eq(&key).unwrap_u8());
        found == 1
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Lets a request through that has a key.
pub(super) async fn authorize(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if !app.is_allowed(request.headers()) {
        let is_page = accepts_pages(request.headers());
        let mut response = respond(&Failure::Unauthorized, ErrorStyle::Plain);
        if is_page {
            // A browser then asks the person before it; scripts of a page must not make it ask.
            let challenge = HeaderValue::from_static(r#"Basic realm="tamis", charset="UTF-8""#);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        return response;
    }
    next.run(request).await
}

fn accepts_pages(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// A key as a bearer's token, in one of the headers that clients use, or as the password of a browser.
fn is_allowed(keys: &Keys, headers: &HeaderMap) -> bool {
    let named = ["x-api-key", "api-key"].iter().filter_map(|name| headers.get(*name));
    if named.into_iter().any(|key| keys.holds(key.as_bytes())) {
        return true;
    }
    let Some(value) = headers.get(header::AUTHORIZATION) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let Some((scheme, credentials)) = value.split_once(' ') else { return false };
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return keys.holds(credentials.as_bytes());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let Ok(pair) = STANDARD.decode(credentials) else { return false };
    let colon = pair.iter().position(|&byte| byte == b':');
    colon.is_some_and(|colon| keys.holds(pair.get(colon + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<Keys> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, text).unwrap();
        Keys::read(&path)
    }

    #[test]
    fn keys_come_in_several_headers() {
        let keys = keys("# ours\n0123456789abcdef\n\n  fedcba9876543210 \n").unwrap();
        let allowed = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            is_allowed(&keys, &headers)
        };
        assert!(allowed("authorization", "Bearer fedcba9876543210"));
        assert!(allowed("authorization", "bearer 0123456789abcdef"));
        assert!(allowed("x-api-key", "0123456789abcdef"));
        assert!(allowed("api-key", "0123456789abcdef"));
        let basic = format!("Basic {}", STANDARD.encode("anyone:0123456789abcdef"));
        assert!(allowed("authorization", &basic));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Basic x",
            "Digest 0123456789abcdef",
        ] {
            assert!(!allowed("authorization", wrong), "{wrong}");
        }
        assert!(!is_allowed(&keys, &HeaderMap::new()));
    }

    #[test]
    fn bad_files_are_refused_with_their_line() {
        let problem = |text: &str| keys(text).unwrap_err().to_string();
        assert!(problem("# none\n").ends_with("expected one key a line, found none"));
        assert!(problem("0123456789abcdef\nshort\n").contains("keys:2: expected a key of 16"));
        assert!(problem("0123456789 abcdef\n").contains("keys:1: a key has no blanks"));
        assert!(Keys::read(Path::new("/none")).unwrap_err().to_string().contains("/none"));
    }
}
