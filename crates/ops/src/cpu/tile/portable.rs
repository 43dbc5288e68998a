//! Products in plain Rust, for every machine: what the other kernels are tested against.

use multiversion::multiversion;

use super::{Bf16Pair, ByteQuad, COLUMNS, Kernels, Panel, Product, ROWS, RowsOf, Tile};

pub(super) const KERNELS: Kernels = Kernels {
    name: "portable",
    f32: Product { rows: ROWS, tile: f32 },
    bf16: Product { rows: ROWS, tile: bf16 },
    bf16_row,
    int8: Product { rows: ROWS, tile: int8 },
};

/// Two singles as bfloat16, rounded to nearest, ties to even.
#[inline(always)]
pub(in crate::cpu) fn bf16_pair(low: f32, high: f32) -> Bf16Pair {
    let round = |x: f32| {
        let bits = x.to_bits();
        // Rounding would carry some of the values that are no numbers over to zero.
        if x.is_nan() { bits | 0x40_0000 } else { bits.wrapping_add(0x7fff + (bits >> 16 & 1)) }
    };
    round(low) >> 16 | round(high) & 0xffff_0000
}

/// A row of singles into pairs, and zeros after them.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn bf16_row(x: &[f32], pairs: &mut [Bf16Pair]) {
    let (own, rest) = pairs.split_at_mut(x.len().div_ceil(2));
    for (pair, x) in own.iter_mut().zip(x.chunks(2)) {
        *pair = bf16_pair(x[0], x.get(1).copied().unwrap_or(0.0));
    }
    rest.fill(0);
}

fn f32(a: RowsOf<'_, f32>, b: Panel<'_, f32>, out: &mut Tile<f32>) {
    product(a, b, out, |sum, a, b| sum + a * b);
}

fn bf16(a: RowsOf<'_, Bf16Pair>, b: Panel<'_, Bf16Pair>, out: &mut Tile<f32>) {
    let low = |pair: Bf16Pair| f32::from_bits(pair << 16);
    let high = |pair: Bf16Pair| f32::from_bits(pair & 0xffff_0000);
    product(a, b, out, |sum, a, b| sum + high(a) * high(b) + low(a) * low(b));
}

fn int8(a: RowsOf<'_, ByteQuad>, b: Panel<'_, ByteQuad>, out: &mut Tile<i32>) {
    product(a, b, out, |sum: i32, a, b| {
        let bytes = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        bytes.fold(sum, |sum, (a, b)| sum + i32::from(a) * i32::from(b.cast_signed()))
    });
}

#[inline(always)]
fn product<T: Copy, S: Copy + Default>(
    a: RowsOf<'_, T>,
    b: Panel<'_, T>,
    out: &mut Tile<S>,
    add: impl Fn(S, T, T) -> S,
) {
    for row in 0..a.n_rows {
        let a = &a.values[row * a.stride..][..a.depth];
        let mut sums = [S::default(); COLUMNS];
        for (&a, b) in a.iter().zip(b.values.chunks_exact(b.width)) {
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum = add(*sum, a, b);
            }
        }
        out.0[row] = sums;
    }
}
