//! The directory of one run: where everything about it lies.

use std::path::{Path, PathBuf};

use tamis_data::output;

use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// A run directory.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Makes a new one and writes the resolved recipe into it.
    ///
    /// # Errors
    /// When it exists already, or cannot be made.
    pub fn create(path: &Path, recipe: &Recipe) -> Result<Self> {
        let run = Self { path: path.to_owned() };
        if run.recipe_path().exists() {
            let problem = "a run is there already; choose another --out, or go on with --resume";
            return Err(Error::run(path, problem));
        }
        std::fs::create_dir_all(path).map_err(|error| Error::io(path, error))?;
        let text = recipe.to_toml();
        output::write_file(&run.recipe_path(), |out| out.write_all(text.as_bytes()))?;
        Ok(run)
    }

    /// Opens one to resume it.
    ///
    /// # Errors
    /// When there is no run.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self { path: path.to_owned() };
        if !run.recipe_path().exists() {
            return Err(Error::run(path, "no run is there: recipe.toml is missing"));
        }
        Ok(run)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved recipe.
    #[must_use]
    pub fn recipe_path(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// One line per step and per dev evaluation.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.path.join("train.jsonl")
    }

    /// The best checkpoint so far, or the last one where there is no dev set.
    #[must_use]
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// The groups of a step whose loss was not finite.
    #[must_use]
    pub fn bad_batch_path(&self) -> PathBuf {
        self.path.join("bad-batch.json")
    }

    /// What resuming after a step needs.
    #[must_use]
    pub(crate) fn state_path(&self, step: u64) -> PathBuf {
        self.path.join(format!("state-{step:08}"))
    }

    /// The steps that can be resumed from, the latest last.
    pub(crate) fn states(&self) -> Result<Vec<u64>> {
        let io = |error| Error::io(&self.path, error);
        let mut steps = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let step: Option<u64> =
                name.to_str().and_then(|name| name.strip_prefix("state-")?.parse().ok());
            steps.extend(step);
        }
        steps.sort_unstable();
        Ok(steps)
    }
}
