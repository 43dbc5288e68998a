//! Where every document is: hashes of ids in order, each with its shard and its place there.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::block_file::{BlockFile, BlockWriter};
use super::living::Living;
use super::shard::{Shard, hash, number};
use crate::error::{Error, ErrorKind, Result};

/// Bytes of an entry: hash, shard, place.
const ENTRY: usize = 16;

/// The place of a document in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TermPlace {
    /// The shard's place in the store's list.
    pub(super) shard: u32,
    pub(super) row: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexHeader {
    n_documents: u64,
    n_tokens: u64,
}

/// The documents of a store that count.
#[derive(Debug)]
pub(super) struct Index {
    file: BlockFile,
    header: IndexHeader,
}

impl Index {
    /// Writes the index of some shards, of which the first ones are those that there were: of them only
    /// documents that can be found count, and a new shard's document replaces them.
    ///
    /// # Errors
    /// When new shards have an id twice, or there is no space left.
    pub(super) fn write(path: &Path, shards: &[Shard], before: &Living) -> Result<()> {
        let mut out = BlockWriter::create(path)?;
        let mut header = IndexHeader { n_documents: 0, n_tokens: 0 };
        let mut heads = BinaryHeap::new();
        let mut next = vec![0; shards.len()];
        let mut advance = |shard: usize, heads: &mut BinaryHeap<_>| -> Result<()> {
            if next[shard] < shards[shard].len() {
                let (hash, row) = shards[shard].entry(next[shard])?;
                heads.push(Reverse((hash, shard as u32, row)));
                next[shard] += 1;
            }
            Ok(())
        };
        (0..shards.len()).try_for_each(|shard| advance(shard, &mut heads))?;
        // Documents of one hash, in the order of their shards.
        let mut alike: Vec<TermPlace> = Vec::new();
        let mut current = None;
        loop {
            let head = heads.pop();
            let hash = head.map(|Reverse((hash, ..))| hash);
            if hash != current {
                if let Some(hash) = current {
                    for place in living(shards, &alike, before)? {
                        let shard = &shards[place.shard as usize];
                        header.n_documents += 1;
                        header.n_tokens += shard.document_tokens(place.row as usize)? as u64;
                        out.write(&u64::to_le_bytes(hash))?;
                        out.write(&place.shard.to_le_bytes())?;
                        out.write(&place.row.to_le_bytes())?;
                    }
                }
                alike.clear();
                current = hash;
            }
            let Some(Reverse((_, shard, row))) = head else { break };
            alike.push(TermPlace { shard, row });
            advance(shard as usize, &mut heads)?;
        }
        out.finish(&header)
    }

    pub(super) fn open(path: &Path) -> Result<Self> {
        let (file, header): (_, IndexHeader) = BlockFile::open(path)?;
        if header.n_documents.checked_mul(ENTRY as u64) != Some(file.length() as u64) {
            let message = "damaged: its entries do not fit its length".to_owned();
            return Err(Error::file(path, ErrorKind::Invalid(message)));
        }
        Ok(Self { file, header })
    }

    pub(super) fn len(&self) -> usize {
        self.header.n_documents as usize
    }

    pub(super) fn n_tokens(&self) -> u64 {
        self.header.n_tokens
    }

    pub(super) fn file_length(&self) -> u64 {
        self.file.file_length()
    }

    /// The place of a document.
    pub(super) fn find(&self, id: &str, shards: &[Shard]) -> Result<Option<TermPlace>> {
        let wanted = hash(id.as_bytes());
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(middle)?.0 < wanted { low = middle + 1 } else { high = middle }
        }
        while low < self.len() {
            let (hash, place) = self.entry(low)?;
            if hash != wanted {
                break;
            }
            let shard = self.shard(place, shards)?;
            if shard.id(place.row as usize)? == id {
                return Ok(Some(place));
            }
            low += 1;
        }
        Ok(None)
    }

    /// The hash and the place of the entry at `index`.
    pub(super) fn entry(&self, index: usize) -> Result<(u64, TermPlace)> {
        let bytes = self.file.bytes(ENTRY * index..ENTRY * (index + 1))?;
        let places = number(&bytes[8..]);
        Ok((number(bytes), TermPlace { shard: places as u32, row: (places >> 32) as u32 }))
    }

    /// Compares all checksums, and every entry with the id at its place.
    pub(super) fn verify(&self, shards: &[Shard]) -> Result<()> {
        self.file.check_all()?;
        for index in 0..self.len() {
            let (expected, place) = self.entry(index)?;
            let shard = self.shard(place, shards)?;
            if hash(shard.id(place.row as usize)?.as_bytes()) != expected {
                let message = format!("damaged: entry {index} is of another document");
                return Err(Error::file(self.file.path(), ErrorKind::Invalid(message)));
            }
        }
        Ok(())
    }

    /// The shard of a place, which must be there.
    pub(super) fn shard<'a>(&self, place: TermPlace, shards: &'a [Shard]) -> Result<&'a Shard> {
        let shard = shards.get(place.shard as usize);
        shard.filter(|shard| (place.row as usize) < shard.len()).ok_or_else(|| {
            let message = format!("damaged: there is no place {place:?}");
            Error::file(self.file.path(), ErrorKind::Invalid(message))
        })
    }
}

/// Of documents with one hash, those that count.
fn living(shards: &[Shard], alike: &[TermPlace], before: &Living) -> Result<Vec<TermPlace>> {
    let id = |place: &TermPlace| shards[place.shard as usize].id(place.row as usize);
    let mut living: Vec<TermPlace> = Vec::with_capacity(alike.len());
    // What cannot be found does not come back, unless a new shard has it.
    for place in alike.iter().filter(|place| before.has(**place)) {
        let own = id(place)?;
        let mut same = None;
        for (index, other) in living.iter().enumerate() {
            if id(other)? == own {
                same = Some(index);
            }
        }
        match same {
            Some(index) => {
                if living[index].shard as usize >= before.n_shards() {
                    return Err(
                        ErrorKind::Duplicate { what: "document", id: own.to_owned() }.into()
                    );
                }
                living[index] = *place;
            }
            None => living.push(*place),
        }
    }
    Ok(living)
}
