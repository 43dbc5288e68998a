//! Products with NEON: thirty-two registers hold six rows of sixteen columns at a time.

use std::arch::aarch64::{
    float32x4_t, vaddq_s32, vandq_u32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u32, vfmaq_f32,
    vfmaq_n_f32, vget_high_s16, vget_low_s8, vget_low_s16, vget_low_u8, vld1q_f32, vld1q_s8,
    vld1q_u32, vmovl_high_s8, vmovl_s8, vmovl_u8, vmull_s16, vpaddq_s32, vreinterpretq_f32_u32,
    vreinterpretq_s16_u16, vreinterpretq_u8_u32, vshlq_n_u32, vst1q_f32, vst1q_s32,
};

use super::{Bf16Pair, ByteQuad, Kernels, LANES, Panel, Product, ROWS, RowsOf, Tile};

/// Elements of one vector.
const QUARTER: usize = 4;

/// The kernels, if this machine has the instructions.
pub(super) fn kernels() -> Option<Kernels> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(Kernels {
        name: "neon",
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
        // SAFETY: NEON was detected before this function could be chosen, and both operands were just
        // checked to be as large as the shape says.
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
#[target_feature(enable = "neon")]
unsafe fn f32_tile<const M: usize>(a: RowsOf<'_, f32>, b: Panel<'_, f32>, out: &mut Tile<f32>) {
    for first in (0..b.width).step_by(LANES) {
        let mut sums = [[vdupq_n_f32(0.0); 4]; M];
        for p in 0..a.depth {
            // SAFETY: `p` is below the depth of both operands, and `first` leaves sixteen columns.
            unsafe {
                let column = b.values.as_ptr().add(p * b.width + first);
                let columns = [
                    vld1q_f32(column),
                    vld1q_f32(column.add(4)),
                    vld1q_f32(column.add(8)),
                    vld1q_f32(column.add(12)),
                ];
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = *a.values.get_unchecked(m * a.stride + p);
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = vfmaq_n_f32(*sum, column, x);
                    }
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
#[target_feature(enable = "neon")]
unsafe fn bf16_tile<const M: usize>(
    a: RowsOf<'_, Bf16Pair>,
    b: Panel<'_, Bf16Pair>,
    out: &mut Tile<f32>,
) {
    let upper = vdupq_n_u32(0xffff_0000);
    for first in (0..b.width).step_by(LANES) {
        let mut sums = [[vdupq_n_f32(0.0); 4]; M];
        for p in 0..a.depth {
            for quarter in 0..4 {
                // SAFETY: `p` is below the depth of both operands, and `first` leaves sixteen columns.
                let pairs = unsafe {
                    let column = b.values.as_ptr().add(p * b.width + first);
                    vld1q_u32(column.add(quarter * QUARTER))
                };
                let low = vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs));
                let high = vreinterpretq_f32_u32(vandq_u32(pairs, upper));
                for (m, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: as above.
                    let x = unsafe { *a.values.get_unchecked(m * a.stride + p) };
                    let x_low = vdupq_n_f32(f32::from_bits(x << 16));
                    let x_high = vdupq_n_f32(f32::from_bits(x & 0xffff_0000));
                    sums[quarter] = vfmaq_f32(sums[quarter], x_high, high);
                    sums[quarter] = vfmaq_f32(sums[quarter], x_low, low);
                }
            }
        }
        store(&sums, first, out);
    }
}

/// Bytes are widened to 16 bits, which every machine with NEON can multiply.
///
/// # Safety
/// As for [`f32_tile`].
#[target_feature(enable = "neon")]
unsafe fn int8_tile<const M: usize>(
    a: RowsOf<'_, ByteQuad>,
    b: Panel<'_, ByteQuad>,
    out: &mut Tile<i32>,
) {
    for first in (0..b.width).step_by(QUARTER) {
        let mut sums = [vdupq_n_s32(0); M];
        for p in 0..a.depth {
            // SAFETY: `p` is below the depth of both operands, and `first` leaves four columns.
            unsafe {
                let column = vld1q_s8(b.values.as_ptr().add(p * b.width + first).cast());
                // Columns 0 and 1, then 2 and 3: four elements each.
                let columns = [vmovl_s8(vget_low_s8(column)), vmovl_high_s8(column)];
                for (m, sum) in sums.iter_mut().enumerate() {
                    let x = vdupq_n_u32(*a.values.get_unchecked(m * a.stride + p));
                    let x = vget_low_u8(vreinterpretq_u8_u32(x));
                    let x = vget_low_s16(vreinterpretq_s16_u16(vmovl_u8(x)));
                    let pairs = columns.map(|column| {
                        let first = vmull_s16(x, vget_low_s16(column));
                        vpaddq_s32(first, vmull_s16(x, vget_high_s16(column)))
                    });
                    *sum = vaddq_s32(*sum, vpaddq_s32(pairs[0], pairs[1]));
                }
            }
        }
        for (row, sum) in out.0.iter_mut().zip(sums) {
            let place: &mut [i32] = &mut row[first..first + QUARTER];
            // SAFETY: the place holds one vector.
            unsafe { vst1q_s32(place.as_mut_ptr(), sum) }
        }
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn store<const M: usize>(sums: &[[float32x4_t; 4]; M], first: usize, out: &mut Tile<f32>) {
    for (row, sums) in out.0.iter_mut().zip(sums) {
        for (lanes, &sum) in row[first..first + LANES].chunks_exact_mut(QUARTER).zip(sums) {
            // SAFETY: a chunk holds one vector.
            unsafe { vst1q_f32(lanes.as_mut_ptr(), sum) }
        }
    }
}
