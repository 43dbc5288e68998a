//! What can go wrong while training.

use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A problem with a recipe, a run directory or a training step.
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
    /// A recipe has an unknown key or a value that makes no sense.
    #[error("{}: {problem}", path.display())]
    Recipe {
        /// Which file.
        path: PathBuf,
        /// The key, its value, and what was expected.
        problem: String,
    },
    /// A run directory cannot be used as asked.
    #[error("{}: {problem}", path.display())]
    Run {
        /// Which directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A loss or gradient is infinite or not a number.
    #[error(
        "step {step}: the {what} is `{value}`; the batch was written to {}; \
         lower the learning rate or look at the batch", batch.display()
    )]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The file with the groups of that step.
        batch: PathBuf,
    },
    /// The dataset does not have what the recipe needs.
    #[error("{}: {problem}", path.display())]
    Dataset {
        /// The prepared dataset.
        path: PathBuf,
        /// What is missing, and what to do.
        problem: String,
    },
    /// Saved state could not be written or read.
    #[error("{}: {problem}", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A worker of the training is gone.
    #[error(transparent)]
    WorkerLost(#[from] crate::collective::WorkerLost),
    /// A problem with a dataset or an encoding.
    #[error(transparent)]
    Data(#[from] tamis_data::Error),
    /// A problem with a checkpoint or a model.
    #[error(transparent)]
    Model(#[from] tamis_model::Error),
    /// A problem with a measure.
    #[error(transparent)]
    Eval(#[from] tamis_eval::Error),
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn recipe(path: &Path, problem: impl Into<String>) -> Self {
        Self::Recipe { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn run(path: &Path, problem: impl Into<String>) -> Self {
        Self::Run { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn state(path: &Path, problem: impl ToString) -> Self {
        Self::State { path: path.to_owned(), problem: problem.to_string() }
    }
}
