//! Identifiers of queries and documents: non-empty, without white space, cheap to clone.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text cannot be an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// There is no character in it.
    #[error("an id must not be empty")]
    Empty,
    /// It would break the columns of a TREC file.
    #[error("an id must not contain white space, found `{0}`")]
    WhiteSpace(String),
}

/// Refuses what cannot be an identifier.
pub(crate) fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if text.contains(char::is_whitespace) {
        Err(IdError::WhiteSpace(text.to_owned()))
    } else {
        Ok(())
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a text and keeps it.
            ///
            /// # Errors
            /// When `text` is empty or contains white space.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The identifier as it stands in the file.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        // Lookups by `&str` agree with the derived order and hash, which are the string's own.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

id!(
    /// The identifier of a query. Orders by bytes, as `strcmp` does.
    QueryId
);
id!(
    /// The identifier of a document. Orders by bytes, as `strcmp` does.
    DocId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_emptiness_are_refused() {
        assert_eq!(DocId::new(""), Err(IdError::Empty));
        assert_eq!(QueryId::new("a b"), Err(IdError::WhiteSpace("a b".into())));
        assert_eq!(DocId::new("D#1").unwrap().as_str(), "D#1");
    }

    #[test]
    fn order_is_that_of_bytes() {
        assert!(DocId::new("10").unwrap() < DocId::new("9").unwrap());
    }
}
