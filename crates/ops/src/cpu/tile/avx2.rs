//! Products with AVX2 and FMA: sixteen registers hold six rows of sixteen columns at a time.

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadu_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castsi256_ps, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16, _mm256_fmadd_ps,
    _mm256_hadd_epi32, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_permute4x64_epi64, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_slli_epi32, _mm256_storeu_ps, _mm256_storeu_si256,
};

use super::{Bf16Pair, ByteQuad, Kernels, LANES, Panel, Product, ROWS, RowsOf, Tile};

/// Elements of one vector.
const HALF: usize = 8;

/// The kernels, if this machine has the instructions.
pub(super) fn kernels() -> Option<Kernels> {
    let detected = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    detected.then_some(Kernels {
        name: "avx2",
        f32: Product { rows: ROWS, tile: f32 },
        bf16: Product { rows: ROWS, tile: bf16 },
        bf16_row: super::portable::bf16_row,
        int8: Product { rows: ROWS, tile: int8 },
    })
}

macro_rules! by_rows {
    ($function:ident, $a:expr, $b:expr, $out:expr) => {{
        assert!($a.depth * $b.width <= $b.values.len(), "the panel is as deep as the rows");
        let last = ($a.n_rows.max(1) - 1) * $a.stride + $a.depth;
        assert!(last <= $a.values.len(), "rows are whole");
        // SAFETY: AVX2 and FMA were detected before this function could be chosen, and both
        // operands were just checked to be as large as the shape says.
        unsafe {
            match $a.n_rows {
                1 => $function::<1>($a, $b, $out),
                2 => $function::<2>($a, $b, $out),
                3 => $function::<3>($a, $b, $out),
                4 => $function::<4>($a, $b, $out),
                5 => $function::<5>($a, $b, $out),
                6 => $function::<6>($a, $b, $out),
                other => unreachable!("a tile of {other} rows"),
            }
        }
    }};
}

fn f32(a: RowsOf<'_, f32>, b: Panel<'_, f32>, out: &mut Tile<f32>) {
    by_rows!(f32_tile, a, b, out);
}

fn bf16(a: RowsOf<'_, Bf16Pair>, b: Panel<'_, Bf16Pair>, out: &mut Tile<f32>) {
    by_rows!(bf16_tile, a, b, out);
}

fn int8(a: RowsOf<'_, ByteQuad>, b: Panel<'_, ByteQuad>, out: &mut Tile<i32>) {
    by_rows!(int8_tile, a, b, out);
}

/// # Safety
/// `a` has `M` whole rows, and `b` is at least as deep as `a`.
#[target_feature(enable = "avx2,fma")]
unsafe fn f32_tile<const M: usize>(a: RowsOf<'_, f32>, b: Panel<'_, f32>, out: &mut Tile<f32>) {
    for first in (0..b.width).step_by(LANES) {
        let mut sums = [[_mm256_setzero_ps(); 2]; M];
        for p in 0..a.depth {
            // SAFETY: `p` is below the depth of both operands, and `first` leaves sixteen columns.
            unsafe {
                let column = b.values.as_ptr().add(p * b.width + first);
                let columns = [_mm256_loadu_ps(column), _mm256_loadu_ps(column.add(HALF))];
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = _mm256_set1_ps(*a.values.get_unchecked(m * a.stride + p));
                    sums[0] = _mm256_fmadd_ps(x, columns[0], sums[0]);
                    sums[1] = _mm256_fmadd_ps(x, columns[1], sums[1]);
                }
            }
        }
        store(&sums, first, out);
    }
}

/// A bfloat16 is the upper half of a single.
///
/// # Safety
/// As for [`f32_tile`].
#[target_feature(enable = "avx2,fma")]
unsafe fn bf16_tile<const M: usize>(
    a: RowsOf<'_, Bf16Pair>,
    b: Panel<'_, Bf16Pair>,
    out: &mut Tile<f32>,
) {
    let upper = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
    for first in (0..b.width).step_by(LANES) {
        let mut sums = [[_mm256_setzero_ps(); 2]; M];
        for p in 0..a.depth {
            for half in 0..2 {
                // SAFETY: `p` is below the depth of both operands, and `first` leaves sixteen columns.
                let pairs = unsafe {
                    let column = b.values.as_ptr().add(p * b.width + first + half * HALF);
                    _mm256_loadu_si256(column.cast())
                };
                let low = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs));
                let high = _mm256_castsi256_ps(_mm256_and_si256(pairs, upper));
                for (m, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: as above.
                    let x = unsafe { *a.values.get_unchecked(m * a.stride + p) };
                    let x_low = _mm256_set1_ps(f32::from_bits(x << 16));
                    let x_high = _mm256_set1_ps(f32::from_bits(x & 0xffff_0000));
                    sums[half] = _mm256_fmadd_ps(x_high, high, sums[half]);
                    sums[half] = _mm256_fmadd_ps(x_low, low, sums[half]);
                }
            }
        }
        store(&sums, first, out);
    }
}

/// Bytes are widened to 16 bits, since the byte products of AVX2 saturate.
///
/// # Safety
/// As for [`f32_tile`].
#[target_feature(enable = "avx2,fma")]
unsafe fn int8_tile<const M: usize>(
    a: RowsOf<'_, ByteQuad>,
    b: Panel<'_, ByteQuad>,
    out: &mut Tile<i32>,
) {
    for first in (0..b.width).step_by(HALF) {
        // Four columns a vector: two sums of two products for each.
        let mut sums = [[_mm256_setzero_si256(); 2]; M];
        for p in 0..a.depth {
            // SAFETY: `p` is below the depth of both operands, and `first` leaves eight columns.
            unsafe {
                let column = b.values.as_ptr().add(p * b.width + first);
                let columns = [
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(column.cast())),
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(column.add(4).cast())),
                ];
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = a.values.get_unchecked(m * a.stride + p).cast_signed();
                    let x = _mm256_cvtepu8_epi16(_mm_set1_epi32(x));
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, column));
                    }
                }
            }
        }
        for (row, [low, high]) in out.0.iter_mut().zip(sums) {
            // Adding neighbours leaves columns 0 1 4 5 2 3 6 7.
            let sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(low, high));
            let place: &mut [i32] = &mut row[first..first + HALF];
            // SAFETY: the place holds one vector.
            unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast::<__m256i>(), sum) }
        }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store<const M: usize>(sums: &[[__m256; 2]; M], first: usize, out: &mut Tile<f32>) {
    for (row, sums) in out.0.iter_mut().zip(sums) {
        for (lanes, &sum) in row[first..first + LANES].chunks_exact_mut(HALF).zip(sums) {
            // SAFETY: a chunk holds one vector.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) }
        }
    }
}
