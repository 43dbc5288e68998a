//! Which documents of a store's shards can be found: a bit for each.

use super::TermStore;
use super::index::TermPlace;
use super::shard::Shard;
use crate::error::Result;

/// A bit for every document of every shard that there was: whether it can be found.
#[derive(Debug, Clone)]
pub(super) struct Living(Vec<Vec<u64>>);

impl Living {
    /// Of no shard.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Of a store as its index says.
    ///
    /// # Errors
    /// When the index is damaged.
    pub(super) fn of(store: &TermStore) -> Result<Self> {
        let words = |shard: &Shard| vec![0_u64; shard.len().div_ceil(64)];
        let mut bits: Vec<Vec<u64>> = store.shards.iter().map(words).collect();
        for entry in 0..store.len() {
            let (_, place) = store.index.entry(entry)?;
            // Checks that there is such a place.
            store.index.shard(place, &store.shards)?;
            bits[place.shard as usize][place.row as usize / 64] |= 1 << (place.row % 64);
        }
        Ok(Self(bits))
    }

    /// Shards that there were.
    pub(super) fn n_shards(&self) -> usize {
        self.0.len()
    }

    /// Whether a document can be found; one of a shard that there was not, can.
    pub(super) fn has(&self, place: TermPlace) -> bool {
        let bits = self.0.get(place.shard as usize);
        bits.is_none_or(|bits| bits[place.row as usize / 64] >> (place.row % 64) & 1 == 1)
    }

    /// From now on it cannot.
    pub(super) fn remove(&mut self, place: TermPlace) {
        self.0[place.shard as usize][place.row as usize / 64] &= !(1 << (place.row % 64));
    }

    /// How many documents of a shard can be found.
    pub(super) fn count(&self, shard: usize) -> usize {
        self.0[shard].iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Those documents, in their order.
    pub(super) fn places(&self, shard: usize) -> impl Iterator<Item = TermPlace> {
        let n = 64 * self.0[shard].len() as u32;
        let place = move |row| TermPlace { shard: shard as u32, row };
        (0..n).map(place).filter(|&place| self.has(place))
    }
}
