//! Layer normalisation of rows and its gradients.

use std::mem::MaybeUninit;

use multiversion::multiversion;
use rayon::prelude::*;

use super::scalar::sum;
use super::unfilled::unfilled;

/// Rows that one task takes; fixed, so that the order of the sums is.
const ROWS: usize = 64;

/// The width of a row, and what is added to its variance.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
}

/// The gradients of the three inputs.
pub(crate) struct Grads {
    pub(crate) x: Vec<f32>,
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
}

/// Normalises, scales and shifts every row.
pub(crate) fn forward(x: &[f32], gamma: &[f32], beta: &[f32], sizes: Sizes) -> Vec<f32> {
    let block = ROWS * sizes.width;
    assert!(x.len().is_multiple_of(sizes.width), "rows are whole");
    // SAFETY: every row of `x` has one in the result, all of which it writes.
    unsafe {
        unfilled(x.len(), |y| {
            y.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(sizes.width).zip(x.chunks_exact(sizes.width)) {
                    forward_row(x, (gamma, beta), sizes.epsilon, y);
                }
            });
        })
    }
}

/// The gradients; mean and variance are computed again, which is cheaper than keeping them.
pub(crate) fn backward(x: &[f32], gamma: &[f32], grad: &[f32], sizes: Sizes) -> Grads {
    let Sizes { width, epsilon } = sizes;
    let block = ROWS * width;
    let mut dx = vec![0.0; x.len()];
    let partial: Vec<(Vec<f32>, Vec<f32>)> = dx
        .par_chunks_mut(block)
        .zip(x.par_chunks(block))
        .zip(grad.par_chunks(block))
        .map(|((dx, x), grad)| {
            let (mut dgamma, mut dbeta) = (vec![0.0; width], vec![0.0; width]);
            let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width));
            for ((dx, x), grad) in rows.zip(grad.chunks_exact(width)) {
                backward_row(x, gamma, grad, epsilon, dx, (&mut dgamma, &mut dbeta));
            }
            (dgamma, dbeta)
        })
        .collect();
    let (mut dgamma, mut dbeta) = (vec![0.0; width], vec![0.0; width]);
    for (block_gamma, block_beta) in &partial {
        for i in 0..width {
            dgamma[i] += block_gamma[i];
            dbeta[i] += block_beta[i];
        }
    }
    Grads { x: dx, gamma: dgamma, beta: dbeta }
}

#[inline(always)]
fn mean_and_scale(x: &[f32], epsilon: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x.len(), |i| x[i]) / n;
    let variance = sum(x.len(), |i| (x[i] - mean) * (x[i] - mean)) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn forward_row(
    x: &[f32],
    (gamma, beta): (&[f32], &[f32]),
    epsilon: f32,
    y: &mut [MaybeUninit<f32>],
) {
    let n = x.len();
    let (gamma, beta, y) = (&gamma[..n], &beta[..n], &mut y[..n]);
    let (mean, scale) = mean_and_scale(x, epsilon);
    for i in 0..n {
        y[i].write((x[i] - mean) * scale * gamma[i] + beta[i]);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_row(
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    epsilon: f32,
    dx: &mut [f32],
    (dgamma, dbeta): (&mut [f32], &mut [f32]),
) {
    let n = x.len();
    let (gamma, grad, dx) = (&gamma[..n], &grad[..n], &mut dx[..n]);
    let (dgamma, dbeta) = (&mut dgamma[..n], &mut dbeta[..n]);
    let (mean, scale) = mean_and_scale(x, epsilon);
    // With z the normalised row and g = grad · gamma: dx = scale · (g - mean(g) - z · mean(g z)).
    let mean_g = sum(n, |i| grad[i] * gamma[i]) / n as f32;
    let mean_gz = sum(n, |i| grad[i] * gamma[i] * ((x[i] - mean) * scale)) / n as f32;
    for i in 0..n {
        let z = (x[i] - mean) * scale;
        dx[i] = scale * (grad[i] * gamma[i] - mean_g - z * mean_gz);
        dgamma[i] += grad[i] * z;
        dbeta[i] += grad[i];
    }
}
