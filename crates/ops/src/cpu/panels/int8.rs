//! 8-bit integers: weights with one scale per column, rows with one range each, sums that are exact.

use multiversion::multiversion;

use super::finish::Place;
use super::{pack, words};
use crate::cpu::tile::{ByteQuad, LANES, Tile};

/// Adding 1.5 · 2²³ rounds to an integer, ties to even, and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// A column is `scale` times its bytes. The sum of a column's bytes undoes the zero point of the rows.
#[derive(Debug)]
pub(super) struct Int8 {
    pub(super) quads: Vec<ByteQuad>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

/// A row is `scale · (byte - zero)`.
#[derive(Clone, Copy)]
pub(super) struct RowScale {
    scale: f32,
    zero: i32,
}

/// Writes a row as bytes between its least and largest value.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn quantise_row(x: &[f32], bytes: &mut Vec<u8>, quads: &mut [ByteQuad]) -> RowScale {
    // 0 is always among the values: then it is exact, and so is the filling at the end of a row.
    let least = folded(x, |least, value| if value < least { value } else { least });
    let largest = folded(x, |largest, value| if value > largest { value } else { largest });
    // Stays 0 until something is not a finite number; then the row is none.
    let poison = folded(x, |poison, value| poison + value * 0.0);
    let scale = ((largest - least) / 255.0).max(f32::MIN_POSITIVE);
    let inverse = 1.0 / scale;
    let zero = (ROUND - least * inverse) - ROUND;
    // Written in place: what a method of `Vec` does with a closure is not compiled for these targets.
    bytes.resize(quads.len() * 4, 0);
    let (row, filling) = bytes.split_at_mut(x.len());
    for (byte, &value) in row.iter_mut().zip(x) {
        let shifted = (value * inverse + zero).clamp(0.0, 255.0) + ROUND;
        *byte = shifted.to_bits() as u8;
    }
    filling.fill(zero as u8);
    for (quad, bytes) in quads.iter_mut().zip(bytes.chunks_exact(4)) {
        *quad = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    RowScale { scale: scale + poison, zero: zero as i32 }
}

/// All values and a 0, by a function that may take them in any order. One at a time: the compiler does
/// not keep the lanes of several in vectors.
#[inline(always)]
fn folded(x: &[f32], function: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = function(*lane, value);
        }
    }
    chunks.remainder().iter().chain(&lanes).fold(0.0, |all, &value| function(all, value))
}

impl Int8 {
    pub(super) fn new(weight: &[f32], n_in: usize, n_out: usize) -> Self {
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
        let quads = pack(words(n_in, 4), n_out, |quad, output| {
            u32::from_le_bytes(std::array::from_fn(|i| {
                let input = 4 * quad + i;
                if input < n_in && output < n_out { bytes[input * n_out + output] } else { 0 }
            }))
        });
        Self { quads, scales, sums }
    }

    /// Integer sums into what they stand for.
    pub(super) fn scale_tile(
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

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn scale_row(integers: &[i32], row: RowScale, scales: &[f32], sums: &[i32], out: &mut [f32]) {
    for (((out, &integer), &scale), &sum) in out.iter_mut().zip(integers).zip(scales).zip(sums) {
        *out = integer.wrapping_sub(row.zero.wrapping_mul(sum)) as f32 * (row.scale * scale);
    }
}
