//! Products with AVX-512, and with its bfloat16 and integer extensions where the machine has them.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_and_si512, _mm512_castsi512_ps, _mm512_cvtne2ps_pbh,
    _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi32,
    _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::{Bf16Pair, ByteQuad, Kernels, LANES, Panel, Product, ROWS, RowsOf, Tile, by_shape};

/// The kernels that this machine has the instructions for.
pub(super) fn kernels() -> Option<Kernels> {
    if !is_x86_feature_detected!("avx512f") {
        return None;
    }
    let has_bf16 = is_x86_feature_detected!("avx512bf16");
    let has_vnni = is_x86_feature_detected!("avx512vnni");
    Some(Kernels {
        name: match (has_bf16, has_vnni) {
            (false, false) => "avx512",
            (false, true) => "avx512+vnni",
            (true, false) => "avx512+bf16",
            (true, true) => "avx512+bf16+vnni",
        },
        f32: Product { rows: ROWS, tile: f32 },
        bf16: Product { rows: ROWS, tile: if has_bf16 { bf16 } else { widened_bf16 } },
        bf16_row: if has_bf16 { bf16_row } else { super::portable::bf16_row },
        int8: if has_vnni {
            Product { rows: ROWS, tile: int8 }
        } else {
            super::avx2::kernels()?.int8
        },
    })
}

/// How many vectors a panel is wide, after checking that panel and rows are as deep as each other.
fn vectors<T, U>(a: RowsOf<'_, T>, b: Panel<'_, U>) -> usize {
    assert!(a.depth * b.width <= b.values.len(), "the panel is as deep as the rows");
    assert!(
        a.n_rows > 0 && (a.n_rows - 1) * a.stride + a.depth <= a.values.len(),
        "rows are whole"
    );
    b.width / LANES
}

fn f32(a: RowsOf<'_, f32>, b: Panel<'_, f32>, out: &mut Tile<f32>) {
    let n_vectors = vectors(a, b);
    // SAFETY: AVX-512 was detected before this function could be chosen, and both operands were
    // checked to be as large as the shape says.
    unsafe { by_shape!(f32_tile, a.n_rows, n_vectors, (a, b, out)) }
}

fn bf16(a: RowsOf<'_, Bf16Pair>, b: Panel<'_, Bf16Pair>, out: &mut Tile<f32>) {
    let n_vectors = vectors(a, b);
    // SAFETY: as for `f32`; bfloat16 was detected too.
    unsafe { by_shape!(bf16_tile, a.n_rows, n_vectors, (a, b, out)) }
}

fn widened_bf16(a: RowsOf<'_, Bf16Pair>, b: Panel<'_, Bf16Pair>, out: &mut Tile<f32>) {
    let n_vectors = vectors(a, b);
    // SAFETY: as for `f32`.
    unsafe { by_shape!(widened_bf16_tile, a.n_rows, n_vectors, (a, b, out)) }
}

fn int8(a: RowsOf<'_, ByteQuad>, b: Panel<'_, ByteQuad>, out: &mut Tile<i32>) {
    let n_vectors = vectors(a, b);
    // SAFETY: as for `f32`; the integer products were detected too.
    unsafe { by_shape!(int8_tile, a.n_rows, n_vectors, (a, b, out)) }
}

fn bf16_row(x: &[f32], pairs: &mut [Bf16Pair]) {
    let n_whole = x.len() / (2 * LANES) * LANES;
    let (whole, rest) = pairs.split_at_mut(n_whole);
    super::portable::bf16_row(&x[2 * n_whole..], rest);
    // SAFETY: AVX-512 and bfloat16 were detected before this function could be chosen, and there are two
    // singles for every pair.
    unsafe { whole_pairs(&x[..2 * n_whole], whole) }
}

/// # Safety
/// `pairs` are whole vectors, and `x` has two singles for each.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn whole_pairs(x: &[f32], pairs: &mut [Bf16Pair]) {
    for (x, pairs) in x.chunks_exact(2 * LANES).zip(pairs.chunks_exact_mut(LANES)) {
        // SAFETY: `x` has two vectors, `pairs` one.
        unsafe {
            let first = _mm512_loadu_ps(x.as_ptr());
            let second = _mm512_loadu_ps(x.as_ptr().add(LANES));
            let both = _mm512_cvtne2ps_pbh(second, first);
            let both = std::mem::transmute::<__m512bh, __m512i>(both);
            _mm512_storeu_si512(pairs.as_mut_ptr().cast(), both);
        }
    }
}

/// # Safety
/// `a` has `M` whole rows, `b` is `V` vectors wide and at least as deep as `a`.
#[target_feature(enable = "avx512f")]
unsafe fn f32_tile<const M: usize, const V: usize>(
    a: RowsOf<'_, f32>,
    b: Panel<'_, f32>,
    out: &mut Tile<f32>,
) {
    let mut sums = [[_mm512_setzero_ps(); V]; M];
    for p in 0..a.depth {
        // SAFETY: `p` is below the depth of both operands.
        unsafe {
            let mut columns = [_mm512_setzero_ps(); V];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_ps(b.values.as_ptr().add((p * V + v) * LANES));
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*a.values.get_unchecked(m * a.stride + p));
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_fmadd_ps(x, column, *sum);
                }
            }
        }
    }
    store(&sums, out);
}

/// # Safety
/// As for [`f32_tile`].
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn bf16_tile<const M: usize, const V: usize>(
    a: RowsOf<'_, Bf16Pair>,
    b: Panel<'_, Bf16Pair>,
    out: &mut Tile<f32>,
) {
    let mut sums = [[_mm512_setzero_ps(); V]; M];
    for p in 0..a.depth {
        // SAFETY: `p` is below the depth of both operands; a vector of integers holds any bits.
        unsafe {
            let mut columns = [_mm512_setzero_si512(); V];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_si512(b.values.as_ptr().add((p * V + v) * LANES).cast());
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(a.values.get_unchecked(m * a.stride + p).cast_signed());
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_dpbf16_ps(
                        *sum,
                        std::mem::transmute::<__m512i, __m512bh>(x),
                        std::mem::transmute::<__m512i, __m512bh>(column),
                    );
                }
            }
        }
    }
    store(&sums, out);
}

/// For machines without bfloat16 products: a bfloat16 is the upper half of a single.
///
/// # Safety
/// As for [`f32_tile`].
#[target_feature(enable = "avx512f")]
unsafe fn widened_bf16_tile<const M: usize, const V: usize>(
    a: RowsOf<'_, Bf16Pair>,
    b: Panel<'_, Bf16Pair>,
    out: &mut Tile<f32>,
) {
    let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
    let mut sums = [[_mm512_setzero_ps(); V]; M];
    for p in 0..a.depth {
        for v in 0..V {
            // SAFETY: `p` is below the depth of both operands.
            let pairs =
                unsafe { _mm512_loadu_si512(b.values.as_ptr().add((p * V + v) * LANES).cast()) };
            let low = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs));
            let high = _mm512_castsi512_ps(_mm512_and_si512(pairs, upper));
            for (m, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let x = unsafe { *a.values.get_unchecked(m * a.stride + p) };
                let (x_low, x_high) = (f32::from_bits(x << 16), f32::from_bits(x & 0xffff_0000));
                sums[v] = _mm512_fmadd_ps(_mm512_set1_ps(x_high), high, sums[v]);
                sums[v] = _mm512_fmadd_ps(_mm512_set1_ps(x_low), low, sums[v]);
            }
        }
    }
    store(&sums, out);
}

/// # Safety
/// As for [`f32_tile`].
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn int8_tile<const M: usize, const V: usize>(
    a: RowsOf<'_, ByteQuad>,
    b: Panel<'_, ByteQuad>,
    out: &mut Tile<i32>,
) {
    let mut sums = [[_mm512_setzero_si512(); V]; M];
    for p in 0..a.depth {
        // SAFETY: `p` is below the depth of both operands.
        unsafe {
            let mut columns = [_mm512_setzero_si512(); V];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_si512(b.values.as_ptr().add((p * V + v) * LANES).cast());
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(a.values.get_unchecked(m * a.stride + p).cast_signed());
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_dpbusd_epi32(*sum, x, column);
                }
            }
        }
    }
    for (row, sums) in out.0.iter_mut().zip(&sums) {
        for (lanes, &sum) in row.chunks_exact_mut(LANES).zip(sums) {
            // SAFETY: a chunk holds one vector.
            unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sum) }
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store<const M: usize, const V: usize>(sums: &[[__m512; V]; M], out: &mut Tile<f32>) {
    for (row, sums) in out.0.iter_mut().zip(sums) {
        for (lanes, &sum) in row.chunks_exact_mut(LANES).zip(sums) {
            // SAFETY: a chunk holds one vector.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sum) }
        }
    }
}
