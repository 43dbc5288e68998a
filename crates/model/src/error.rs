//! What can go wrong with a checkpoint or a batch.

use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What to do about a head that is missing or has the wrong labels.
pub(crate) const NEW_HEAD: &str = "a new head, to be trained, is drawn only when asked for: \
                                   --new-head, or init = \"new-head\" under [model] of a recipe";

/// A problem with a checkpoint, its files or what it is asked to score.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration file is not what this version understands.
    #[error("{}: {problem}", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// The key, its value, and what was expected.
        problem: String,
    },
    /// A weight file is damaged or of another kind.
    #[error("{}: {problem}", path.display())]
    Weights {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The tensors of a checkpoint are not those that the architecture needs.
    #[error("{}: {}", path.display(), tensor_problems(missing, unused, misshapen))]
    Tensors {
        /// The checkpoint's weight file.
        path: PathBuf,
        /// Names that the architecture needs and the file lacks.
        missing: Vec<String>,
        /// Names in the file that nothing uses.
        unused: Vec<String>,
        /// `name: found [..], expected [..]`
        misshapen: Vec<String>,
    },
    /// The checkpoint is an encoder alone.
    #[error("{}: the checkpoint has no classification head: it lacks {}; {NEW_HEAD}", path.display(), missing.join(", "))]
    NoHead {
        /// The checkpoint's weight file.
        path: PathBuf,
        /// The tensors of the head.
        missing: Vec<String>,
    },
    /// There is no such device.
    #[error("device `{name}`: {problem}")]
    Device {
        /// What was asked for.
        name: String,
        /// Why not.
        problem: String,
    },
    /// A model of the hub could not be had.
    #[error("{name}: {problem}")]
    Hub {
        /// The model's name, or what was asked for.
        name: String,
        /// Why not.
        problem: String,
    },
    /// A row is longer than the model's table of positions.
    #[error("a row has {found} tokens, but the model has {limit} positions; lower max_length")]
    TooLong {
        /// Tokens of the row.
        found: usize,
        /// Positions of the model.
        limit: usize,
    },
    /// A coarser precision was asked of a device that does not compute in it.
    #[error("precision {precision}: this device does not compute in it; use f32 or --device cpu")]
    Precision {
        /// What was asked for.
        precision: tamis_ops::Precision,
    },
    /// A row without a token, which has nothing to score.
    #[error("a query and its document are both empty, and the model's template adds nothing")]
    EmptyRow,
    /// An effort that the model cannot make.
    #[error("{problem}")]
    Effort {
        /// What was asked for, and what there is.
        problem: String,
    },
    /// Windows over a long document would not get on.
    #[error("windows of {window} tokens cannot overlap by {overlap}; lower the overlap")]
    Overlap {
        /// Tokens that neighbouring windows would share.
        overlap: usize,
        /// Tokens of a window beside the longest query.
        window: usize,
    },
    /// A score that has no place in an order.
    #[error("the score of document {document} of group {group} is not a number")]
    NotANumber {
        /// The group's place in the request, from 0.
        group: usize,
        /// The document's place in the group, from 0.
        document: usize,
    },
    /// The model cannot read documents that were computed before.
    #[error("documents of this model cannot be computed once: {problem}")]
    NoTerms {
        /// Why not.
        problem: &'static str,
    },
    /// A store of documents is of another model.
    #[error("the store is of another model: {difference}; index the documents with this model")]
    OtherTerms {
        /// The first difference.
        difference: String,
    },
    /// The tokenizer or the pair encoding failed.
    #[error(transparent)]
    Data(#[from] tamis_data::Error),
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    #[cfg(feature = "hub")]
    pub(crate) fn hub(name: &str, problem: impl Into<String>) -> Self {
        Self::Hub { name: name.to_owned(), problem: problem.into() }
    }

    pub(crate) fn config(path: &Path, problem: impl Into<String>) -> Self {
        Self::Config { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn weights(path: &Path, problem: impl Into<String>) -> Self {
        Self::Weights { path: path.to_owned(), problem: problem.into() }
    }
}

fn tensor_problems(missing: &[String], unused: &[String], misshapen: &[String]) -> String {
    let parts: Vec<String> =
        [("lacks", missing), ("has unused", unused), ("has misshapen", misshapen)]
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what} {}", names.join(", ")))
            .collect();
    format!("the checkpoint {}", parts.join("; "))
}
