//! A file's name into its bytes: mapped, decompressed in chunks, or read from standard input.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// How much of a compressed file is worked on at a time.
const CHUNK: usize = 8 << 20;

pub(super) enum Source {
    Whole(Bytes),
    Stream(Chunks),
}

pub(super) enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Whole(Bytes::Owned(read_all(path)?)));
        }
        if is_compressed(path) {
            return Ok(Self::Stream(Chunks {
                path: path.to_owned(),
                reader: decompressed(path)?,
                buffer: Vec::new(),
                done: 0,
                ended: false,
            }));
        }
        let file = File::open(path).map_err(|source| io(path, source))?;
        let length = file.metadata().map_err(|source| io(path, source))?.len();
        if length == 0 {
            return Ok(Self::Whole(Bytes::Owned(read_all(path)?)));
        }
        // SAFETY: the map is only read. Another program that cuts the file short while it is read
        // would end this one with a signal, as it would any reader of mapped files.
        #[expect(unsafe_code, reason = "there is no safe way to map a file")]
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|source| io(path, source))?;
        Ok(Self::Whole(Bytes::Mapped(map)))
    }
}

impl Bytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// The whole file in memory, decompressed; `-` is standard input.
pub(super) fn read_all(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false if is_compressed(path) => decompressed(path)?,
        false => Box::new(File::open(path).map_err(|source| io(path, source))?),
    };
    reader.read_to_end(&mut bytes).map_err(|source| io(path, source))?;
    Ok(bytes)
}

/// Chunks of a stream, each ending where a group of lines ends.
pub(super) struct Chunks {
    path: PathBuf,
    reader: Box<dyn Read>,
    buffer: Vec<u8>,
    /// How many bytes of the buffer the last chunk took.
    done: usize,
    ended: bool,
}

impl Chunks {
    /// The next chunk; `cut` says where the last, perhaps unfinished, group starts.
    pub(super) fn next(&mut self, cut: fn(&[u8]) -> usize) -> Result<Option<&[u8]>> {
        self.buffer.drain(..self.done);
        self.done = 0;
        let mut wanted = CHUNK;
        loop {
            let missing = wanted.saturating_sub(self.buffer.len());
            if !self.ended {
                let mut part = self.reader.by_ref().take(missing as u64);
                let n = part.read_to_end(&mut self.buffer).map_err(|e| io(&self.path, e))?;
                self.ended = n < missing;
            }
            self.done = if self.ended { self.buffer.len() } else { cut(&self.buffer) };
            if self.ended || self.done > 0 {
                break;
            }
            // One group is longer than the chunk.
            wanted *= 2;
        }
        Ok((self.done > 0).then_some(&self.buffer[..self.done]))
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz" || extension == "zst")
}

fn decompressed(path: &Path) -> Result<Box<dyn Read>> {
    let file = File::open(path).map_err(|source| io(path, source))?;
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => {
            Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file)))
        }
        _ => Box::new(zstd::Decoder::new(file).map_err(|source| io(path, source))?),
    })
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}
