//! GELU and its derivative, elementwise.

use multiversion::multiversion;
use rayon::prelude::*;

use super::BLOCK;
use super::scalar::normal_cdf;

/// `x Φ(x)` of every element.
pub(crate) fn forward(x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).for_each(|(y, x)| forward_block(x, y));
    y
}

/// `grad · (Φ(x) + x φ(x))` of every element.
pub(crate) fn backward(x: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut dx = vec![0.0; x.len()];
    dx.par_chunks_mut(BLOCK)
        .zip(x.par_chunks(BLOCK))
        .zip(grad.par_chunks(BLOCK))
        .for_each(|((dx, x), grad)| backward_block(x, grad, dx));
    dx
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn forward_block(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = x * normal_cdf(x).0;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_block(x: &[f32], grad: &[f32], dx: &mut [f32]) {
    const INV_SQRT_2_PI: f32 = 0.398_942_3;
    for ((dx, &x), &grad) in dx.iter_mut().zip(x).zip(grad) {
        let (cdf, density) = normal_cdf(x);
        *dx = grad * (cdf + x * density * INV_SQRT_2_PI);
    }
}
