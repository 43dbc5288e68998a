//! What can go wrong with a file: which file, which line, and what was expected.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::id::IdError;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A problem in a file, with the place where it was found.
#[derive(Debug)]
pub struct Error {
    path: Option<PathBuf>,
    line: Option<u64>,
    kind: ErrorKind,
}

/// What was wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused to read or write.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A line holds bytes that are not UTF-8.
    #[error("invalid UTF-8 at byte {byte} of the line")]
    Utf8 {
        /// Offset of the first bad byte within the line.
        byte: usize,
    },
    /// A line has too few or too many columns.
    #[error("expected {expected}, found {found} columns")]
    Columns {
        /// The columns a line must have, by name.
        expected: &'static str,
        /// How many there were.
        found: usize,
    },
    /// A field does not hold what it should.
    #[error("{field}: expected {expected}, found `{found}`")]
    Value {
        /// The field's name.
        field: &'static str,
        /// What would have been accepted.
        expected: &'static str,
        /// What was there.
        found: String,
    },
    /// A line of JSON is not the object that was expected.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A query or document id is empty or holds white space.
    #[error("{0}")]
    Id(#[from] IdError),
    /// The same id was seen twice where it must be unique.
    #[error("expected every {what} once, found `{id}` again")]
    Duplicate {
        /// `query`, `document`, or what the pair is.
        what: &'static str,
        /// The repeated id.
        id: String,
    },
    /// An id that the other files do not have.
    #[error("unknown {what} `{id}`")]
    Unknown {
        /// `query` or `document`.
        what: &'static str,
        /// The id that was looked for.
        id: String,
    },
    /// A score that has no place in an order.
    #[error("score of document `{document}` is NaN")]
    NotANumber {
        /// The document with that score.
        document: String,
    },
    /// A query or document without text.
    #[error("{what} `{id}` is empty")]
    EmptyText {
        /// `query` or `document`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A file that should be Arrow IPC and is not, or not whole.
    #[error("not a complete Arrow file: {problem}")]
    Arrow {
        /// What is wrong with it.
        problem: String,
    },
    /// A file that should be Parquet and is not, or lacks a column.
    #[error("not a usable Parquet file: {problem}")]
    Parquet {
        /// What is wrong with it.
        problem: String,
    },
    /// Something is already where the output should go.
    #[error("already exists")]
    Exists,
    /// A file that has nothing in it.
    #[error("expected at least one line of data, found none")]
    Empty,
    /// Anything else, said in full.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// An error about a whole file.
    pub fn file(path: &Path, kind: impl Into<ErrorKind>) -> Self {
        Self { path: Some(path.to_owned()), line: None, kind: kind.into() }
    }

    /// An error about one line of a file; lines count from 1.
    pub fn line(path: &Path, line: u64, kind: impl Into<ErrorKind>) -> Self {
        Self { path: Some(path.to_owned()), line: Some(line), kind: kind.into() }
    }

    /// The file, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The line, counted from 1, where the problem lies in one.
    #[must_use]
    pub fn line_number(&self) -> Option<u64> {
        self.line
    }

    /// Only what was wrong, without the place.
    pub(crate) fn into_kind(self) -> ErrorKind {
        self.kind
    }

    /// What was wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { path: None, line: None, kind }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.line) {
            (Some(path), Some(line)) => write!(f, "{}:{line}: {}", path.display(), self.kind),
            (Some(path), None) => write!(f, "{}: {}", path.display(), self.kind),
            _ => write!(f, "{}", self.kind),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.kind)
    }
}
