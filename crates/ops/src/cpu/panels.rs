//! A linear map whose weight lies in the order the kernels read it, and its product with rows.

use std::mem::MaybeUninit;

use multiversion::multiversion;
use rayon::prelude::*;

use super::scalar::{normal_cdf, sigmoid, tanh};
use super::tile::{
    Bf16Pair, ByteQuad, COLUMNS, Kernels, LANES, Panel, ROWS, RowsOf, Tile, kernels,
};
use crate::packed::{Activation, Precision};

/// Rows that one task takes, at most: their inputs stay in the cache of a core while all panels
/// pass by.
const BLOCK_ROWS: usize = 16 * ROWS;

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

/// A column is `scale` times its bytes. The sum of a column's bytes undoes the zero point of the rows.
#[derive(Debug)]
struct Int8 {
    quads: Vec<ByteQuad>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

/// What happens to a product before it is stored.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    /// A function of every element.
    Activate(Activation),
    /// The sum with another matrix of the same shape.
    Add(&'a [f32]),
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
            Precision::Bf16 => Weight::Bf16(pack(n_in.div_ceil(2), n_out, |pair, output| {
                bf16_pair(at(2 * pair, output), at(2 * pair + 1, output))
            })),
            Precision::Int8 => Weight::Int8(Int8::new(weight, n_in, n_out)),
        };
        Self { n_in, n_out, bias: bias.to_vec(), weight }
    }

    pub(crate) fn n_in(&self) -> usize {
        self.n_in
    }

    pub(crate) fn n_out(&self) -> usize {
        self.n_out
    }

    /// `finish(x · weight + bias)` for `x: [rows, n_in]`.
    pub(crate) fn forward(&self, x: &[f32], finish: Finish<'_>) -> Vec<f32> {
        let n_rows = x.len() / self.n_in.max(1);
        let mut out = Vec::with_capacity(n_rows * self.n_out);
        if self.n_out == 0 {
            return out;
        }
        if let Finish::Add(other) = finish {
            assert_eq!(other.len(), n_rows * self.n_out, "what is added has the product's shape");
        }
        // As many rows a task as give every thread the same work, in whole tiles.
        let share = n_rows.div_ceil(rayon::current_num_threads()).next_multiple_of(ROWS);
        let block = share.clamp(ROWS, BLOCK_ROWS);
        let places = &mut out.spare_capacity_mut()[..n_rows * self.n_out];
        places
            .par_chunks_mut(block * self.n_out)
            .zip(x.par_chunks(block * self.n_in.max(1)))
            .enumerate()
            .for_each_init(Scratch::default, |scratch, (index, (out, x))| {
                let finish = match finish {
                    Finish::Add(other) => Finish::Add(&other[index * block * self.n_out..]),
                    activate @ Finish::Activate(_) => activate,
                };
                self.block(kernels(), scratch, x, finish, out);
            });
        // SAFETY: every block wrote all of its places: each row times each panel.
        unsafe { out.set_len(n_rows * self.n_out) };
        out
    }

    fn block(
        &self,
        kernels: &Kernels,
        scratch: &mut Scratch,
        x: &[f32],
        finish: Finish<'_>,
        out: &mut [MaybeUninit<f32>],
    ) {
        let n_rows = out.len() / self.n_out;
        match &self.weight {
            Weight::F32(weight) => {
                let rows = RowsOf::new(x, n_rows, self.n_in, self.n_in);
                let tile = &mut scratch.sums;
                self.tiles(weight, rows, out, |rows, panel, place, out| {
                    (kernels.f32)(rows, panel, tile);
                    finish_tile(tile, place, &self.bias, finish, out);
                });
            }
            Weight::Bf16(weight) => {
                let depth = self.n_in.div_ceil(2);
                scratch.words.resize(n_rows * depth, 0);
                for (x, pairs) in
                    x.chunks_exact(self.n_in).zip(scratch.words.chunks_exact_mut(depth))
                {
                    bf16_row(x, pairs);
                }
                let rows = RowsOf::new(&scratch.words, n_rows, depth, depth);
                let tile = &mut scratch.sums;
                self.tiles(weight, rows, out, |rows, panel, place, out| {
                    (kernels.bf16)(rows, panel, tile);
                    finish_tile(tile, place, &self.bias, finish, out);
                });
            }
            Weight::Int8(weight) => {
                let depth = self.n_in.div_ceil(4);
                scratch.words.resize(n_rows * depth, 0);
                scratch.scales.clear();
                for (x, quads) in
                    x.chunks_exact(self.n_in).zip(scratch.words.chunks_exact_mut(depth))
                {
                    scratch.scales.push(quantise_row(x, &mut scratch.bytes, quads));
                }
                let rows = RowsOf::new(&scratch.words, n_rows, depth, depth);
                let (tile, sums) = (&mut scratch.integers, &mut scratch.sums);
                self.tiles(&weight.quads, rows, out, |rows, panel, place, out| {
                    (kernels.int8)(rows, panel, tile);
                    weight.scale_tile(tile, place, &scratch.scales, sums);
                    finish_tile(sums, place, &self.bias, finish, out);
                });
            }
        }
    }

    /// Calls `product` for every tile: panel by panel, and within one all rows from the top.
    fn tiles<T: Copy>(
        &self,
        weight: &[T],
        rows: RowsOf<'_, T>,
        out: &mut [MaybeUninit<f32>],
        mut product: impl FnMut(RowsOf<'_, T>, Panel<'_, T>, Place, &mut [MaybeUninit<f32>]),
    ) {
        let depth = rows.depth();
        for first_column in (0..self.n_out).step_by(COLUMNS) {
            let n_columns = (self.n_out - first_column).min(COLUMNS);
            let width = n_columns.next_multiple_of(LANES);
            let panel = Panel::new(&weight[first_column * depth..][..width * depth], width);
            for first_row in (0..rows.len()).step_by(ROWS) {
                let tile = rows.tile(first_row);
                let place = Place {
                    first_row,
                    n_rows: tile.len(),
                    first_column,
                    n_columns,
                    stride: self.n_out,
                };
                product(tile, panel, place, out);
            }
        }
    }
}

/// Where a tile stands in the output.
#[derive(Clone, Copy)]
struct Place {
    first_row: usize,
    n_rows: usize,
    first_column: usize,
    n_columns: usize,
    /// Elements from one row of the output to the next.
    stride: usize,
}

impl Place {
    fn row(&self, row: usize) -> std::ops::Range<usize> {
        let start = (self.first_row + row) * self.stride + self.first_column;
        start..start + self.n_columns
    }

    fn columns(&self) -> std::ops::Range<usize> {
        self.first_column..self.first_column + self.n_columns
    }
}

struct Scratch {
    sums: Tile<f32>,
    integers: Tile<i32>,
    words: Vec<u32>,
    bytes: Vec<u8>,
    scales: Vec<RowScale>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            sums: Tile([[0.0; COLUMNS]; ROWS]),
            integers: Tile([[0; COLUMNS]; ROWS]),
            words: Vec::new(),
            bytes: Vec::new(),
            scales: Vec::new(),
        }
    }
}

/// Adding 1.5 · 2²³ rounds to an integer, ties to even, and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

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

/// Two singles as bfloat16, rounded to nearest, ties to even.
#[inline(always)]
fn bf16_pair(low: f32, high: f32) -> Bf16Pair {
    let round = |x: f32| {
        let bits = x.to_bits();
        // Rounding would carry some of the values that are no numbers over to zero.
        if x.is_nan() { bits | 0x40_0000 } else { bits.wrapping_add(0x7fff + (bits >> 16 & 1)) }
    };
    round(low) >> 16 | round(high) & 0xffff_0000
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn bf16_row(x: &[f32], pairs: &mut [Bf16Pair]) {
    for (pair, x) in pairs.iter_mut().zip(x.chunks(2)) {
        *pair = bf16_pair(x[0], x.get(1).copied().unwrap_or(0.0));
    }
}

/// A row is `scale · (byte - zero)`.
#[derive(Clone, Copy)]
struct RowScale {
    scale: f32,
    zero: i32,
}

/// Writes a row as bytes between its least and largest value.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn quantise_row(x: &[f32], bytes: &mut Vec<u8>, quads: &mut [ByteQuad]) -> RowScale {
    // 0 is always among the values: then it is exact, and so is the filling at the end of a row.
    let (mut least, mut largest) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    // Stays 0 until something is not a finite number; then the row is none.
    let mut poison = [0.0_f32; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            let value = chunk[lane];
            least[lane] = if value < least[lane] { value } else { least[lane] };
            largest[lane] = if value > largest[lane] { value } else { largest[lane] };
            poison[lane] += value * 0.0;
        }
    }
    let rest = chunks.remainder().iter().copied();
    let poison = rest.clone().map(|value| value * 0.0).chain(poison).sum::<f32>();
    let least = rest.clone().chain(least).fold(0.0, f32::min);
    let largest = rest.chain(largest).fold(0.0, f32::max);
    let scale = ((largest - least) / 255.0).max(f32::MIN_POSITIVE);
    let inverse = 1.0 / scale;
    let zero = (ROUND - least * inverse) - ROUND;
    bytes.clear();
    bytes.extend(x.iter().map(|&value| {
        let shifted = (value * inverse + zero).clamp(0.0, 255.0) + ROUND;
        shifted.to_bits() as u8
    }));
    bytes.resize(quads.len() * 4, zero as u8);
    for (quad, bytes) in quads.iter_mut().zip(bytes.chunks_exact(4)) {
        *quad = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    RowScale { scale: scale + poison, zero: zero as i32 }
}

impl Int8 {
    fn new(weight: &[f32], n_in: usize, n_out: usize) -> Self {
        // A weight that is no number makes its column's scale none, and with it every result.
        let mut scales = vec![0.0_f32; n_out];
        for row in weight.chunks_exact(n_out) {
            for (scale, weight) in scales.iter_mut().zip(row) {
                let size = weight.abs();
                *scale = if *scale >= size { *scale } else { size + 0.0 * *scale };
            }
        }
        for scale in &mut scales {
            *scale = if *scale == 0.0 { f32::MIN_POSITIVE } else { *scale / 127.0 };
        }
        let mut bytes = Vec::with_capacity(weight.len());
        let mut sums = vec![0; n_out];
        for row in weight.chunks_exact(n_out) {
            for ((&weight, &scale), sum) in row.iter().zip(&scales).zip(&mut sums) {
                let byte = (weight / scale + ROUND).to_bits() as u8;
                *sum += i32::from(byte.cast_signed());
                bytes.push(byte);
            }
        }
        let quads = pack(n_in.div_ceil(4), n_out, |quad, output| {
            u32::from_le_bytes(std::array::from_fn(|i| {
                let input = 4 * quad + i;
                if input < n_in && output < n_out { bytes[input * n_out + output] } else { 0 }
            }))
        });
        Self { quads, scales, sums }
    }

    /// Integer sums into what they stand for.
    fn scale_tile(
        &self,
        integers: &Tile<i32>,
        place: Place,
        rows: &[RowScale],
        out: &mut Tile<f32>,
    ) {
        let (scales, sums) = (&self.scales[place.columns()], &self.sums[place.columns()]);
        for row in 0..place.n_rows {
            let scale = rows[place.first_row + row];
            scale_row(&integers.0[row], scale, scales, sums, &mut out.0[row]);
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn scale_row(integers: &[i32], row: RowScale, scales: &[f32], sums: &[i32], out: &mut [f32]) {
    for (((out, &integer), &scale), &sum) in out.iter_mut().zip(integers).zip(scales).zip(sums) {
        *out = integer.wrapping_sub(row.zero.wrapping_mul(sum)) as f32 * (row.scale * scale);
    }
}

/// Adds the bias, does what is to be done, and writes the tile to its place.
fn finish_tile(
    tile: &Tile<f32>,
    place: Place,
    bias: &[f32],
    finish: Finish<'_>,
    out: &mut [MaybeUninit<f32>],
) {
    let bias = &bias[place.columns()];
    for row in 0..place.n_rows {
        let sums = &tile.0[row][..place.n_columns];
        let out = &mut out[place.row(row)];
        match finish {
            Finish::Activate(Activation::Identity) => add_bias(sums, bias, out),
            Finish::Activate(Activation::Gelu) => gelu(sums, bias, out),
            Finish::Activate(Activation::GeluTanh) => gelu_tanh(sums, bias, out),
            Finish::Activate(Activation::Relu) => relu(sums, bias, out),
            Finish::Activate(Activation::Silu) => silu(sums, bias, out),
            Finish::Activate(Activation::Tanh) => tanh_of(sums, bias, out),
            Finish::Add(other) => add_both(sums, bias, &other[place.row(row)], out),
        }
    }
}

/// A function of every element after the bias, vectorised.
macro_rules! elementwise {
    ($name:ident, $x:ident, $value:expr) => {
        #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
        fn $name(sums: &[f32], bias: &[f32], out: &mut [MaybeUninit<f32>]) {
            for ((out, &sum), &bias) in out.iter_mut().zip(sums).zip(bias) {
                let $x = sum + bias;
                out.write($value);
            }
        }
    };
}

elementwise!(add_bias, x, x);
elementwise!(gelu, x, x * normal_cdf(x).0);
elementwise!(gelu_tanh, x, {
    const ROOT: f32 = 0.797_884_56; // sqrt(2 / π)
    0.5 * x * (1.0 + tanh(ROOT * (x + 0.044_715 * x * x * x)))
});
elementwise!(relu, x, if x < 0.0 { 0.0 } else { x });
elementwise!(silu, x, x * sigmoid(x));
elementwise!(tanh_of, x, tanh(x));

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_both(sums: &[f32], bias: &[f32], other: &[f32], out: &mut [MaybeUninit<f32>]) {
    for (((out, &sum), &bias), &other) in out.iter_mut().zip(sums).zip(bias).zip(other) {
        out.write(sum + bias + other);
    }
}
