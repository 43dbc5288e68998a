//! Gated halves of rows: a function of the first times the second, and its gradient.

use multiversion::multiversion;
use rayon::prelude::*;

use super::scalar::{normal_cdf, sigmoid, tanh};
use crate::Gate;

/// Rows that one task takes.
const ROWS: usize = 64;

/// `gate(x[.., ..inner]) · x[.., inner..]`.
pub(crate) fn forward(x: &[f32], inner: usize, gate: Gate) -> Vec<f32> {
    let mut y = vec![0.0; x.len() / 2];
    y.par_chunks_mut(ROWS * inner).zip(x.par_chunks(ROWS * 2 * inner)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(inner).zip(x.chunks_exact(2 * inner)) {
            let (first, second) = x.split_at(inner);
            match gate {
                Gate::Gelu => gelu(first, second, y),
                Gate::GeluTanh => gelu_tanh(first, second, y),
                Gate::Silu => silu(first, second, y),
            }
        }
    });
    y
}

/// The gradient of both halves.
pub(crate) fn backward(x: &[f32], grad: &[f32], inner: usize, gate: Gate) -> Vec<f32> {
    let mut dx = vec![0.0; x.len()];
    dx.par_chunks_mut(ROWS * 2 * inner)
        .zip(x.par_chunks(ROWS * 2 * inner))
        .zip(grad.par_chunks(ROWS * inner))
        .for_each(|((dx, x), grad)| {
            let rows = dx.chunks_exact_mut(2 * inner).zip(x.chunks_exact(2 * inner));
            for ((dx, x), grad) in rows.zip(grad.chunks_exact(inner)) {
                let (halves, out) = (x.split_at(inner), dx.split_at_mut(inner));
                match gate {
                    Gate::Gelu => gelu_backward(halves, grad, out),
                    Gate::GeluTanh => gelu_tanh_backward(halves, grad, out),
                    Gate::Silu => silu_backward(halves, grad, out),
                }
            }
        });
    dx
}

/// A gate forward and backward, from its value and slope.
macro_rules! gate {
    ($forward:ident, $backward:ident, $value_and_slope:ident) => {
        #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
        fn $forward(first: &[f32], second: &[f32], y: &mut [f32]) {
            for ((y, &a), &b) in y.iter_mut().zip(first).zip(second) {
                *y = $value_and_slope(a).0 * b;
            }
        }

        #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
        fn $backward(
            (first, second): (&[f32], &[f32]),
            grad: &[f32],
            (dfirst, dsecond): (&mut [f32], &mut [f32]),
        ) {
            let n = grad.len();
            let (first, second) = (&first[..n], &second[..n]);
            let (dfirst, dsecond) = (&mut dfirst[..n], &mut dsecond[..n]);
            for i in 0..n {
                let (value, slope) = $value_and_slope(first[i]);
                dfirst[i] = grad[i] * second[i] * slope;
                dsecond[i] = grad[i] * value;
            }
        }
    };
}

gate!(gelu, gelu_backward, gelu_parts);
gate!(gelu_tanh, gelu_tanh_backward, gelu_tanh_parts);
gate!(silu, silu_backward, silu_parts);

#[inline(always)]
fn gelu_parts(x: f32) -> (f32, f32) {
    const INV_SQRT_2_PI: f32 = 0.398_942_3;
    let (cdf, density) = normal_cdf(x);
    (x * cdf, cdf + x * density * INV_SQRT_2_PI)
}

#[inline(always)]
fn gelu_tanh_parts(x: f32) -> (f32, f32) {
    const ROOT: f32 = 0.797_884_6; // sqrt(2 / π)
    let t = tanh(ROOT * (x + 0.044_715 * x * x * x));
    let inner_slope = ROOT * (1.0 + 3.0 * 0.044_715 * x * x);
    (0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_slope)
}

#[inline(always)]
fn silu_parts(x: f32) -> (f32, f32) {
    let s = sigmoid(x);
    (x * s, s * (1.0 + x * (1.0 - s)))
}
