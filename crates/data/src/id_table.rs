//! Rows by id: an open-addressing hash table of 8-byte slots in a memory-mapped Arrow file.
//!
//! A slot holds 32 bits of the id's hash and the row; the ids themselves stay in the text table.
//! At three quarters full that is 10.7 bytes per row on disk, none of it in the heap.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema};

use crate::arrow_file::{ArrowFile, BATCH_ROWS, Columns};
use crate::arrow_writer::{ArrowWriter, WrittenFile};
use crate::error::Result;

/// A slot without a row. No row has this number.
const FREE: u64 = u64::MAX;

/// The most rows a table can number.
pub(crate) const MAX_ROWS: usize = u32::MAX as usize;

/// The 64-bit hash that the table on disk is built with: FNV-1a, then a mixing of its bits.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in bytes {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The finaliser of MurmurHash3: FNV alone leaves the high bits of short keys alike.
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

fn slot_of(hash: u64, slots: usize) -> usize {
    ((u128::from(hash) * slots as u128) >> 64) as usize
}

fn entry(hash: u64, row: u32) -> u64 {
    (hash << 32) | u64::from(row)
}

#[derive(Debug)]
struct Slots(UInt64Array);

impl Columns for Slots {
    fn schema() -> Schema {
        Schema::new(vec![Field::new("slot", DataType::UInt64, false)])
    }

    fn from_batch(batch: &RecordBatch) -> Self {
        Self(batch.column(0).as_primitive::<UInt64Type>().clone())
    }
}

/// The table on disk.
#[derive(Debug)]
pub(crate) struct IdTable {
    slots: ArrowFile<Slots>,
}

impl IdTable {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { slots: ArrowFile::open(path)? })
    }

    /// The row with this hash for which `is_it` holds.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let slots = self.slots.rows();
        let first = if slots == 0 { return None } else { slot_of(hash, slots) };
        for slot in (first..slots).chain(0..first) {
            let (columns, i) = self.slots.locate(slot);
            let value = columns.0.value(i);
            if value == FREE {
                return None;
            }
            if value >> 32 == hash & 0xffff_ffff && is_it(value as u32) {
                return Some(value as u32);
            }
        }
        None
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.slots.check()
    }
}

/// The table while it is made, in memory: 8 bytes a slot.
pub(crate) struct IdTableBuilder {
    slots: Vec<u64>,
}

impl IdTableBuilder {
    /// Enters the hash of every row, in order. `same` tells whether two rows have the same id, and
    /// is asked only for rows whose hashes are equal.
    ///
    /// # Errors
    /// The first row whose id an earlier row has, with that row.
    pub(crate) fn build(
        hashes: &[u64],
        same: impl Fn(u32, u32) -> bool,
    ) -> std::result::Result<Self, (u32, u32)> {
        // Always at least one free slot, so that a search ends.
        let n = if hashes.is_empty() { 0 } else { hashes.len() * 4 / 3 + 1 };
        let mut slots = vec![FREE; n];
        for (row, &hash) in hashes.iter().enumerate() {
            let row = u32::try_from(row).expect("the caller keeps to MAX_ROWS");
            let mut slot = slot_of(hash, n);
            while slots[slot] != FREE {
                let other = slots[slot] as u32;
                if hashes[other as usize] == hash && same(other, row) {
                    return Err((row, other));
                }
                slot = if slot + 1 == n { 0 } else { slot + 1 };
            }
            slots[slot] = entry(hash, row);
        }
        Ok(Self { slots })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<WrittenFile> {
        let mut out = ArrowWriter::create(path, Slots::schema())?;
        for batch in self.slots.chunks(BATCH_ROWS) {
            out.write(vec![Arc::new(UInt64Array::from(batch.to_vec()))])?;
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_and_nothing_else() {
        let ids: Vec<String> = (0..20_000).map(|i| format!("D{}", i * 7)).collect();
        let hashes: Vec<u64> = ids.iter().map(|id| hash(id.as_bytes())).collect();
        let builder = IdTableBuilder::build(&hashes, |a, b| ids[a as usize] == ids[b as usize]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.arrow");
        builder.ok().unwrap().write(&path).unwrap();
        let table = IdTable::open(&path).unwrap();
        let find = |id: &str| table.find(hash(id.as_bytes()), |row| ids[row as usize] == id);
        for (row, id) in ids.iter().enumerate() {
            assert_eq!(find(id), Some(row as u32), "{id}");
        }
        assert_eq!((1..7).find_map(|i| find(&format!("D{i}"))), None);
    }

    #[test]
    fn a_repeated_id_is_told_with_the_first_row() {
        let ids = ["a", "b", "c", "b"];
        let hashes = ids.map(|id| hash(id.as_bytes()));
        let built = IdTableBuilder::build(&hashes, |a, b| ids[a as usize] == ids[b as usize]);
        assert_eq!(built.err(), Some((3, 1)));
        // Rows with equal hashes and different ids are not the same.
        assert!(IdTableBuilder::build(&[5, 5, 5], |_, _| false).is_ok());
    }
}
