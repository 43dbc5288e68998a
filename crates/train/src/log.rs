//! `train.jsonl`: one line per step and per dev evaluation.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};

/// An append-only log that survives a kill: lines are whole, and those after the state that a run
/// resumes from are dropped.
pub(crate) struct Log {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl Log {
    /// Opens the log and keeps the lines of steps up to `step`.
    pub(crate) fn open(path: &Path, step: u64) -> Result<Self> {
        let io = |error| Error::io(path, error);
        if path.exists() {
            let text = std::fs::read_to_string(path).map_err(io)?;
            let kept: String = text
                .split_inclusive('\n')
                .filter(|line| step_of(line).is_some_and(|of| of <= step))
                .collect();
            if kept.len() != text.len() {
                tamis_data::output::write_file(path, |out| out.write_all(kept.as_bytes()))?;
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
        Ok(Self { path: path.to_owned(), writer: BufWriter::new(file) })
    }

    /// Appends one line.
    pub(crate) fn write(&mut self, record: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(record).expect("records serialise");
        line.push('\n');
        self.writer
            .write_all(line.as_bytes())
            .and_then(|()| self.writer.flush())
            .map_err(|error| Error::io(&self.path, error))
    }
}

/// The step of a whole line; a line that a kill cut short has none.
fn step_of(line: &str) -> Option<u64> {
    let line = line.strip_suffix('\n')?;
    serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_after_the_state_and_broken_lines_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4").unwrap();
        let mut log = Log::open(&path, 2).unwrap();
        log.write(&serde_json::json!({"step": 3, "new": true})).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":1}\n{\"step\":2}\n{\"new\":true,\"step\":3}\n");
    }
}
