//! What becomes of a tile of sums: the bias, an activation or another matrix, and its place in the output.

use std::mem::MaybeUninit;

use multiversion::multiversion;

use crate::Gate;
use crate::cpu::scalar::{normal_cdf, sigmoid, tanh};
use crate::cpu::tile::Tile;
use crate::packed::Activation;

/// What happens to a product before it is stored.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    /// A function of every element.
    Activate(Activation),
    /// The sum with another matrix of the same shape.
    Add(&'a [f32]),
    /// The second half of the columns times a function of the first: half as many columns. Panels of the
    /// first half come before those of the second that stand in the same place.
    Gate(Gate),
}

/// Where a tile stands in the output.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) first_row: usize,
    pub(super) n_rows: usize,
    /// Which of the map's outputs.
    pub(super) first_column: usize,
    pub(super) n_columns: usize,
    /// Elements from one row of the output to the next.
    pub(super) stride: usize,
}

impl Place {
    fn row(&self, row: usize) -> std::ops::Range<usize> {
        // The second half of a gated map stands where the first does.
        let column = self.first_column % self.stride;
        let start = (self.first_row + row) * self.stride + column;
        start..start + self.n_columns
    }

    /// Whether a gated map's first half is here.
    fn gates(&self) -> bool {
        self.first_column < self.stride
    }

    pub(super) fn columns(&self) -> std::ops::Range<usize> {
        self.first_column..self.first_column + self.n_columns
    }
}

/// Adds the bias, does what is to be done, and writes the tile to its place.
pub(super) fn finish_tile(
    tile: &Tile<f32>,
    place: Place,
    bias: &[f32],
    finish: Finish<'_>,
    out: &mut [MaybeUninit<f32>],
) {
    let bias = &bias[place.columns()];
    match finish {
        Finish::Activate(Activation::Identity) => add_bias(tile, place, bias, out),
        Finish::Activate(Activation::Gelu) => gelu(tile, place, bias, out),
        Finish::Activate(Activation::GeluTanh) => gelu_tanh(tile, place, bias, out),
        Finish::Activate(Activation::Relu) => relu(tile, place, bias, out),
        Finish::Activate(Activation::Silu) => silu(tile, place, bias, out),
        Finish::Activate(Activation::Tanh) => tanh_of(tile, place, bias, out),
        Finish::Add(other) => add_both(tile, place, bias, other, out),
        Finish::Gate(_) if !place.gates() => {
            // SAFETY: the panel of the first half that stands here was finished before this one, and
            // wrote all of its rows.
            unsafe { multiply_in_place(tile, place, bias, out) }
        }
        Finish::Gate(Gate::Gelu) => gelu(tile, place, bias, out),
        Finish::Gate(Gate::GeluTanh) => gelu_tanh(tile, place, bias, out),
        Finish::Gate(Gate::Silu) => silu(tile, place, bias, out),
    }
}

/// A function of every element after the bias, vectorised.
macro_rules! elementwise {
    ($name:ident, $x:ident, $value:expr) => {
        #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
        fn $name(tile: &Tile<f32>, place: Place, bias: &[f32], out: &mut [MaybeUninit<f32>]) {
            for (row, sums) in tile.0[..place.n_rows].iter().enumerate() {
                let out = &mut out[place.row(row)];
                for ((out, &sum), &bias) in out.iter_mut().zip(sums).zip(bias) {
                    let $x = sum + bias;
                    out.write($value);
                }
            }
        }
    };
}

elementwise!(add_bias, x, x);
elementwise!(gelu, x, x * normal_cdf(x).0);
elementwise!(gelu_tanh, x, {
    const ROOT: f32 = 0.797_884_6; // sqrt(2 / π)
    0.5 * x * (1.0 + tanh(ROOT * (x + 0.044_715 * x * x * x)))
});
elementwise!(relu, x, if x < 0.0 { 0.0 } else { x });
elementwise!(silu, x, x * sigmoid(x));
elementwise!(tanh_of, x, tanh(x));

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn add_both(
    tile: &Tile<f32>,
    place: Place,
    bias: &[f32],
    other: &[f32],
    out: &mut [MaybeUninit<f32>],
) {
    for (row, sums) in tile.0[..place.n_rows].iter().enumerate() {
        let (other, out) = (&other[place.row(row)], &mut out[place.row(row)]);
        for (((out, &sum), &bias), &other) in out.iter_mut().zip(sums).zip(bias).zip(other) {
            out.write(sum + bias + other);
        }
    }
}

/// # Safety
/// All places of the tile were written before.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
unsafe fn multiply_in_place(
    tile: &Tile<f32>,
    place: Place,
    bias: &[f32],
    out: &mut [MaybeUninit<f32>],
) {
    for (row, sums) in tile.0[..place.n_rows].iter().enumerate() {
        // SAFETY: the caller vouches for it.
        let out = unsafe { out[place.row(row)].assume_init_mut() };
        for ((out, &sum), &bias) in out.iter_mut().zip(sums).zip(bias) {
            *out *= sum + bias;
        }
    }
}
