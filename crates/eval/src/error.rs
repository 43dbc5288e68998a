//! What can go wrong in an evaluation: a measure nobody knows, files that do not fit, bad statistics.

use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an evaluation, a comparison, a fusion or a report could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A measure's name or one of its parameters is not known.
    #[error("measure `{text}`: expected {expected}, found {found}")]
    Measure {
        /// The measure as it was written.
        text: String,
        /// What would have been accepted.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A judged query has no candidates in the run, and the policy is `error`.
    #[error(
        "run `{tag}` has no candidates for {n_missing} of {n_judged} judged queries, the first is `{query}`"
    )]
    MissingQuery {
        /// The run's name.
        tag: String,
        /// The first such query in byte order.
        query: String,
        /// How many judged queries are missing.
        n_missing: usize,
        /// How many queries are judged.
        n_judged: usize,
    },
    /// Run and judgements have no query in common.
    #[error(
        "run `{tag}` and the qrels have no query in common (the run has {n_run}, the qrels {n_judged})"
    )]
    NoCommonQuery {
        /// The run's name.
        tag: String,
        /// Queries in the run.
        n_run: usize,
        /// Queries in the qrels.
        n_judged: usize,
    },
    /// Two evaluations cannot be compared.
    #[error("cannot compare `{baseline}` with `{system}`: {why}")]
    Incomparable {
        /// The baseline's name.
        baseline: String,
        /// The other's name.
        system: String,
        /// What differs.
        why: String,
    },
    /// An option of a method lies outside its range.
    #[error("{option}: expected {expected}, found `{found}`")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What would have been accepted.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A file of a format that only this crate reads is not as it should be.
    #[error("{}:{line}: expected {expected}, found `{found}`", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What would have been accepted.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A stream that is read once has a query in two places.
    #[error(
        "{}: query `{query}` comes back after other queries: sort the stream by query, or give a file",
        path.display()
    )]
    Scattered {
        /// The stream.
        path: PathBuf,
        /// The first such query.
        query: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A run, qrels or text file that cannot be used.
    #[error(transparent)]
    Data(#[from] tamis_data::Error),
}
