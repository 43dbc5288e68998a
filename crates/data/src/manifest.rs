//! What a prepared dataset was made from, with what options, and what came out.

use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::arrow_writer::WrittenFile;
use crate::error::{Error, ErrorKind, Result};
use crate::prepare::{PrepareOptions, PrepareReport};

/// The value of [`Manifest::format`].
const FORMAT: &str = "tamis-dataset";

/// The version that this crate writes, and the only one it reads.
const VERSION: u32 = 1;

/// `manifest.json` of a prepared dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `tamis-dataset`.
    pub format: String,
    /// Grows when a reader of the older version would go wrong.
    pub version: u32,
    /// The files that the dataset was made from.
    pub sources: Vec<SourceFile>,
    /// How it was made.
    pub options: PrepareOptions,
    /// What was counted on the way.
    pub report: PrepareReport,
    /// The files of the dataset by name.
    pub files: IndexMap<String, WrittenFile>,
}

/// A file that went into a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// What the file was given as: `corpus`, `queries`, `qrels`, `run`, `groups` or `top1000`.
    pub role: String,
    /// Where it was, as the user wrote it.
    pub path: String,
    /// Its length as it lies on disk, compressed or not.
    pub bytes: u64,
    /// SHA-256 of those bytes, in hexadecimal.
    pub sha256: String,
}

/// Only what tells whether the rest can be understood.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

impl Manifest {
    pub(crate) fn new(
        sources: Vec<SourceFile>,
        options: PrepareOptions,
        report: PrepareReport,
        files: IndexMap<String, WrittenFile>,
    ) -> Self {
        Self { format: FORMAT.into(), version: VERSION, sources, options, report, files }
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|error| Error::file(path, error))?;
        let failed = |error: serde_json::Error| Error::line(path, error.line() as u64, error);
        let header: Header = serde_json::from_slice(&text).map_err(failed)?;
        if header.format != FORMAT || header.version != VERSION {
            return Err(Error::file(
                path,
                ErrorKind::Value {
                    field: "format and version",
                    expected: "tamis-dataset 1; prepare the dataset again",
                    found: format!("{} {}", header.format, header.version),
                },
            ));
        }
        serde_json::from_slice(&text).map_err(failed)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        crate::output::write_file(path, |out| {
            serde_json::to_writer_pretty(&mut *out, self)?;
            writeln!(out)
        })
    }
}
