//! A prepared dataset: a folder of memory-mapped Arrow files with a manifest.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::arrow_writer::hexadecimal;
use crate::corpus::Corpus;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Group, TextGroup};
use crate::groups::Groups;
use crate::manifest::Manifest;
use crate::queries::Queries;

/// A prepared dataset, open for reading. Opening it reads no text; see [`prepare`](crate::prepare()).
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    manifest: Manifest,
    corpus: Corpus,
    queries: Queries,
    groups: Groups,
}

impl Dataset {
    /// Maps the files of a prepared dataset.
    ///
    /// # Errors
    /// When a file is missing, cut short, of another version, or not what the manifest says.
    pub fn open(path: &Path) -> Result<Self> {
        let manifest = Manifest::read(&path.join("manifest.json"))?;
        for (name, written) in &manifest.files {
            let file = path.join(name);
            let length = file.metadata().map_err(|error| Error::file(&file, error))?.len();
            if length != written.bytes {
                let problem = format!("{length} bytes long, the manifest says {}", written.bytes);
                return Err(Error::file(&file, ErrorKind::Arrow { problem }));
            }
        }
        let corpus = Corpus::open(path)?;
        let queries = Queries::open(path)?;
        let groups = Groups::open(path)?;
        Ok(Self { path: path.to_owned(), manifest, corpus, queries, groups })
    }

    /// The documents.
    #[must_use]
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// The queries.
    #[must_use]
    pub fn queries(&self) -> &Queries {
        &self.queries
    }

    /// The groups.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// What the dataset was made from, and what was counted.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The texts of a group, candidates in the group's order.
    ///
    /// # Panics
    /// When the group is not of this dataset.
    #[must_use]
    pub fn texts(&self, group: &Group) -> TextGroup<'_> {
        let documents = group.candidates.iter().map(|c| self.corpus.text(c.document)).collect();
        TextGroup { query: self.queries.text(group.query), documents }
    }

    /// Reads every byte and compares it with the hashes of the manifest.
    ///
    /// # Errors
    /// When a file was changed or damaged since it was written.
    pub fn verify(&self) -> Result<()> {
        for (name, written) in &self.manifest.files {
            let path = self.path.join(name);
            if sha256_of(&path)? != written.sha256 {
                let problem = "its SHA-256 is not the manifest's".to_owned();
                return Err(Error::file(&path, ErrorKind::Arrow { problem }));
            }
        }
        self.corpus.check()?;
        self.queries.check()?;
        self.groups.check()
    }
}

/// The SHA-256 of a file, in hexadecimal.
fn sha256_of(path: &Path) -> Result<String> {
    let failed = |error| Error::file(path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}
