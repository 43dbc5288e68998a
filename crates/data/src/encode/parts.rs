//! How the query and the document of a row are kept apart, for models that read them apart first.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind};

/// What a row needs so that its document's part does not depend on the query.
///
/// The document is cut at what remains beside the longest query, however short the query is.
///
/// # Source
/// MacAvaney et al. 2020, "Efficient Document Re-Ranking for Transformers by Precomputing Term
/// Representations"; the mask tokens: Khattab and Zaharia 2020, "ColBERT", section 3.2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairParts {
    /// Where the positions of a document start.
    #[serde(default)]
    pub position: DocumentPosition,
    /// Mask tokens that are added to every query.
    #[serde(default)]
    pub query_masks: usize,
    /// Where they are added.
    #[serde(default)]
    pub mask_place: MaskPlace,
    /// Whether a document begins as a query does, with the tokenizer's first special tokens: for models
    /// that never read the two together.
    #[serde(default)]
    pub document_start: bool,
}

/// Where mask tokens of a query stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskPlace {
    /// Before the token that ends the query, as matchmaker's loaders put them.
    #[default]
    BeforeSeparator,
    /// After it, as the published examples do.
    AfterSeparator,
}

/// Where the positions of a document start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DocumentPosition {
    /// `padded-query`: where the longest query of the batch ends. Scores depend on the batch.
    #[default]
    PaddedQuery,
    /// `fixed:P`: at this position, whatever the query is.
    Fixed(usize),
}

impl fmt::Display for DocumentPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PaddedQuery => f.write_str("padded-query"),
            Self::Fixed(position) => write!(f, "fixed:{position}"),
        }
    }
}

impl FromStr for DocumentPosition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fixed = text.strip_prefix("fixed:").and_then(|number| number.parse().ok());
        match (text, fixed) {
            ("padded-query", _) => Ok(Self::PaddedQuery),
            (_, Some(position)) => Ok(Self::Fixed(position)),
            _ => Err(ErrorKind::Value {
                field: "position",
                expected: "`padded-query` or `fixed:` and a number",
                found: text.to_owned(),
            }
            .into()),
        }
    }
}

impl Serialize for DocumentPosition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DocumentPosition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        for position in [DocumentPosition::PaddedQuery, DocumentPosition::Fixed(38)] {
            assert_eq!(position.to_string().parse::<DocumentPosition>().unwrap(), position);
        }
        for bad in ["fixed", "fixed:", "fixed:-1", "38"] {
            let error = bad.parse::<DocumentPosition>().unwrap_err().to_string();
            assert!(error.contains("expected `padded-query` or `fixed:`"), "{error}");
            assert!(error.ends_with(&format!("found `{bad}`")), "{error}");
        }
    }
}
