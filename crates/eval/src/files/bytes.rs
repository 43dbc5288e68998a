//! A file's name into its bytes: mapped, or read in chunks from a compressed file or a pipe.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use tamis_data::format::lines::decompress;

use crate::error::{Error, Result};

/// How much of a compressed file is worked on at a time.
const CHUNK: usize = 8 << 20;
/// How much of a stream that can be read only once is kept, in case its lines need sorting.
const KEPT: usize = 64 << 20;

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
        let stream = |reader, once: bool| {
            let kept = once.then(Vec::new);
            Self::Stream(Chunks { reader, kept, once, ..Chunks::of(path) })
        };
        if is_stdin(path) || is_compressed(path) {
            return Ok(stream(reader(path)?, is_stdin(path)));
        }
        let file = File::open(path).map_err(|source| io(path, source))?;
        let metadata = file.metadata().map_err(|source| io(path, source))?;
        if !metadata.is_file() {
            // A pipe, such as the shell's `<(zcat FILE)`.
            return Ok(stream(Box::new(file), true));
        }
        if metadata.len() == 0 {
            return Ok(Self::Whole(Bytes::Owned(Vec::new())));
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
    reader(path)?.read_to_end(&mut bytes).map_err(|source| io(path, source))?;
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
    /// Whether the stream cannot be opened again.
    once: bool,
    /// All chunks so far of such a stream, while they are few.
    kept: Option<Vec<Vec<u8>>>,
}

impl Chunks {
    fn of(path: &Path) -> Self {
        let reader = Box::new(std::io::empty());
        let (path, buffer) = (path.to_owned(), Vec::new());
        Self { path, reader, buffer, done: 0, ended: false, once: false, kept: None }
    }

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
        let chunk = &self.buffer[..self.done];
        match &mut self.kept {
            Some(kept) if kept.iter().map(Vec::len).sum::<usize>() + chunk.len() <= KEPT => {
                kept.push(chunk.to_vec());
            }
            kept => *kept = None,
        }
        Ok((self.done > 0).then_some(chunk))
    }

    /// The whole stream from its beginning; `None` when it cannot be had again.
    pub(super) fn whole(mut self) -> Result<Option<Vec<u8>>> {
        if !self.once {
            return read_all(&self.path).map(Some);
        }
        let Some(kept) = self.kept else { return Ok(None) };
        let mut bytes = kept.concat();
        bytes.extend_from_slice(&self.buffer[self.done..]);
        self.reader.read_to_end(&mut bytes).map_err(|source| io(&self.path, source))?;
        Ok(Some(bytes))
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz" || extension == "zst")
}

fn reader(path: &Path) -> Result<Box<dyn Read>> {
    if is_stdin(path) {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file = File::open(path).map_err(|source| io(path, source))?;
    Ok(decompress(path, file).map_err(|source| io(path, source))?)
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}
