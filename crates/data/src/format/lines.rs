//! Lines of a text file, each with its number; gzip and Zstandard are told by the extension.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, ErrorKind, Result};

/// A reader that hands out one line after the other and knows where it is.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    number: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// Opens a text file, decompressing it when its name ends in `.gz` or `.zst`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::file(path, error))?;
        let raw = decompress(path, file).map_err(|error| Error::file(path, error))?;
        Ok(Self::new(path, raw))
    }

    /// Reads from anything; `path` only names it in errors.
    pub fn new(path: &Path, raw: impl Read + Send + 'static) -> Self {
        let reader = Box::new(BufReader::with_capacity(1 << 18, raw));
        Self { path: path.to_owned(), reader, number: 0, buffer: Vec::new() }
    }

    /// The next line without its line feed (and carriage return), or `None` at the end.
    ///
    /// # Errors
    /// When reading fails or the line is not UTF-8.
    // Not an `Iterator`: the line borrows the reader's one buffer.
    #[expect(clippy::should_implement_trait, reason = "the item borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<&str>> {
        self.buffer.clear();
        let n = self.reader.read_until(b'\n', &mut self.buffer);
        self.number += 1;
        if n.map_err(|error| Error::line(&self.path, self.number, error))? == 0 {
            return Ok(None);
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        }
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(line) => Ok(Some(line)),
            Err(error) => Err(Error::line(
                &self.path,
                self.number,
                ErrorKind::Utf8 { byte: error.valid_up_to() },
            )),
        }
    }

    /// Hands every line to `take`; what it refuses becomes an error with file and line.
    ///
    /// # Errors
    /// When reading fails, a line is not UTF-8, or `take` refuses it.
    pub fn for_each(
        mut self,
        mut take: impl FnMut(&str) -> std::result::Result<(), ErrorKind>,
    ) -> Result<()> {
        loop {
            let refused = match self.next()? {
                Some(line) => take(line).err(),
                None => return Ok(()),
            };
            if let Some(kind) = refused {
                return Err(self.error(kind));
            }
        }
    }

    /// The number of the line last handed out, counted from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The file's name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error at the line last handed out.
    pub fn error(&self, kind: impl Into<ErrorKind>) -> Error {
        Error::line(&self.path, self.number, kind)
    }
}

/// The text in a file: its name tells whether it is compressed (`.gz`, `.zst`).
///
/// # Errors
/// When decompression cannot begin, or `.zst` is met in a build without the feature `zstd`.
pub fn decompress(
    path: &Path,
    raw: impl Read + Send + 'static,
) -> std::io::Result<Box<dyn Read + Send>> {
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, raw))),
        #[cfg(feature = "zstd")]
        Some("zst") => Box::new(zstd::Decoder::new(raw)?),
        #[cfg(not(feature = "zstd"))]
        Some("zst") => {
            let why = "tamis-data was built without the feature `zstd`";
            return Err(std::io::Error::new(std::io::ErrorKind::Unsupported, why));
        }
        _ => Box::new(raw),
    })
}
