//! Normalisation of rows by their root mean square, and its gradients.

use std::mem::MaybeUninit;

use multiversion::multiversion;
use rayon::prelude::*;

use super::layer_norm::Sizes;
use super::scalar::sum;
use super::unfilled::unfilled;

/// Rows that one task takes; fixed, so that the order of the sums is.
const ROWS: usize = 64;

/// Divides every row by its root mean square and scales it.
pub(crate) fn forward(x: &[f32], gamma: &[f32], sizes: Sizes) -> Vec<f32> {
    let block = ROWS * sizes.width;
    assert!(x.len().is_multiple_of(sizes.width), "rows are whole");
    // SAFETY: every row of `x` has one in the result, all of which it writes.
    unsafe {
        unfilled(x.len(), |y| {
            y.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(sizes.width).zip(x.chunks_exact(sizes.width)) {
                    forward_row(x, gamma, sizes.epsilon, y);
                }
            });
        })
    }
}

/// The gradients of the rows and of the scale.
pub(crate) fn backward(
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    sizes: Sizes,
) -> (Vec<f32>, Vec<f32>) {
    let Sizes { width, epsilon } = sizes;
    let block = ROWS * width;
    let mut dx = vec![0.0; x.len()];
    let partial: Vec<Vec<f32>> = dx
        .par_chunks_mut(block)
        .zip(x.par_chunks(block))
        .zip(grad.par_chunks(block))
        .map(|((dx, x), grad)| {
            let mut dgamma = vec![0.0; width];
            let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width));
            for ((dx, x), grad) in rows.zip(grad.chunks_exact(width)) {
                backward_row(x, gamma, grad, epsilon, dx, &mut dgamma);
            }
            dgamma
        })
        .collect();
    let mut dgamma = vec![0.0; width];
    for block in &partial {
        for (total, value) in dgamma.iter_mut().zip(block) {
            *total += value;
        }
    }
    (dx, dgamma)
}

#[inline(always)]
fn scale(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (sum(x.len(), |i| x[i] * x[i]) / x.len() as f32 + epsilon).sqrt()
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn forward_row(x: &[f32], gamma: &[f32], epsilon: f32, y: &mut [MaybeUninit<f32>]) {
    let n = x.len();
    let (gamma, y) = (&gamma[..n], &mut y[..n]);
    let scale = scale(x, epsilon);
    for i in 0..n {
        y[i].write(x[i] * scale * gamma[i]);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_row(
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    epsilon: f32,
    dx: &mut [f32],
    dgamma: &mut [f32],
) {
    let n = x.len();
    let (gamma, grad) = (&gamma[..n], &grad[..n]);
    let (dx, dgamma) = (&mut dx[..n], &mut dgamma[..n]);
    let scale = scale(x, epsilon);
    // With z the normalised row and g = grad · gamma: dx = scale · (g - z · mean(g z)).
    let mean_gz = sum(n, |i| grad[i] * gamma[i] * x[i] * scale) / n as f32;
    for i in 0..n {
        let z = x[i] * scale;
        dx[i] = scale * (grad[i] * gamma[i] - z * mean_gz);
        dgamma[i] += grad[i] * z;
    }
}
