//! A text file in blocks of whole lines, read and hashed on one thread and parsed on all.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

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
    /// Lines of the file before this block.
    lines_before: u64,
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
        Ok(Self { receiver, reader, read, path: path.to_owned() })
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

    /// Parses the lines of a block on all threads; the parts come back in order.
    pub(crate) fn parse<T: Default + Send>(
        path: &Path,
        block: &Block,
        parse: impl Fn(&str, &mut T) -> std::result::Result<(), ErrorKind> + Sync,
    ) -> Result<Vec<T>> {
        let parts: Vec<std::result::Result<T, (usize, ErrorKind)>> = pieces(&block.bytes)
            .par_iter()
            .map(|&(start, stop)| {
                let mut part = T::default();
                let mut at = start;
                for line in block.bytes[start..stop].split_inclusive(|&byte| byte == b'\n') {
                    str_of(line)
                        .and_then(|line| parse(line, &mut part))
                        .map_err(|kind| (at, kind))?;
                    at += line.len();
                }
                Ok(part)
            })
            .collect();
        let place = |(at, kind): (usize, ErrorKind)| {
            let before = block.bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
            Error::line(path, block.lines_before + before as u64 + 1, kind)
        };
        // The first error in the file is told, whichever thread was first.
        parts.into_iter().map(|part| part.map_err(place)).collect()
    }
}

/// Cuts at line ends.
fn pieces(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut pieces = Vec::with_capacity(bytes.len() / PIECE + 1);
    let mut start = 0;
    while start < bytes.len() {
        let goal = bytes.len().min(start + PIECE);
        let stop = bytes[goal - 1..].iter().position(|&byte| byte == b'\n');
        let stop = stop.map_or(bytes.len(), |length| goal + length);
        pieces.push((start, stop));
        start = stop;
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
    let (mut carried, mut lines_before) = (Vec::new(), 0);
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
                    let feed = bytes[from..].iter().rposition(|&byte| byte == b'\n');
                    if let Some(feed) = feed {
                        break Some(from + feed + 1);
                    }
                }
            }
        };
        if let Some(end) = end {
            carried = bytes.split_off(end);
        }
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        if !bytes.is_empty() && !send(Ok(Block { bytes, lines_before })) {
            return;
        }
        lines_before += lines as u64;
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
            assert_eq!(block.lines_before, found.len() as u64);
            let keep = |line: &str, part: &mut Vec<String>| {
                part.push(line.to_owned());
                Ok(())
            };
            found.extend(Blocks::parse(&path, &block, keep).unwrap().concat());
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
        let block = Blocks::open(&path).unwrap().next().unwrap().unwrap();
        let refuse = |line: &str, _: &mut ()| match line.parse::<u64>() {
            Ok(n) if n >= 123_456 => Err(ErrorKind::Empty),
            _ => Ok(()),
        };
        let error = Blocks::parse(&path, &block, refuse).unwrap_err();
        assert_eq!(error.line_number(), Some(123_456));
    }
}
