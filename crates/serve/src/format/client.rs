//! Who asks: clients of several formats share a path, and are told apart by the keys that they send.

use serde::de::{Deserialize, Deserializer, IgnoredAny};

use super::documents::Dialect;
use super::parse;
use crate::failure::Failure;

/// Whether a key is in an object, whatever its value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(Self(true))
    }
}

/// The keys by which clients of one route are told apart.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Tells {
    texts: Present,
    raw_scores: Present,
    top_k: Present,
    truncation: Present,
}

/// Who asks on `/rerank`.
#[derive(Debug, PartialEq, Eq)]
pub enum Client {
    /// One that sends `texts`.
    Tei,
    /// One that sends `documents`.
    Documents(Dialect),
}

/// Tells who asks on `/rerank`: by `texts` TEI, by its header Pinecone, by `raw_scores` infinity.
///
/// # Errors
/// When the body is no JSON object.
pub fn client(bytes: &[u8], is_pinecone: bool) -> Result<Client, Failure> {
    let tells: Tells = parse(bytes)?;
    Ok(match (tells.texts.0, is_pinecone, tells.raw_scores.0) {
        (true, _, _) => Client::Tei,
        (_, true, _) => Client::Documents(Dialect::Pinecone),
        (_, _, true) => Client::Documents(Dialect::Infinity),
        _ => Client::Documents(Dialect::Results),
    })
}

/// Tells who asks on `/v1/rerank`: by `top_k` or `truncation`, even if null, Voyage.
///
/// # Errors
/// When the body is no JSON object.
pub fn client_v1(bytes: &[u8]) -> Result<Dialect, Failure> {
    let tells: Tells = parse(bytes)?;
    let is_voyage = tells.top_k.0 || tells.truncation.0;
    Ok(if is_voyage { Dialect::Voyage } else { Dialect::Results })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_apart_by_their_keys() {
        let who = |body: &str, pinecone| client(body.as_bytes(), pinecone).unwrap();
        assert_eq!(who(r#"{"texts": null, "documents": []}"#, false), Client::Tei);
        assert_eq!(who(r#"{"documents": []}"#, false), Client::Documents(Dialect::Results));
        let infinity = r#"{"documents": [], "raw_scores": false}"#;
        assert_eq!(who(infinity, false), Client::Documents(Dialect::Infinity));
        assert_eq!(who(infinity, true), Client::Documents(Dialect::Pinecone));
        let v1 = |body: &str| client_v1(body.as_bytes()).unwrap();
        assert_eq!(v1(r#"{"top_n": null}"#), Dialect::Results);
        assert_eq!(v1(r#"{"top_k": null}"#), Dialect::Voyage);
        assert_eq!(v1(r#"{"truncation": true}"#), Dialect::Voyage);
    }
}
