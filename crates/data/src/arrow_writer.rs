//! Arrow IPC files written batch by batch, with their length and hash told at the end.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::arrow_file::{BATCH_ROWS, ROWS_KEY};
use crate::error::{Error, ErrorKind, Result};

/// What was written, for the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenFile {
    /// Rows of the table.
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// Writes batches of [`BATCH_ROWS`] rows; only the last may be shorter.
pub(crate) struct ArrowWriter {
    path: PathBuf,
    schema: SchemaRef,
    out: FileWriter<BufWriter<Hashing>>,
    rows: usize,
}

impl ArrowWriter {
    pub(crate) fn create(path: &Path, schema: Schema) -> Result<Self> {
        let file = File::create_new(path).map_err(|error| Error::file(path, error))?;
        let out = Hashing { file, hasher: Sha256::new(), bytes: 0 };
        let out = BufWriter::with_capacity(1 << 18, out);
        let out = FileWriter::try_new(out, &schema).map_err(|error| failed(path, error))?;
        Ok(Self { path: path.to_owned(), schema: Arc::new(schema), out, rows: 0 })
    }

    pub(crate) fn write(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        debug_assert!(self.rows.is_multiple_of(BATCH_ROWS), "a short batch must be the last");
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| failed(&self.path, error))?;
        self.rows += batch.num_rows();
        self.out.write(&batch).map_err(|error| failed(&self.path, error))
    }

    pub(crate) fn finish(mut self) -> Result<WrittenFile> {
        self.out.write_metadata(ROWS_KEY, self.rows.to_string());
        let out = self.out.into_inner().map_err(|error| failed(&self.path, error))?;
        let out = out.into_inner().map_err(|e| Error::file(&self.path, e.into_error()))?;
        out.file.sync_all().map_err(|error| Error::file(&self.path, error))?;
        let sha256 = hexadecimal(&out.hasher.finalize());
        Ok(WrittenFile { rows: self.rows as u64, bytes: out.bytes, sha256 })
    }
}

fn failed(path: &Path, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => Error::file(path, error),
        error => Error::file(path, ErrorKind::Arrow { problem: error.to_string() }),
    }
}

/// A file that is hashed as it grows.
struct Hashing {
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
