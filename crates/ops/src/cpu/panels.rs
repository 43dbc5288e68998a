//! A linear map whose weight lies in the order the kernels read it, and its product with rows.

mod finish;
mod int8;

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::tile::{
    Bf16Pair, COLUMNS, DEPTH, Kernels, LANES, MAX_ROWS, Panel, Product, RowsOf, Tile, bf16_pair,
    kernels,
};
use crate::packed::Precision;
pub(crate) use finish::Finish;
use finish::{Place, finish_tile};
use int8::{Int8, RowScale, quantise_row};

/// Rows that one task takes, at most: their inputs stay in the cache of a core while all panels
/// pass by.
const BLOCK_ROWS: usize = 96;

/// A linear map, packed.
#[derive(Debug)]
pub(crate) struct Panels {
    n_in: usize,
    n_out: usize,
    bias: Vec<f32>,
    weight: Weight,
}

/// Panels of at most 64 columns, one after the other, each `[depth, width]`.
#[derive(Debug)]
enum Weight {
    F32(Vec<f32>),
    Bf16(Vec<Bf16Pair>),
    Int8(Int8),
}

impl Panels {
    /// Packs `weight: [n_in, n_out]` and its bias.
    pub(crate) fn new(weight: &[f32], bias: &[f32], precision: Precision) -> Self {
        let (n_in, n_out) = (weight.len() / bias.len().max(1), bias.len());
        assert_eq!(weight.len(), n_in * n_out, "a weight is as wide as its bias");
        let at = |input: usize, output: usize| {
            if input < n_in && output < n_out { weight[input * n_out + output] } else { 0.0 }
        };
        let weight = match precision {
            Precision::F32 => Weight::F32(pack(n_in, n_out, at)),
            Precision::Bf16 => Weight::Bf16(pack(words(n_in, 2), n_out, |pair, output| {
                bf16_pair(at(2 * pair, output), at(2 * pair + 1, output))
            })),
            Precision::Int8 => Weight::Int8(Int8::new(weight, n_in, n_out)),
        };
        Self { n_in, n_out, bias: bias.to_vec(), weight }
    }

    /// Packs a weight that is read a few outputs at a time: `read` appends the inputs of every output of a
    /// range, output after output.
    pub(crate) fn from_rows(
        n_in: usize,
        bias: Vec<f32>,
        precision: Precision,
        mut read: impl FnMut(Range<usize>, &mut Vec<f32>),
    ) -> Self {
        let n_out = bias.len();
        let weight = match precision {
            Precision::F32 => Weight::F32(pack_rows(n_in, n_in, n_out, read, |inputs, p| {
                inputs.get(p).copied().unwrap_or(0.0)
            })),
            Precision::Bf16 => {
                Weight::Bf16(pack_rows(words(n_in, 2), n_in, n_out, read, |inputs, pair| {
                    let at = |input: usize| inputs.get(input).copied().unwrap_or(0.0);
                    bf16_pair(at(2 * pair), at(2 * pair + 1))
                }))
            }
            Precision::Int8 => {
                let mut rows = Vec::with_capacity(n_in * n_out);
                read(0..n_out, &mut rows);
                let mut weight = Vec::with_capacity(rows.len());
                for input in 0..n_in {
                    weight.extend((0..n_out).map(|output| rows[output * n_in + input]));
                }
                Weight::Int8(Int8::new(&weight, n_in, n_out))
            }
        };
        Self { n_in, n_out, bias, weight }
    }

    pub(crate) fn n_in(&self) -> usize {
        self.n_in
    }

    pub(crate) fn n_out(&self) -> usize {
        self.n_out
    }

    /// Whether the map's outputs are two halves of whole panels, as gates need them.
    pub(crate) fn has_halves(&self) -> bool {
        self.n_out.is_multiple_of(2 * COLUMNS)
    }

    /// `finish(x · weight + bias)` for `x: [rows, n_in]`.
    pub(crate) fn forward(&self, x: &[f32], finish: Finish<'_>) -> Vec<f32> {
        let n_rows = x.len() / self.n_in.max(1);
        let width = match finish {
            Finish::Gate(_) => {
                assert!(self.has_halves(), "gates stand in panels of their own");
                self.n_out / 2
            }
            _ => self.n_out,
        };
        let mut out = Vec::with_capacity(n_rows * width);
        if width == 0 {
            return out;
        }
        if let Finish::Add(other) = finish {
            assert_eq!(other.len(), n_rows * self.n_out, "what is added has the product's shape");
        }
        // As many rows a task as give every thread the same work, in whole tiles.
        let tile_rows = self.tile_rows(kernels());
        let share = n_rows.div_ceil(rayon::current_num_threads()).next_multiple_of(tile_rows);
        let block = share.clamp(tile_rows, BLOCK_ROWS);
        let places = &mut out.spare_capacity_mut()[..n_rows * width];
        places
            .par_chunks_mut(block * width)
            .zip(x.par_chunks(block * self.n_in.max(1)))
            .enumerate()
            .for_each_init(Scratch::default, |scratch, (index, (out, x))| {
                let finish = match finish {
                    Finish::Add(other) => Finish::Add(&other[index * block * self.n_out..]),
                    alike => alike,
                };
                self.block(kernels(), scratch, x, finish, out);
            });
        // SAFETY: every block wrote all of its places: each row times each panel.
        unsafe { out.set_len(n_rows * width) };
        out
    }

    /// Rows of a tile.
    fn tile_rows(&self, kernels: &Kernels) -> usize {
        match self.weight {
            Weight::F32(_) => kernels.f32.rows,
            Weight::Bf16(_) => kernels.bf16.rows,
            Weight::Int8(_) => kernels.int8.rows,
        }
    }

    fn block(
        &self,
        kernels: &Kernels,
        scratch: &mut Scratch,
        x: &[f32],
        finish: Finish<'_>,
        out: &mut [MaybeUninit<f32>],
    ) {
        let n_rows = x.len() / self.n_in.max(1);
        match &self.weight {
            Weight::F32(weight) => {
                let rows = RowsOf::new(x, n_rows, self.n_in, self.n_in);
                let tile = &mut scratch.sums;
                self.tiles(kernels.f32, weight, rows, (tile, finish), |tile, place| {
                    finish_tile(tile, place, &self.bias, finish, out);
                });
            }
            Weight::Bf16(weight) => {
                let depth = words(self.n_in, 2);
                scratch.words.resize(n_rows.next_multiple_of(MAX_ROWS) * depth, 0);
                for (x, pairs) in
                    x.chunks_exact(self.n_in).zip(scratch.words.chunks_exact_mut(depth))
                {
                    (kernels.bf16_row)(x, pairs);
                }
                let rows = RowsOf::new(&scratch.words, n_rows, depth, depth);
                let tile = &mut scratch.sums;
                self.tiles(kernels.bf16, weight, rows, (tile, finish), |tile, place| {
                    finish_tile(tile, place, &self.bias, finish, out);
                });
            }
            Weight::Int8(weight) => {
                let depth = words(self.n_in, 4);
                scratch.words.resize(n_rows.next_multiple_of(MAX_ROWS) * depth, 0);
                scratch.scales.clear();
                for (x, quads) in
                    x.chunks_exact(self.n_in).zip(scratch.words.chunks_exact_mut(depth))
                {
                    scratch.scales.push(quantise_row(x, &mut scratch.bytes, quads));
                }
                let rows = RowsOf::new(&scratch.words, n_rows, depth, depth);
                let (tile, sums) = (&mut scratch.integers, &mut scratch.sums);
                self.tiles(kernels.int8, &weight.quads, rows, (tile, finish), |tile, place| {
                    weight.scale_tile(tile, place, &scratch.scales, sums);
                    finish_tile(sums, place, &self.bias, finish, out);
                });
            }
        }
    }

    /// Multiplies tile after tile and calls `write` for each: panel by panel, and within one all
    /// rows from the top.
    fn tiles<T: Copy, S>(
        &self,
        product: Product<T, S>,
        weight: &[T],
        rows: RowsOf<'_, T>,
        (tile, finish): (&mut Tile<S>, Finish<'_>),
        mut write: impl FnMut(&Tile<S>, Place),
    ) {
        let depth = rows.depth();
        let mut panel = |first_column: usize, stride: usize| {
            let n_columns = (self.n_out - first_column).min(COLUMNS);
            let width = n_columns.next_multiple_of(LANES);
            let panel = Panel::new(&weight[first_column * depth..][..width * depth], width);
            for first_row in (0..rows.len()).step_by(product.rows) {
                let rows = rows.tile(first_row, product.rows);
                (product.tile)(rows, panel, tile);
                let n_rows = rows.len();
                write(tile, Place { first_row, n_rows, first_column, n_columns, stride });
            }
        };
        if let Finish::Gate(_) = finish {
            let half = self.n_out / 2;
            // What gates and what it lets through, one right after the other: the product stays in the cache.
            for first_column in (0..half).step_by(COLUMNS) {
                panel(first_column, half);
                panel(half + first_column, half);
            }
        } else {
            (0..self.n_out)
                .step_by(COLUMNS)
                .for_each(|first_column| panel(first_column, self.n_out));
        }
    }
}

/// Words of a row of `n` elements, so many to a word, filled up as the kernels want it.
fn words(n: usize, per_word: usize) -> usize {
    n.div_ceil(per_word).next_multiple_of(DEPTH)
}

#[derive(Default)]
struct Scratch {
    sums: Tile<f32>,
    integers: Tile<i32>,
    words: Vec<u32>,
    bytes: Vec<u8>,
    scales: Vec<RowScale>,
}

/// Panels of a `[depth, n_out]` matrix; columns after the last are `value`'s business.
fn pack<T>(depth: usize, n_out: usize, value: impl Fn(usize, usize) -> T) -> Vec<T> {
    let mut packed = Vec::with_capacity(depth * n_out.next_multiple_of(LANES));
    for first in (0..n_out).step_by(COLUMNS) {
        let width = (n_out - first).min(COLUMNS).next_multiple_of(LANES);
        for p in 0..depth {
            packed.extend((first..first + width).map(|column| value(p, column)));
        }
    }
    packed
}

/// The same of a matrix that is read panel by panel; `value` has the inputs of one output, or none.
fn pack_rows<T>(
    depth: usize,
    n_in: usize,
    n_out: usize,
    mut read: impl FnMut(Range<usize>, &mut Vec<f32>),
    value: impl Fn(&[f32], usize) -> T,
) -> Vec<T> {
    let mut packed = Vec::with_capacity(depth * n_out.next_multiple_of(LANES));
    let mut rows = Vec::new();
    for first in (0..n_out).step_by(COLUMNS) {
        let n = (n_out - first).min(COLUMNS);
        rows.clear();
        read(first..first + n, &mut rows);
        assert_eq!(rows.len(), n * n_in, "every output has all inputs");
        for p in 0..depth {
            packed.extend((0..n.next_multiple_of(LANES)).map(|column| {
                let inputs = if column < n { &rows[column * n_in..][..n_in] } else { &[] };
                value(inputs, p)
            }));
        }
    }
    packed
}
