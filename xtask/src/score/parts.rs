//! Long work in parts, each a finished file: what was done survives whatever ends the process.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tamis_data::output;

/// The parts of one output, in a folder beside it.
pub struct Parts {
    folder: PathBuf,
    n_parts: usize,
}

/// What the parts were made from; others do not go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The SHA-256 of every input that a score depends on, by its role.
    pub inputs: Vec<(String, String)>,
    /// Everything else that it depends on.
    pub settings: String,
    /// How many parts there are.
    pub n_parts: usize,
}

impl Parts {
    /// Begins, or goes on where an earlier run of the same plan stopped.
    ///
    /// # Errors
    /// When the folder cannot be written, or holds the parts of another plan.
    pub fn open(out: &Path, plan: &Plan) -> Result<Self> {
        let mut name = out.file_name().context("the output has no name")?.to_owned();
        name.push(".parts");
        let folder = out.with_file_name(name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let path = folder.join("plan.json");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let known: Plan =
                    serde_json::from_str(&text).with_context(|| path.display().to_string())?;
                if known != *plan {
                    bail!(
                        "{}: parts of other inputs or settings; remove the folder to begin anew",
                        folder.display()
                    );
                }
            }
            Err(_) => output::write_file(&path, |out| {
                serde_json::to_writer_pretty(out, plan).map_err(std::io::Error::other)
            })?,
        }
        Ok(Self { folder, n_parts: plan.n_parts })
    }

    fn path(&self, part: usize) -> PathBuf {
        self.folder.join(format!("{part:08}"))
    }

    /// Which parts are still to be made, in order.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.n_parts).filter(|&part| !self.path(part).exists()).collect()
    }

    /// Completes a part: it is there whole, or not at all.
    pub fn write(&self, part: usize, text: &[u8]) -> Result<()> {
        Ok(output::write_file(&self.path(part), |out| out.write_all(text))?)
    }

    /// The files of all parts, in order.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.n_parts).map(|part| self.path(part))
    }

    /// Copies all parts, one after the other.
    pub fn copy_to(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for path in self.paths() {
            std::io::copy(&mut std::fs::File::open(path)?, out)?;
        }
        Ok(())
    }

    /// Removes the parts when their contents are elsewhere.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(&self.folder).with_context(|| self.folder.display().to_string())
    }
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer).with_context(|| path.display().to_string())? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("scores.tsv");
        let plan = Plan { inputs: Vec::new(), settings: "a".into(), n_parts: 3 };
        let parts = Parts::open(&out, &plan).unwrap();
        parts.write(1, b"two\n").unwrap();
        // Killed here, and while the third part was being written under its temporary name.
        std::fs::write(folder.path().join("scores.tsv.parts/.tamis-x"), "thr").unwrap();
        let parts = Parts::open(&out, &plan).unwrap();
        assert_eq!(parts.missing(), [0, 2]);
        parts.write(0, b"one\n").unwrap();
        parts.write(2, b"three\n").unwrap();
        let mut all = Vec::new();
        parts.copy_to(&mut all).unwrap();
        assert_eq!(all, b"one\ntwo\nthree\n");
        let other = Plan { settings: "b".into(), ..plan };
        let error = Parts::open(&out, &other).err().unwrap().to_string();
        assert!(error.contains("parts of other inputs or settings"), "{error}");
        parts.remove().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
