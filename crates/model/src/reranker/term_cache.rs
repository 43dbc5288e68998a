//! The documents that were computed last, in a bounded part of memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Values of documents by their tokens; those used longest ago make room.
#[derive(Debug)]
pub(super) struct TermCache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    documents: HashMap<Vec<u32>, (u64, Arc<[f32]>)>,
    /// Tokens by when they were used last.
    by_use: BTreeMap<u64, Vec<u32>>,
    clock: u64,
    bytes: usize,
}

impl TermCache {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    pub(super) fn get(&self, tokens: &[u32]) -> Option<Arc<[f32]>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        inner.clock += 1;
        let (used, values) = inner.documents.get_mut(tokens)?;
        let key = inner.by_use.remove(used)?;
        *used = inner.clock;
        inner.by_use.insert(inner.clock, key);
        Some(values.clone())
    }

    pub(super) fn put(&self, tokens: &[u32], values: &Arc<[f32]>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let size = size(tokens, values);
        if size > self.limit || inner.documents.contains_key(tokens) {
            return;
        }
        while inner.bytes + size > self.limit {
            let Some((_, oldest)) = inner.by_use.pop_first() else { break };
            if let Some((_, values)) = inner.documents.remove(&oldest) {
                inner.bytes -= self::size(&oldest, &values);
            }
        }
        inner.clock += 1;
        let clock = inner.clock;
        inner.bytes += size;
        inner.by_use.insert(clock, tokens.to_vec());
        inner.documents.insert(tokens.to_vec(), (clock, values.clone()));
    }
}

/// Bytes that a document takes: its values, and its tokens twice.
fn size(tokens: &[u32], values: &[f32]) -> usize {
    size_of_val(values) + 2 * size_of_val(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        // Each document takes 4 * 4 + 2 * 4 bytes.
        let cache = TermCache::new(60);
        let values: Arc<[f32]> = Arc::from(vec![1.0; 4]);
        cache.put(&[1], &values);
        cache.put(&[2], &values);
        assert!(cache.get(&[1]).is_some());
        cache.put(&[3], &values);
        assert_eq!([1, 2, 3].map(|token| cache.get(&[token]).is_some()), [true, false, true]);
        cache.put(&[4, 5], &Arc::from(vec![0.0; 40]));
        assert!(cache.get(&[4, 5]).is_none(), "larger than the whole cache");
        let bytes = cache.inner.lock().unwrap().bytes;
        assert_eq!(bytes, 48);
    }
}
