//! The innermost product: a few rows times one panel of columns, by the best instructions of this machine.
//!
//! Every output is one chain of multiply-adds in the order of the inner dimension, whatever the
//! number of rows in the tile: a row's result does not depend on the rows that it shares a batch with.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::sync::OnceLock;

pub(super) use portable::bf16_pair;

/// Rows that vector registers hold: six times four vectors of sums leave some for the operands.
pub(super) const ROWS: usize = 6;

/// Rows of the largest tile.
pub(super) const MAX_ROWS: usize = 32;

/// Rows of pairs and quads are filled up with zeros to a multiple of this, and followed by as many
/// rows as make a tile of [`MAX_ROWS`] whole; panels are as deep.
pub(super) const DEPTH: usize = 16;

/// Columns of a panel, at most; the last panel of a matrix may be narrower.
pub(super) const COLUMNS: usize = 64;

/// Panels are filled up with zeros to a multiple of this.
pub(super) const LANES: usize = 16;

/// Sums of a tile. Rows and columns beyond those of the product mean nothing.
#[repr(align(64))]
#[derive(Clone)]
pub(super) struct Tile<T>(pub(super) [[T; COLUMNS]; MAX_ROWS]);

impl<T: Copy + Default> Default for Tile<T> {
    fn default() -> Self {
        Self([[T::default(); COLUMNS]; MAX_ROWS])
    }
}

/// Rows that start `stride` elements apart, of which the first `depth` count.
#[derive(Clone, Copy)]
pub(super) struct RowsOf<'a, T> {
    values: &'a [T],
    stride: usize,
    depth: usize,
    n_rows: usize,
}

impl<'a, T> RowsOf<'a, T> {
    /// # Panics
    /// When the last row ends after the slice.
    pub(super) fn new(values: &'a [T], n_rows: usize, depth: usize, stride: usize) -> Self {
        assert!(n_rows == 0 || (n_rows - 1) * stride + depth <= values.len(), "rows are whole");
        Self { values, stride, depth, n_rows }
    }

    pub(super) fn len(&self) -> usize {
        self.n_rows
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The rows from `first` on, at most `most`.
    pub(super) fn tile(&self, first: usize, most: usize) -> Self {
        let n_rows = (self.n_rows - first).min(most);
        Self::new(&self.values[first * self.stride..], n_rows, self.depth, self.stride)
    }
}

/// One panel: for every inner element a run of `width` columns.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a, T> {
    values: &'a [T],
    width: usize,
}

impl<'a, T> Panel<'a, T> {
    /// # Panics
    /// When the width is not one to four vectors.
    pub(super) fn new(values: &'a [T], width: usize) -> Self {
        assert!(width.is_multiple_of(LANES) && (1..=COLUMNS).contains(&width), "whole vectors");
        Self { values, width }
    }
}

/// Two neighbouring inner elements as bfloat16, the first in the low half.
pub(super) type Bf16Pair = u32;

/// Four neighbouring inner elements of the left side (unsigned) in one word, the first lowest.
pub(super) type ByteQuad = u32;

/// A product of a few rows and a panel.
pub(super) struct Product<T, S> {
    /// How many rows it takes, at most.
    pub(super) rows: usize,
    /// Writes the sums.
    pub(super) tile: fn(RowsOf<'_, T>, Panel<'_, T>, &mut Tile<S>),
}

impl<T, S> Clone for Product<T, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, S> Copy for Product<T, S> {}

/// The products that a machine offers.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// What they are made of.
    pub(super) name: &'static str,
    /// Single precision.
    pub(super) f32: Product<f32, f32>,
    /// bfloat16 pairs into single precision.
    pub(super) bf16: Product<Bf16Pair, f32>,
    /// A row of singles into pairs, and zeros after them.
    pub(super) bf16_row: fn(&[f32], &mut [Bf16Pair]),
    /// Unsigned times signed bytes, in fours, into 32-bit integers.
    pub(super) int8: Product<ByteQuad, i32>,
}

/// The best kernels for this machine, chosen once.
pub(super) fn kernels() -> &'static Kernels {
    static CHOICE: OnceLock<Kernels> = OnceLock::new();
    CHOICE.get_or_init(|| *available().last().expect("the portable kernels run everywhere"))
}

/// All kernels that this machine can run, the slowest first.
fn available() -> Vec<Kernels> {
    let mut all = vec![portable::KERNELS];
    #[cfg(target_arch = "x86_64")]
    {
        all.extend(avx2::kernels());
        all.extend(avx512::kernels());
        all.extend(amx::kernels());
    }
    #[cfg(target_arch = "aarch64")]
    all.extend(neon::kernels());
    all
}

/// Calls a generic kernel with the number of rows and vectors as constants.
#[cfg(target_arch = "x86_64")]
macro_rules! by_shape {
    ($function:ident, $n_rows:expr, $n_vectors:expr, $arguments:tt) => {
        by_shape!(@rows $function, $n_rows, $n_vectors, $arguments, 1 2 3 4 5 6)
    };
    (@rows $function:ident, $n_rows:expr, $n_vectors:expr, $arguments:tt, $($m:literal)*) => {
        match ($n_rows, $n_vectors) {
            $(
                ($m, 1) => $function::<$m, 1> $arguments,
                ($m, 2) => $function::<$m, 2> $arguments,
                ($m, 3) => $function::<$m, 3> $arguments,
                ($m, 4) => $function::<$m, 4> $arguments,
            )*
            other => unreachable!("a tile of {other:?} rows and vectors"),
        }
    };
}
#[cfg(target_arch = "x86_64")]
use by_shape;

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: u32) -> Vec<u32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
        (0..n)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state
            })
            .collect()
    }

    fn floats(n: usize, seed: u32) -> Vec<f32> {
        values(n, seed).into_iter().map(|v| v as f32 / u32::MAX as f32 * 2.0 - 1.0).collect()
    }

    /// The kernels of this machine, and those whose instructions can be played.
    fn all() -> Vec<Kernels> {
        #[cfg(target_arch = "x86_64")]
        let played = Some(amx::tests::PLAYED);
        #[cfg(not(target_arch = "x86_64"))]
        let played = None;
        available().into_iter().chain(played).collect()
    }

    #[test]
    fn rows_become_the_same_pairs_everywhere() {
        let mut x = floats(77, 3);
        (x[5], x[40], x[76]) = (1.0 + 0.5_f32.powi(8), -f32::INFINITY, f32::NAN);
        let mut expected = vec![7; 48];
        (portable::KERNELS.bf16_row)(&x, &mut expected);
        assert_eq!(expected[39..], [0; 9]);
        for kernels in all() {
            let mut found = vec![7; 48];
            (kernels.bf16_row)(&x, &mut found);
            assert_eq!(found, expected, "{}", kernels.name);
        }
    }

    /// Compares a product with the portable one for every number of rows and vectors, on rows that
    /// are followed by others as a real matrix's are.
    fn compare<T: Copy, S: Copy + Default + Into<f64>>(
        (name, product, portable): (&str, Product<T, S>, Product<T, S>),
        depths: &[usize],
        values: impl Fn(usize, u32) -> Vec<T>,
        tolerance: f64,
    ) {
        // An interpreter that checks every access has time for the corners.
        let (depths, rows) = match cfg!(miri) {
            true => (&depths[..1], vec![1, product.rows]),
            false => (depths, (1..=product.rows).collect()),
        };
        for &depth in depths {
            let stride = depth + 3;
            let a = values(MAX_ROWS * stride, 1);
            for &n_rows in &rows {
                for width in [LANES, 2 * LANES, 3 * LANES, 4 * LANES] {
                    let b = values(depth * width, 2);
                    let (rows, panel) =
                        (RowsOf::new(&a, n_rows, depth, stride), Panel::new(&b, width));
                    let mut found = Tile::default();
                    (product.tile)(rows, panel, &mut found);
                    let mut expected = Tile::default();
                    for first in (0..n_rows).step_by(portable.rows) {
                        let mut tile = Tile::default();
                        (portable.tile)(rows.tile(first, portable.rows), panel, &mut tile);
                        let n = (n_rows - first).min(portable.rows);
                        expected.0[first..first + n].copy_from_slice(&tile.0[..n]);
                    }
                    for row in 0..n_rows {
                        for column in 0..width {
                            let (a, b) = (found.0[row][column], expected.0[row][column]);
                            let (a, b): (f64, f64) = (a.into(), b.into());
                            assert!(
                                (a - b).abs() <= tolerance,
                                "{name}, {n_rows} x {depth} x {width}, {row}, {column}: {a}, {b}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn all_kernels_agree_with_the_portable_ones() {
        let pairs = |n, seed| -> Vec<Bf16Pair> {
            let halves = |v: f32| v.to_bits() >> 16;
            let (low, high) = (floats(n, seed), floats(n, seed + 10));
            low.into_iter().zip(high).map(|(l, h)| halves(l) | halves(h) << 16).collect()
        };
        for kernels in all() {
            let (name, plain) = (kernels.name, portable::KERNELS);
            compare((name, kernels.f32, plain.f32), &[1, 2, 31, 96], floats, 1e-5);
            compare((name, kernels.bf16, plain.bf16), &[DEPTH, 6 * DEPTH], pairs, 4e-5);
            compare((name, kernels.int8, plain.int8), &[DEPTH, 6 * DEPTH], values, 0.0);
        }
    }

    #[test]
    fn a_row_is_the_same_in_any_tile() {
        let (depth, width) = (77, 64);
        let (a, b) = (floats(ROWS * depth, 1), floats(depth * width, 2));
        for kernels in all() {
            let mut full = Tile::default();
            let rows = RowsOf::new(&a, ROWS, depth, depth);
            (kernels.f32.tile)(rows, Panel::new(&b, width), &mut full);
            for row in 0..ROWS {
                let mut one = Tile::default();
                let rows = RowsOf::new(&a[row * depth..], 1, depth, depth);
                (kernels.f32.tile)(rows, Panel::new(&b, width), &mut one);
                assert_eq!(one.0[0], full.0[row], "{}", kernels.name);
            }
        }
    }

    #[test]
    fn portable_products_are_those_of_the_definition() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], floats(2 * 16, 1));
        let mut tile = Tile::default();
        (portable::KERNELS.f32.tile)(RowsOf::new(&a, 2, 2, 2), Panel::new(&b, 16), &mut tile);
        for column in 0..16 {
            assert_eq!(tile.0[0][column], b[column] + 2.0 * b[16 + column]);
            assert_eq!(tile.0[1][column], 3.0 * b[column] + 4.0 * b[16 + column]);
        }
        // 255 · -1 + 1 · 2 + 0 · 3 + 2 · -128
        let (a, b) = (u32::from_le_bytes([255, 1, 0, 2]), u32::from_le_bytes([0xff, 2, 3, 0x80]));
        let mut tile = Tile::default();
        (portable::KERNELS.int8.tile)(
            RowsOf::new(&[a], 1, 1, 1),
            Panel::new(&[b; 16], 16),
            &mut tile,
        );
        assert_eq!(tile.0[0][..16], [-255 + 2 - 256; 16]);
    }
}
