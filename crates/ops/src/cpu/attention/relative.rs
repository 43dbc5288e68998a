//! What relative positions add to the scores of a head.

use std::ops::Range;

use multiversion::multiversion;

use super::Head;
use super::columns::Columns;
use crate::cpu::tile::{Kernels, LANES, ROWS, RowsOf, Tile};
use crate::disentangled::Distances;

/// Positions as keys and as queries, `[positions, heads * width]`.
#[derive(Clone, Copy)]
pub(crate) struct Relative<'a> {
    pub(crate) keys: Option<&'a [f32]>,
    pub(crate) queries: Option<&'a [f32]>,
    pub(crate) distances: &'a Distances,
}

impl Relative<'_> {
    /// The positions between the tokens of a row of `n`.
    fn positions(&self, n: usize) -> Range<usize> {
        let [first, last] = [(0, n - 1), (n - 1, 0)]
            .map(|(query, key)| self.distances.to_keys(query, key..key + 1)[0] as usize);
        first..last + 1
    }
}

/// The positions of one head of one row, packed for the kernels.
pub(super) struct PackedRelative<'a> {
    kernels: &'static Kernels,
    relative: Relative<'a>,
    /// The positions between the tokens of the row.
    positions: Range<usize>,
    keys: Columns,
    queries: Columns,
    /// What keys add by meeting positions: `[queries, keys]`.
    added: Vec<f32>,
    /// A tile of tokens by positions.
    met: Vec<f32>,
}

impl<'a> PackedRelative<'a> {
    pub(super) fn new(kernels: &'static Kernels, relative: Relative<'a>) -> Self {
        Self {
            kernels,
            relative,
            positions: 0..0,
            keys: Columns::default(),
            queries: Columns::default(),
            added: Vec::new(),
            met: Vec::new(),
        }
    }

    /// Packs positions as keys, and lets the keys of the row meet positions as queries.
    pub(super) fn pack(&mut self, head: &Head<'_>, sums: &mut Tile<f32>) {
        let (n, width) = (head.n, head.config.width);
        self.positions = self.relative.positions(n);
        let first = self.positions.start;
        let (dims, hidden) = ((self.positions.len(), width), head.config.n_heads * width);
        let column = head.head_idx * width;
        let pack = |columns: &mut Columns, values: &[f32]| {
            let row = |index: usize| &values[(first + index) * hidden + column..][..width];
            columns.pack(dims, head.config.scale, row);
        };
        self.met.resize(ROWS * dims.0.next_multiple_of(LANES), 0.0);
        if let Some(keys) = self.relative.keys {
            pack(&mut self.keys, keys);
        }
        let Some(queries) = self.relative.queries else { return };
        pack(&mut self.queries, queries);
        self.added.resize(n * n, 0.0);
        for first_key in (0..n).step_by(ROWS) {
            let keys = first_key..n.min(first_key + ROWS);
            let rows = head.key.rows_from(first_key);
            let rows = RowsOf::new(rows, keys.len(), width, head.stride);
            self.queries.multiply(self.kernels, rows, 0..dims.0, sums, &mut self.met);
            for query in 0..n {
                let added = &mut self.added[query * n..][keys.clone()];
                let positions = self.relative.distances.to_keys(query, keys.clone()).iter().rev();
                let met = self.met.chunks_exact(self.queries.padded());
                for ((added, &position), met) in added.iter_mut().zip(positions).zip(met) {
                    *added = met[position as usize - first];
                }
            }
        }
    }

    /// Adds to the scores of a tile of queries and some keys, rows of `stride`, those of positions.
    pub(super) fn add(
        &mut self,
        head: &Head<'_>,
        (queries, keys): (Range<usize>, Range<usize>),
        rows: RowsOf<'_, f32>,
        sums: &mut Tile<f32>,
        (scores, stride): (&mut [f32], usize),
    ) {
        let Relative { keys: by_query, queries: by_key, distances } = self.relative;
        if by_query.is_some() {
            let n_positions = self.positions.len();
            self.keys.multiply(self.kernels, rows, 0..n_positions, sums, &mut self.met);
        }
        for (index, query) in queries.enumerate() {
            let scores = &mut scores[index * stride..][keys.clone()];
            if by_query.is_some() {
                let positions = distances.to_keys(query, keys.clone());
                let near = distances.near(query, keys.clone());
                let met = &self.met[index * self.keys.padded()..][..self.positions.len()];
                add_met(scores, positions, near, met, self.positions.start);
            }
            if by_key.is_some() {
                add(scores, &self.added[query * head.n..][keys.clone()]);
            }
        }
    }
}

/// Adds to the scores of a query what it met in the position of each key, the last key first; those of
/// `near` follow each other.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn add_met(scores: &mut [f32], positions: &[u32], near: Range<usize>, met: &[f32], first: usize) {
    let n = scores.len();
    let one_by_one = |scores: &mut [f32], positions: &[u32]| {
        for (score, &position) in scores.iter_mut().rev().zip(positions) {
            *score += met[position as usize - first];
        }
    };
    one_by_one(&mut scores[n - near.start..], &positions[..near.start]);
    one_by_one(&mut scores[..n - near.end], &positions[near.end..]);
    if let Some(&nearest) = positions[near.clone()].first() {
        let met = &met[nearest as usize - first..][..near.len()];
        for (score, met) in scores[n - near.end..n - near.start].iter_mut().rev().zip(met) {
            *score += met;
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn add(scores: &mut [f32], added: &[f32]) {
    for (score, added) in scores.iter_mut().zip(added) {
        *score += added;
    }
}
