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

    /// The checkpoint after a step, where the recipe keeps the last few.
    #[must_use]
    pub fn step_checkpoint_path(&self, step: u64) -> PathBuf {
        self.path.join("checkpoints").join(format!("step-{step:08}"))
    }

    /// The steps whose checkpoints are kept, the latest last.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn step_checkpoints(&self) -> Result<Vec<u64>> {
        let folder = self.path.join("checkpoints");
        if folder.exists() { numbered(&folder, "step-") } else { Ok(Vec::new()) }
    }

    /// Removes what a kill left half written. Where it came between the two renames that replace the
    /// checkpoint, the old one gets its name back.
    pub(crate) fn clean(&self) -> Result<()> {
        // A kill after the last save may also leave the state before it.
        let mut states = self.states()?;
        states.pop();
        for step in states {
            let path = self.state_path(step);
            std::fs::remove_dir_all(&path).map_err(|error| Error::io(&path, error))?;
        }
        for folder in [self.path.clone(), self.path.join("checkpoints")] {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                let is_ours = entry.file_name().to_str().is_some_and(|n| n.starts_with(".tamis-"));
                if is_ours && path.is_dir() {
                    let (aside, checkpoint) = (path.join("old"), self.checkpoint_path());
                    let is_checkpoint = folder == self.path && aside.join("config.json").exists();
                    if is_checkpoint && !checkpoint.exists() {
                        std::fs::rename(&aside, &checkpoint)
                            .map_err(|error| Error::io(&checkpoint, error))?;
                    }
                    std::fs::remove_dir_all(&path).map_err(|error| Error::io(&path, error))?;
                }
            }
        }
        Ok(())
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
        numbered(&self.path, "state-")
    }
}

/// The numbers of a folder's entries whose names begin with a prefix, in order.
fn numbered(folder: &Path, prefix: &str) -> Result<Vec<u64>> {
    let io = |error| Error::io(folder, error);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_kill_while_the_checkpoint_is_replaced_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory { path: folder.path().to_owned() };
        // The old checkpoint has stepped aside, the new one has no name yet.
        write(&folder.path().join(".tamis-a/old/config.json"), "old");
        write(&folder.path().join(".tamis-b/config.json"), "new");
        run.clean().unwrap();
        let config = run.checkpoint_path().join("config.json");
        assert_eq!(std::fs::read_to_string(&config).unwrap(), "old");
        // Where the new one has its name, it stays.
        std::fs::write(&config, "new").unwrap();
        write(&folder.path().join(".tamis-c/old/config.json"), "old");
        run.clean().unwrap();
        assert_eq!(std::fs::read_to_string(&config).unwrap(), "new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
