//! Wire formats: each file turns the body of one family of clients into a [`Request`], and an [`Answer`] into
//! the body that they read.
//!
//! Every optional field may be null, and fields that are not known are ignored: clients send both.
//!
//! [`Request`]: crate::request::Request
//! [`Answer`]: crate::request::Answer

pub mod client;
pub mod documents;
pub mod error;
pub mod mixedbread;
pub mod nim;
pub mod score;
pub mod tei;

mod text;

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tamis_model::{LongDocuments, WindowPooling};

use crate::failure::Failure;
pub use text::TextInput;

/// Reads a body of one shape. What is no JSON is malformed; JSON of another shape is invalid.
///
/// # Errors
/// With the line and column of what is wrong.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Failure::Invalid(format!("the body: {error}")),
        _ => Failure::Malformed(error.to_string()),
    })
}

/// A list of inputs as candidates, with what the fields of objects become.
fn documents(
    inputs: Vec<TextInput>,
    name: &str,
    fields: Option<&[String]>,
) -> Result<Vec<crate::request::Document>, Failure> {
    if inputs.is_empty() {
        return Err(Failure::Empty(format!("{name}: expected one at least, found none")));
    }
    let one = |(place, input): (usize, TextInput)| {
        input
            .document(fields)
            .map_err(|problem| Failure::Invalid(format!("{name}[{place}]: {problem}")))
    };
    inputs.into_iter().enumerate().map(one).collect()
}

/// Asks for windows over long documents, where a request says so.
fn long_documents(
    pooling: Option<&str>,
    window: Option<usize>,
    overlap: Option<usize>,
) -> Result<Option<LongDocuments>, Failure> {
    let Some(pooling) = pooling else {
        return match (window, overlap) {
            (None, None) => Ok(None),
            _ => Err(Failure::Invalid(
                "window, overlap: expected long_documents beside them".to_owned(),
            )),
        };
    };
    let pooling: WindowPooling = pooling
        .parse()
        .map_err(|problem| Failure::Invalid(format!("long_documents: {problem}")))?;
    if window == Some(0) {
        return Err(Failure::Invalid("window: expected 1 or more, found `0`".to_owned()));
    }
    Ok(Some(LongDocuments { pooling, window, overlap: overlap.unwrap_or(0) }))
}

/// A number of results or tokens: null and 0 mean all of them.
fn limit(n: Option<i64>, name: &str) -> Result<Option<usize>, Failure> {
    match n {
        None | Some(0) => Ok(None),
        Some(n) => usize::try_from(n)
            .map(Some)
            .map_err(|_| Failure::Invalid(format!("{name}: expected 0 or more, found `{n}`"))),
    }
}

/// Which side of a document is cut.
fn keeps_end(direction: Option<&str>, name: &str) -> Result<bool, Failure> {
    match direction.map(str::to_ascii_lowercase).as_deref() {
        None | Some("right") => Ok(false),
        Some("left") => Ok(true),
        Some(other) => {
            Err(Failure::Invalid(format!("{name}: expected `left` or `right`, found `{other}`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where() {
        #[derive(Debug, serde::Deserialize)]
        struct Shape {
            #[expect(dead_code, reason = "only its shape counts")]
            n: usize,
        }
        let failure = |text: &[u8]| parse::<Shape>(text).unwrap_err();
        assert_eq!(
            failure(b"{\"n\": -1}").to_string(),
            "the body: invalid value: integer `-1`, expected usize at line 1 column 8"
        );
        assert!(matches!(failure(b"{\"n\": "), Failure::Malformed(_)));
        assert!(matches!(failure(b"{\"n\": \"\xff\"}"), Failure::Malformed(_)));
        let deep = "[".repeat(100_000);
        assert!(matches!(failure(deep.as_bytes()), Failure::Invalid(_) | Failure::Malformed(_)));
    }
}
