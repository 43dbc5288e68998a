//! Wire formats: each file turns the body of one family of clients into a [`Request`], and an [`Answer`] into
//! the body that they read.
//!
//! Every optional field may be null, and fields that are not known are ignored: clients send both.
//!
//! [`Request`]: crate::request::Request
//! [`Answer`]: crate::request::Answer

pub mod documents;
pub mod error;
pub mod mixedbread;
pub mod nim;
pub mod score;
pub mod tei;

mod text;

use tamis_model::{LongDocuments, WindowPooling};

use crate::failure::Failure;
pub use text::TextInput;

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

/// A number of results: null and 0 mean all.
fn top(n: Option<i64>, name: &str) -> Result<Option<usize>, Failure> {
    match n {
        None | Some(0) => Ok(None),
        Some(n) => usize::try_from(n)
            .map(Some)
            .map_err(|_| Failure::Invalid(format!("{name}: expected 0 or more, found `{n}`"))),
    }
}

/// A limit in tokens: null and 0 mean none.
fn limit(n: Option<i64>, name: &str) -> Result<Option<usize>, Failure> {
    top(n, name)
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
