//! Qrels into tables that tell the grade of a document by its hash.

use std::collections::HashMap;

use tamis_data::Qrels;

/// The judgements of every query. Looked up only: its order never reaches output.
pub(super) struct Lookup<'a>(HashMap<&'a str, Judged<'a>>);

/// The judgements of one query: an open-addressing table of documents, half empty.
pub(super) struct Judged<'a> {
    slots: Vec<Option<(u64, &'a str, i32)>>,
    grades: Vec<i32>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(qrels: &'a Qrels) -> Self {
        let queries = qrels.iter().map(|(query, judged)| {
            let mut slots = vec![None; (judged.len() * 2).next_power_of_two()];
            for (document, &grade) in judged {
                let hash = hash(document.as_str().as_bytes());
                let mut at = hash as usize & (slots.len() - 1);
                while slots[at].is_some() {
                    at = (at + 1) & (slots.len() - 1);
                }
                slots[at] = Some((hash, document.as_str(), grade));
            }
            let mut grades: Vec<i32> = judged.values().copied().collect();
            grades.sort_unstable_by(|a, b| b.cmp(a));
            (query.as_str(), Judged { slots, grades })
        });
        Self(queries.collect())
    }

    pub(super) fn query(&self, query: &str) -> Option<&Judged<'a>> {
        self.0.get(query)
    }
}

impl Judged<'_> {
    /// Every grade of the query, highest first.
    pub(super) fn grades(&self) -> &[i32] {
        &self.grades
    }

    pub(super) fn grade(&self, hash: u64, document: &str) -> Option<i32> {
        let mut at = hash as usize & (self.slots.len() - 1);
        while let Some((other, id, grade)) = self.slots[at] {
            if other == hash && id == document {
                return Some(grade);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }
}

/// A fast hash of short ids; equal hashes are always followed by a comparison.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |state: u64, word: u64| (state.rotate_left(26) ^ word).wrapping_mul(FACTOR);
    let mut words = bytes.chunks_exact(8);
    let mut state = bytes.len() as u64;
    for word in words.by_ref() {
        state = mix(state, u64::from_le_bytes(word.try_into().expect("chunks hold 8 bytes")));
    }
    let rest = words.remainder().iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    state = mix(state, rest);
    state ^ (state >> 32)
}
