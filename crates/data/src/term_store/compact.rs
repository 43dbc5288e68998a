//! A store whose documents were replaced or deleted into one that holds what can be found alone.

use std::ops::Range;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::builder::{lock, sweep, write};
use super::index::TermPlace;
use super::living::Living;
use super::shard::{Shard, ShardWriter};
use super::{Manifest, TermStore};
use crate::error::Result;

/// What compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Documents that were copied into new shards.
    pub copied: u64,
    /// Documents that were left out.
    pub dropped: u64,
    /// Bytes of the store before.
    pub bytes_before: u64,
    /// Bytes of the store now.
    pub bytes_after: u64,
}

/// Leaves out of a store what was replaced or deleted. Shards without such documents stay as they are;
/// what is left of the others is copied, byte for byte, into shards of `shard_documents` documents.
///
/// Until the end readers see the store as it was. A compaction that was killed goes on when it is called
/// again: shards that it finished are kept as long as the store has not changed. `progress` is told
/// documents copied, of how many.
///
/// # Errors
/// When the store is damaged, another process writes to it, or there is no space left; the store is then
/// as it was.
///
/// # Panics
/// When a shard has no documents.
pub fn compact(
    path: &Path,
    shard_documents: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Compacted> {
    assert!(shard_documents > 0, "a shard has documents");
    let _lock = lock(path)?;
    let store = TermStore::open(path)?;
    let bytes_before = store.stat().bytes;
    let living = Living::of(&store)?;
    let unchanged = Compacted { copied: 0, dropped: 0, bytes_before, bytes_after: bytes_before };
    let all: u64 = store.shards.iter().map(|shard| shard.len() as u64).sum();
    if all == store.len() as u64 {
        // An earlier compaction may have been killed between its last two steps.
        sweep(path, &store.manifest)?;
        return Ok(unchanged);
    }
    let is_whole = |index: &usize| living.count(*index) == store.shards[*index].len();
    let (whole, holed): (Vec<usize>, Vec<usize>) =
        (0..store.shards.len()).partition(|index| is_whole(index));
    let copied: u64 = holed.iter().map(|&index| living.count(index) as u64).sum();
    let plan = Plan::new(&store, shard_documents, copied);
    let mut places = holed.iter().flat_map(|&index| living.places(index));
    let mut done = 0;
    for number in 0..plan.n_shards() {
        let documents = plan.documents(number);
        let n = documents.end - documents.start;
        let own: Vec<TermPlace> = places.by_ref().take(n as usize).collect();
        if !plan.is_there(number) {
            plan.copy(number, &own)?;
        }
        done += n;
        progress(done, copied);
    }
    let old = &store.manifest;
    let mut names: Vec<String> = whole.iter().map(|&index| old.shards[index].clone()).collect();
    names.extend((0..plan.n_shards()).map(|number| plan.name(number)));
    let manifest = Manifest::new(old.identity.clone(), old.element, old.generation + 1, names);
    // Every id is in one shard now: one that is in two is damage.
    write(path, &manifest, &Living::none())?;
    let bytes_after = TermStore::open(path)?.stat().bytes;
    Ok(Compacted { copied, dropped: all - store.len() as u64, bytes_before, bytes_after })
}

/// The shards that a compaction writes.
struct Plan<'a> {
    store: &'a TermStore,
    source: String,
    prefix: String,
    shard_documents: u64,
    n_documents: u64,
}

impl<'a> Plan<'a> {
    fn new(store: &'a TermStore, shard_documents: u64, n_documents: u64) -> Self {
        // What was copied from a store is of use for as long as that store is the same.
        let manifest = serde_json::to_string(&store.manifest).expect("a manifest serialises");
        let mut hash = Sha256::new();
        hash.update(b"compact");
        hash.update(&manifest);
        hash.update(shard_documents.to_le_bytes());
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let source = format!("compacted {hash}");
        let prefix = hash[..16].to_owned();
        Self { store, source, prefix, shard_documents, n_documents }
    }

    fn n_shards(&self) -> u64 {
        self.n_documents.div_ceil(self.shard_documents)
    }

    fn documents(&self, number: u64) -> Range<u64> {
        let start = number * self.shard_documents;
        start..(start + self.shard_documents).min(self.n_documents)
    }

    fn name(&self, number: u64) -> String {
        format!("{}-{number:06}.terms", self.prefix)
    }

    /// Whether an earlier compaction of the same store finished this shard.
    fn is_there(&self, number: u64) -> bool {
        Shard::open(&self.store.path.join(self.name(number))).is_ok_and(|shard| {
            let header = shard.header();
            header.source == self.source && header.documents == self.documents(number)
        })
    }

    fn copy(&self, number: u64, places: &[TermPlace]) -> Result<()> {
        let manifest = &self.store.manifest;
        let mut writer = ShardWriter::create(
            &self.store.path.join(self.name(number)),
            manifest.identity.clone(),
            manifest.element,
            self.source.clone(),
            self.documents(number),
        )?;
        for ahead in places {
            self.store.prefetch(*ahead)?;
        }
        let mut copy = || {
            places.iter().try_for_each(|place| {
                let shard = &self.store.shards[place.shard as usize];
                let row = place.row as usize;
                writer.push_encoded(shard.id(row)?, shard.encoded(row)?)
            })
        };
        match copy() {
            Ok(()) => writer.finish(),
            Err(error) => {
                writer.abandon();
                Err(error)
            }
        }
    }
}
