//! A text file in blocks of whole lines, read and hashed on one thread and parsed on all.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use memchr::{memchr, memrchr};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use sha2::{Digest, Sha256};

use super::lines::decompress;
use crate::arrow_writer::hexadecimal;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of a block, but for its last line.
const BLOCK: usize = 4 << 20;

/// Bytes of the pieces that threads parse.
const PIECE: usize = 256 << 10;

/// Whole lines, the last with or without its line feed.
pub(crate) struct Block {
    bytes: Vec<u8>,
}

/// The length and the SHA-256 of a file.
pub(crate) struct Digested {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// The blocks of a file, in order. Two are read ahead.
pub(crate) struct Blocks {
    receiver: Receiver<io::Result<Block>>,
    reader: JoinHandle<io::Result<Digested>>,
    read: Arc<AtomicU64>,
    path: PathBuf,
    /// Lines of the blocks that were parsed.
    lines: u64,
}

impl Blocks {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::file(path, error);
        let file = File::open(path).map_err(failed)?;
        let rest = file.try_clone().map_err(failed)?;
        let read = Arc::new(AtomicU64::new(0));
        let hasher = Arc::new(Mutex::new(Sha256::new()));
        let tee = |file| Tee { file, hasher: hasher.clone(), read: read.clone() };
        let (text, mut rest) = (decompress(path, tee(file)).map_err(failed)?, tee(rest));
        let (sender, receiver) = sync_channel(2);
        let (hasher, count) = (hasher.clone(), read.clone());
        let reader = std::thread::spawn(move || {
            read_blocks(text, |block| sender.send(block).is_ok());
            // A decompressor may stop before the end of the file; the hash may not.
            io::copy(&mut rest, &mut io::sink())?;
            let hasher = hasher.lock().expect("no reader panics while hashing").clone();
            let bytes = count.load(Ordering::Relaxed);
            Ok(Digested { bytes, sha256: hexadecimal(&hasher.finalize()) })
        });
        Ok(Self { receiver, reader, read, path: path.to_owned(), lines: 0 })
    }

    /// The next block, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Block>> {
        self.receiver.recv().ok().transpose().map_err(|error| Error::file(&self.path, error))
    }

    /// Bytes of the file read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The hash of the whole file.
    pub(crate) fn finish(self) -> Result<Digested> {
        drop(self.receiver);
        let digested = self.reader.join().expect("the reader thread does not panic");
        digested.map_err(|error| Error::file(&self.path, error))
    }

    /// Parses the lines of a block on all threads; the parts come back in order. Blocks must be
    /// parsed in order too, for the numbers of their lines.
    pub(crate) fn parse<T: Default + Send>(
        &mut self,
        block: &Block,
        parse: impl Fn(&str, &mut T) -> std::result::Result<(), ErrorKind> + Sync,
    ) -> Result<Vec<T>> {
        // Of every piece: its lines up to an error, and what came of them.
        let parts: Vec<(u64, std::result::Result<T, ErrorKind>)> = pieces(&block.bytes)
            .par_iter()
            .map(|piece| {
                let (mut part, mut lines, mut rest) = (T::default(), 0, *piece);
                while !rest.is_empty() {
                    let end = memchr(b'\n', rest).map_or(rest.len(), |feed| feed + 1);
                    lines += 1;
                    if let Err(kind) = str_of(&rest[..end]).and_then(|line| parse(line, &mut part))
                    {
                        return (lines, Err(kind));
                    }
                    rest = &rest[end..];
                }
                (lines, Ok(part))
            })
            .collect();
        // The first error in the file is told, whichever thread was first.
        let mut parsed = Vec::with_capacity(parts.len());
        for (lines, part) in parts {
            self.lines += lines;
            parsed.push(part.map_err(|kind| Error::line(&self.path, self.lines, kind))?);
        }
        Ok(parsed)
    }
}

/// Cuts at line ends.
fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::with_capacity(bytes.len() / PIECE + 1);
    while !bytes.is_empty() {
        let goal = bytes.len().min(PIECE);
        let end = memchr(b'\n', &bytes[goal - 1..]).map_or(bytes.len(), |feed| goal + feed);
        let (piece, rest) = bytes.split_at(end);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// A line without its end.
fn str_of(line: &[u8]) -> std::result::Result<&str, ErrorKind> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    std::str::from_utf8(line).map_err(|error| ErrorKind::Utf8 { byte: error.valid_up_to() })
}

fn read_blocks(mut text: impl Read, mut send: impl FnMut(io::Result<Block>) -> bool) {
    let mut carried = Vec::new();
    loop {
        let mut bytes = std::mem::take(&mut carried);
        bytes.reserve(BLOCK);
        // Until the block holds a line end, however long the line is.
        let end = loop {
            let from = bytes.len();
            match text.by_ref().take(BLOCK as u64).read_to_end(&mut bytes) {
                Err(error) => {
                    send(Err(error));
                    return;
                }
                Ok(0) => break None,
                Ok(_) => {
                    if let Some(feed) = memrchr(b'\n', &bytes[from..]) {
                        break Some(from + feed + 1);
                    }
                }
            }
        };
        if let Some(end) = end {
            carried = bytes.split_off(end);
        }
        if !bytes.is_empty() && !send(Ok(Block { bytes })) {
            return;
        }
        if end.is_none() {
            return;
        }
    }
}

/// Hashes and counts what passes.
struct Tee {
    file: File,
    hasher: Arc<Mutex<Sha256>>,
    read: Arc<AtomicU64>,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.hasher.lock().expect("no reader panics while hashing").update(&buffer[..n]);
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_every_line_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.txt");
        let lines: Vec<String> =
            (0..400_000).map(|i| format!("{i} {}", "x".repeat(i % 40))).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let mut blocks = Blocks::open(&path).unwrap();
        let mut found = Vec::new();
        while let Some(block) = blocks.next().unwrap() {
            let keep = |line: &str, part: &mut Vec<String>| {
                part.push(line.to_owned());
                Ok(())
            };
            found.extend(blocks.parse(&block, keep).unwrap().concat());
            assert_eq!(blocks.lines, found.len() as u64);
        }
        assert_eq!(found, lines);
        let digested = blocks.finish().unwrap();
        assert_eq!(digested.bytes, std::fs::metadata(&path).unwrap().len());
        let whole = Sha256::digest(std::fs::read(&path).unwrap());
        assert_eq!(digested.sha256, hexadecimal(&whole));
    }

    #[test]
    fn the_first_bad_line_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.txt");
        let lines: Vec<String> = (1..=200_000).map(|i| format!("{i}")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let mut blocks = Blocks::open(&path).unwrap();
        let block = blocks.next().unwrap().unwrap();
        let refuse = |line: &str, _: &mut ()| match line.parse::<u64>() {
            Ok(n) if n >= 123_456 => Err(ErrorKind::Empty),
            _ => Ok(()),
        };
        let error = blocks.parse(&block, refuse).unwrap_err();
        assert_eq!(error.line_number(), Some(123_456));
    }
}
