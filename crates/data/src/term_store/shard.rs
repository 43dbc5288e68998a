//! A part of the documents: rows of values one after the other, then where each document ends, their
//! ids, and the ids' hashes in order.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::block_file::{BlockFile, BlockWriter};
use super::element::Element;
use super::identity::TermIdentity;
use crate::error::{Error, ErrorKind, Result};

/// What a shard says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShardHeader {
    pub(super) identity: TermIdentity,
    pub(super) element: Element,
    /// What its documents were read from, and which of them they are.
    pub(super) source: String,
    pub(super) documents: Range<u64>,
    n_tokens: u64,
    /// Where the ends of documents stand, in tokens, eight bytes each.
    ends: u64,
    /// Where the ends of ids stand, in bytes.
    id_ends: u64,
    ids: u64,
    /// Where hashes and rows stand, by hash.
    hashes: u64,
}

/// Bytes of an entry of the hashes: the hash, and the place of the document in the shard.
const ENTRY: usize = 16;

/// Writes a shard, document by document.
pub struct ShardWriter {
    out: BlockWriter,
    identity: TermIdentity,
    element: Element,
    source: String,
    documents: Range<u64>,
    ends: Vec<u64>,
    id_ends: Vec<u64>,
    ids: Vec<u8>,
    encoded: Vec<u8>,
}

impl ShardWriter {
    pub(super) fn create(
        path: &Path,
        identity: TermIdentity,
        element: Element,
        source: String,
        documents: Range<u64>,
    ) -> Result<Self> {
        Ok(Self {
            out: BlockWriter::create(path)?,
            identity,
            element,
            source,
            documents,
            ends: Vec::new(),
            id_ends: Vec::new(),
            ids: Vec::new(),
            encoded: Vec::new(),
        })
    }

    /// Adds the next document: the values of its tokens, one after the other.
    ///
    /// # Errors
    /// When there is no space left.
    ///
    /// # Panics
    /// When the values are not whole tokens.
    pub fn push(&mut self, id: &str, values: &[f32]) -> Result<()> {
        let width = self.identity.width;
        assert!(values.len().is_multiple_of(width), "documents are whole tokens");
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        self.element.encode(values, width, &mut encoded);
        let pushed = self.push_encoded(id, &encoded);
        self.encoded = encoded;
        pushed
    }

    /// The same with the bytes of its tokens, as [`Shard::encoded`] gives them.
    pub(super) fn push_encoded(&mut self, id: &str, bytes: &[u8]) -> Result<()> {
        let row_bytes = self.element.row_bytes(self.identity.width);
        debug_assert!(bytes.len().is_multiple_of(row_bytes), "documents are whole tokens");
        self.out.write(bytes)?;
        let before = self.ends.last().copied().unwrap_or(0);
        self.ends.push(before + (bytes.len() / row_bytes) as u64);
        self.ids.extend_from_slice(id.as_bytes());
        self.id_ends.push(self.ids.len() as u64);
        Ok(())
    }

    /// Puts the shard on disk under its name.
    ///
    /// # Errors
    /// When there is no space left.
    ///
    /// # Panics
    /// When documents are missing.
    pub fn finish(mut self) -> Result<()> {
        let n = self.documents.end - self.documents.start;
        assert_eq!(self.ends.len() as u64, n, "a shard has all its documents");
        self.out.align()?;
        let ends = self.out.length();
        self.ends.iter().try_for_each(|end| self.out.write(&end.to_le_bytes()))?;
        let id_ends = self.out.length();
        self.id_ends.iter().try_for_each(|end| self.out.write(&end.to_le_bytes()))?;
        let ids = self.out.length();
        self.out.write(&self.ids)?;
        self.out.align()?;
        let hashes = self.out.length();
        let mut start = 0;
        let mut entries: Vec<(u64, u64)> = Vec::with_capacity(self.id_ends.len());
        for (row, &end) in self.id_ends.iter().enumerate() {
            entries.push((hash(&self.ids[start..end as usize]), row as u64));
            start = end as usize;
        }
        entries.sort_unstable();
        for (hash, row) in entries {
            self.out.write(&hash.to_le_bytes())?;
            self.out.write(&row.to_le_bytes())?;
        }
        let n_tokens = self.ends.last().copied().unwrap_or(0);
        let Self { out, identity, element, source, documents, .. } = self;
        out.finish(&ShardHeader {
            identity,
            element,
            source,
            documents,
            n_tokens,
            ends,
            id_ends,
            ids,
            hashes,
        })
    }

    /// Removes what was written.
    pub fn abandon(self) {
        self.out.abandon();
    }
}

/// A finished shard.
#[derive(Debug)]
pub(super) struct Shard {
    file: BlockFile,
    header: ShardHeader,
}

impl Shard {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (file, header): (_, ShardHeader) = BlockFile::open(path)?;
        let n = header.documents.end.saturating_sub(header.documents.start);
        let row_bytes = header.element.row_bytes(header.identity.width) as u64;
        let values = header.n_tokens.checked_mul(row_bytes);
        let table = n.checked_mul(8);
        let is_whole = values.is_some_and(|values| values <= header.ends)
            && table.and_then(|table| header.ends.checked_add(table)) == Some(header.id_ends)
            && table.and_then(|table| header.id_ends.checked_add(table)) == Some(header.ids)
            && header.ids <= header.hashes
            && n.checked_mul(ENTRY as u64).and_then(|table| header.hashes.checked_add(table))
                == Some(file.length() as u64);
        if !is_whole {
            let message = "damaged: its parts do not fit its length".to_owned();
            return Err(Error::file(path, ErrorKind::Invalid(message)));
        }
        Ok(Self { file, header })
    }

    pub(super) fn header(&self) -> &ShardHeader {
        &self.header
    }

    pub(super) fn len(&self) -> usize {
        (self.header.documents.end - self.header.documents.start) as usize
    }

    pub(super) fn n_tokens(&self) -> u64 {
        self.header.n_tokens
    }

    pub(super) fn file_length(&self) -> u64 {
        self.file.file_length()
    }

    /// The id of a document.
    pub(super) fn id(&self, row: usize) -> Result<&str> {
        let range = self.span(self.header.id_ends, row)?;
        let start = self.header.ids;
        let bytes =
            self.file.bytes((start + range.start) as usize..(start + range.end) as usize)?;
        std::str::from_utf8(bytes).map_err(|_| {
            let message = format!("damaged: the id of document {row} is not UTF-8");
            Error::file(self.file.path(), ErrorKind::Invalid(message))
        })
    }

    /// Tokens of a document.
    pub(super) fn document_tokens(&self, row: usize) -> Result<usize> {
        let range = self.span(self.header.ends, row)?;
        Ok((range.end - range.start) as usize)
    }

    /// Appends the values of a document's tokens.
    pub(super) fn read(&self, row: usize, out: &mut Vec<f32>) -> Result<()> {
        self.header.element.decode(self.encoded(row)?, self.header.identity.width, out);
        Ok(())
    }

    /// The bytes of a document's tokens.
    pub(super) fn encoded(&self, row: usize) -> Result<&[u8]> {
        self.file.bytes(self.place(row)?)
    }

    /// Tells the system that a document will be read soon.
    pub(super) fn prefetch(&self, row: usize) -> Result<()> {
        self.file.prefetch(self.place(row)?);
        Ok(())
    }

    /// Hash and place of the document that is `index`-th by hash.
    pub(super) fn entry(&self, index: usize) -> Result<(u64, u32)> {
        let start = self.header.hashes as usize + ENTRY * index;
        let bytes = self.file.bytes(start..start + ENTRY)?;
        Ok((number(bytes), number(&bytes[8..]) as u32))
    }

    /// Compares all checksums, and ids with their hashes.
    pub(super) fn verify(&self) -> Result<()> {
        self.file.check_all()?;
        let bad = |message: String| Err(Error::file(self.file.path(), ErrorKind::Invalid(message)));
        let mut before = None;
        for index in 0..self.len() {
            let (hash, row) = self.entry(index)?;
            if row as usize >= self.len() || hash != self::hash(self.id(row as usize)?.as_bytes()) {
                return bad(format!("damaged: entry {index} of its ids is of another document"));
            }
            if before >= Some((hash, row)) {
                return bad(format!("damaged: entry {index} of its ids is out of order"));
            }
            before = Some((hash, row));
            self.place(index)?;
        }
        Ok(())
    }

    fn place(&self, row: usize) -> Result<Range<usize>> {
        let tokens = self.span(self.header.ends, row)?;
        let row_bytes = self.header.element.row_bytes(self.header.identity.width) as u64;
        Ok((tokens.start * row_bytes) as usize..(tokens.end * row_bytes) as usize)
    }

    /// The two neighbours in a table of ends.
    fn span(&self, table: u64, row: usize) -> Result<Range<u64>> {
        assert!(row < self.len(), "a document of the shard");
        let start = table as usize + 8 * row;
        let end = number(self.file.bytes(start..start + 8)?);
        let before = if row == 0 { 0 } else { number(self.file.bytes(start - 8..start)?) };
        if before > end || end > self.header.hashes.max(self.header.n_tokens) {
            let message = format!("damaged: document {row} ends before it begins");
            return Err(Error::file(self.file.path(), ErrorKind::Invalid(message)));
        }
        Ok(before..end)
    }
}

/// The first eight bytes as a number.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes[..8].iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The hash of an id: FNV-1a, its bits mixed once more.
pub(super) fn hash(id: &[u8]) -> u64 {
    let mut hash = id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}
