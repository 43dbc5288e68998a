//! A collection into BEIR and TREC files, in a folder that appears all at once.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tamis_data::Run;
use tamis_data::format::trec;

use super::collect::Collection;

/// A folder under a temporary name beside the one that it will become; removed when it does not.
pub(super) struct Unfinished {
    folder: tempfile::TempDir,
    out: PathBuf,
}

impl Unfinished {
    /// Refuses to replace a folder without the file `mark`: it is not one of ours.
    pub(super) fn new(out: &Path, mark: &str) -> Result<Self> {
        if out.exists() && !out.join(mark).is_file() {
            bail!("{} is there already and is no collection of crate documentation", out.display());
        }
        let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let folder = tempfile::Builder::new()
            .prefix(".crate-docs-")
            .tempdir_in(parent)
            .with_context(|| format!("making a folder in {}", parent.display()))?;
        Ok(Self { folder, out: out.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts the folder in its place; an older one goes.
    pub(super) fn finish(self) -> Result<()> {
        let renaming = || format!("renaming to {}", self.out.display());
        if self.out.exists() {
            std::fs::remove_dir_all(&self.out).with_context(renaming)?;
        }
        std::fs::rename(self.folder.path(), &self.out).with_context(renaming)?;
        // Nothing is left under the temporary name to be removed.
        let _ = self.folder.keep();
        Ok(())
    }
}

/// Writes `corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv` and `bm25/*.run`.
pub(super) fn write_collection(folder: &Path, collection: &Collection, runs: &[Run]) -> Result<()> {
    for name in ["qrels", "bm25"] {
        std::fs::create_dir(folder.join(name))?;
    }
    let mut corpus = Vec::new();
    let mut queries = Vec::new();
    for (split, run) in collection.splits.iter().zip(runs) {
        let mut qrels = b"query-id\tcorpus-id\tscore\n".to_vec();
        for entry in &split.entries {
            let line =
                serde_json::json!({"_id": entry.id, "title": entry.name, "text": entry.text});
            writeln!(corpus, "{line}")?;
            if entry.is_query {
                let id = entry.query_id();
                let line = serde_json::json!({"_id": id, "text": entry.summary});
                writeln!(queries, "{line}")?;
                writeln!(qrels, "{id}\t{}\t1", entry.id)?;
            }
        }
        write(&folder.join(format!("qrels/{}.tsv", split.name)), &qrels)?;
        let mut lines = Vec::new();
        trec::write_run(run, &mut lines)?;
        write(&folder.join(format!("bm25/{}.run", split.name)), &lines)?;
    }
    write(&folder.join("corpus.jsonl"), &corpus)?;
    write(&folder.join("queries.jsonl"), &queries)
}

/// Writes one file to the disk.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let writing = || format!("writing {}", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(writing)?);
    file.write_all(bytes).with_context(writing)?;
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .with_context(writing)?
        .sync_all()
        .with_context(writing)
}
