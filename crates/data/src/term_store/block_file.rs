//! A file of checked blocks: written once from front to back, mapped into memory, and each block's
//! checksum compared when it is first read.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Advice, Mmap};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};

/// Bytes that share a checksum.
const BLOCK: usize = 1 << 16;

/// What the file ends with: the length of the body (8 bytes), that of the description (4), the checksum
/// of everything after the body (4), and these.
const MAGIC: &[u8; 8] = b"TAMISBF1";
const TAIL: usize = 24;

/// A file that is being written under a temporary name.
pub(super) struct BlockWriter {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    length: u64,
    hasher: crc32fast::Hasher,
    checksums: Vec<u32>,
}

impl BlockWriter {
    /// Starts a file that appears under its name when it is finished. What an earlier writer left under
    /// the temporary name is overwritten.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let temporary = path.with_extension("part");
        let file = File::create(&temporary).map_err(|error| Error::file(&temporary, error))?;
        Ok(Self {
            path: path.to_owned(),
            temporary,
            out: BufWriter::with_capacity(1 << 20, file),
            length: 0,
            hasher: crc32fast::Hasher::new(),
            checksums: Vec::new(),
        })
    }

    /// Bytes written so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| Error::file(&self.temporary, error))?;
        while !bytes.is_empty() {
            let room = BLOCK - (self.length % BLOCK as u64) as usize;
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            self.length += now.len() as u64;
            if self.length.is_multiple_of(BLOCK as u64) {
                self.end_block();
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Fills up with zeros to a multiple of eight bytes.
    pub(super) fn align(&mut self) -> Result<()> {
        let missing = (8 - self.length % 8) % 8;
        self.write(&[0; 8][..missing as usize])
    }

    /// Writes the description, puts everything on disk and gives the file its name.
    pub(super) fn finish(mut self, description: &impl Serialize) -> Result<()> {
        if !self.length.is_multiple_of(BLOCK as u64) {
            self.end_block();
        }
        let mut end = Vec::with_capacity(4 * self.checksums.len() + 256);
        end.extend(self.checksums.iter().flat_map(|sum| sum.to_le_bytes()));
        let json = serde_json::to_vec(description).expect("a description serialises");
        end.extend_from_slice(&json);
        end.extend(self.length.to_le_bytes());
        end.extend((json.len() as u32).to_le_bytes());
        end.extend(crc32fast::hash(&end).to_le_bytes());
        end.extend_from_slice(MAGIC);
        let Self { path, temporary, out, .. } = self;
        let failed = |error: std::io::Error| Error::file(&temporary, error);
        let mut out = out;
        out.write_all(&end).map_err(failed)?;
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, &path).map_err(|error| Error::file(&path, error))
    }

    /// Removes what was written.
    pub(super) fn abandon(self) {
        // Best effort: the next writer of the name overwrites it.
        let _ = fs::remove_file(&self.temporary);
    }

    fn end_block(&mut self) {
        let hasher = std::mem::replace(&mut self.hasher, crc32fast::Hasher::new());
        self.checksums.push(hasher.finalize());
    }
}

/// A finished file, mapped into memory.
#[derive(Debug)]
pub(super) struct BlockFile {
    path: PathBuf,
    map: Mmap,
    length: usize,
    /// Where the checksums stand.
    checksums: Range<usize>,
    /// A bit for each block whose checksum was right.
    checked: Vec<AtomicU64>,
}

impl BlockFile {
    /// Maps a file and reads its description; no block is read yet.
    ///
    /// # Errors
    /// When the file is not whole, or what follows its body is damaged.
    pub(super) fn open<D: DeserializeOwned>(path: &Path) -> Result<(Self, D)> {
        let failed = |error: std::io::Error| Error::file(path, error);
        let file = File::open(path).map_err(failed)?;
        // SAFETY: the file is only read, and files of a store are never rewritten in place. Should
        // another process cut it short meanwhile, reads fault, as with any mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        let (length, checksums, description) =
            Self::layout(&map).map_err(|problem| Error::file(path, ErrorKind::Invalid(problem)))?;
        let description = serde_json::from_slice(&map[description])
            .map_err(|error| Error::file(path, ErrorKind::Json(error)))?;
        let n_blocks = length.div_ceil(BLOCK);
        let checked = (0..n_blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        // Documents are read here and there: what lies between them is not wanted.
        #[cfg(unix)]
        let _ = map.advise(Advice::Random);
        Ok((Self { path: path.to_owned(), map, length, checksums, checked }, description))
    }

    /// The length of the body, and where checksums and description stand, or what is wrong.
    fn layout(map: &[u8]) -> std::result::Result<(usize, Range<usize>, Range<usize>), String> {
        let cut = || {
            let n = map.len();
            format!("cut short or not a file of a term store: its end is missing after {n} bytes")
        };
        let tail = map.len().checked_sub(TAIL).ok_or_else(cut)?;
        if &map[map.len() - MAGIC.len()..] != MAGIC {
            return Err(cut());
        }
        let number = |place: usize, n: usize| {
            map[place..place + n].iter().rev().fold(0_u64, |sum, &b| sum << 8 | u64::from(b))
        };
        let (length, json) = (number(tail, 8), number(tail + 8, 4));
        let checksum = number(tail + 12, 4);
        let n_blocks = length.div_ceil(BLOCK as u64);
        let whole = length.checked_add(4 * n_blocks).and_then(|sum| sum.checked_add(json));
        if whole != Some(tail as u64) {
            return Err(format!(
                "damaged: expected {} bytes before the last {TAIL}, found {tail}",
                whole.map_or_else(|| "fewer".to_owned(), |n| n.to_string()),
            ));
        }
        let start = length as usize;
        if u64::from(crc32fast::hash(&map[start..tail + 12])) != checksum {
            return Err("damaged: the checksum of its description differs".to_owned());
        }
        let checksums = start..start + 4 * n_blocks as usize;
        Ok((start, checksums.clone(), checksums.end..tail))
    }

    /// Some bytes of the body, after the checksums of their blocks were compared.
    ///
    /// # Errors
    /// When a block is damaged, or there are not so many bytes.
    pub(super) fn bytes(&self, range: Range<usize>) -> Result<&[u8]> {
        if range.start > range.end || range.end > self.length {
            let message = format!("damaged: bytes {range:?} are beyond its {}", self.length);
            return Err(Error::file(&self.path, ErrorKind::Invalid(message)));
        }
        let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
        for block in blocks {
            let (word, bit) = (&self.checked[block / 64], 1_u64 << (block % 64));
            if word.load(Ordering::Relaxed) & bit == 0 {
                self.check_block(block)?;
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        Ok(&self.map[range])
    }

    /// Tells the system that these bytes will be read soon.
    pub(super) fn prefetch(&self, range: Range<usize>) {
        let range = range.start..range.end.min(self.length);
        // A hint: nothing depends on it.
        #[cfg(unix)]
        if !range.is_empty() {
            let _ = self.map.advise_range(Advice::WillNeed, range.start, range.len());
        }
    }

    /// Compares the checksums of all blocks.
    ///
    /// # Errors
    /// For the first block that is damaged.
    pub(super) fn check_all(&self) -> Result<()> {
        (0..self.length.div_ceil(BLOCK)).try_for_each(|block| self.check_block(block))
    }

    /// Bytes of the body.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Bytes of the whole file.
    pub(super) fn file_length(&self) -> u64 {
        self.map.len() as u64
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn check_block(&self, block: usize) -> Result<()> {
        let range = block * BLOCK..((block + 1) * BLOCK).min(self.length);
        let place = self.checksums.start + 4 * block;
        let expected = u32::from_le_bytes([0, 1, 2, 3].map(|i| self.map[place + i]));
        let found = crc32fast::hash(&self.map[range.clone()]);
        if found == expected {
            return Ok(());
        }
        let message = format!(
            "damaged: bytes {} to {} have checksum `{found:08x}`, expected `{expected:08x}`; \
             index the documents of this file again",
            range.start, range.end
        );
        Err(Error::file(&self.path, ErrorKind::Invalid(message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(path: &Path, parts: &[Vec<u8>]) {
        let mut writer = BlockWriter::create(path).unwrap();
        parts.iter().for_each(|part| writer.write(part).unwrap());
        writer.finish(&parts.len()).unwrap();
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.terms");
        let body: Vec<u8> = (0..BLOCK + 300).map(|i| (i * 7) as u8).collect();
        write(&path, std::slice::from_ref(&body));
        let whole = fs::read(&path).unwrap();
        let check = |bytes: &[u8]| -> Result<()> {
            fs::write(&path, bytes).unwrap();
            let (file, n): (_, usize) = BlockFile::open(&path)?;
            assert_eq!(n, 1);
            assert_eq!(file.bytes(0..file.length())?, body);
            Ok(())
        };
        check(&whole).unwrap();
        for place in (0..whole.len()).step_by(997).chain(whole.len() - 60..whole.len()) {
            let mut flipped = whole.clone();
            flipped[place] ^= 0x10;
            let error = check(&flipped).unwrap_err().to_string();
            assert!(error.contains("damaged") || error.contains("cut short"), "{place}: {error}");
        }
        for length in (0..whole.len()).step_by(499) {
            assert!(check(&whole[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_is_written_is_read(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90_000), 0..4),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.terms");
            write(&path, &parts);
            let (file, n): (_, usize) = BlockFile::open(&path).unwrap();
            prop_assert_eq!(n, parts.len());
            prop_assert_eq!(file.bytes(0..file.length()).unwrap(), &parts.concat()[..]);
            file.check_all().unwrap();
            prop_assert!(file.bytes(0..file.length() + 1).is_err());
        }
    }
}
