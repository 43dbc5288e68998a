//! Affine maps and their three gradients.

use gemm::Parallelism;
use multiversion::multiversion;
use rayon::prelude::*;

use super::matrix::{Matrix, Output, multiply};

/// All threads of the current pool.
const ALL: Parallelism = Parallelism::Rayon(0);

/// Rows whose columns one task sums; fixed, so that the order of the sum is.
const SUM_ROWS: usize = 256;

/// `x · weight + bias` with `x: [rows, n_in]`, `weight: [n_in, out]`.
pub(crate) fn forward(x: &[f32], weight: &[f32], bias: &[f32], n_in: usize) -> Vec<f32> {
    let (n_rows, n_out) = (x.len() / n_in, bias.len());
    let mut y = Vec::with_capacity(n_rows * n_out);
    for _ in 0..n_rows {
        y.extend_from_slice(bias);
    }
    let (x, weight) = (Matrix::new(x, n_rows, n_in, n_in), Matrix::new(weight, n_in, n_out, n_out));
    multiply((&mut y, n_out), Output::Accumulate, 1.0, x, weight, ALL);
    y
}

/// `grad · weightᵀ`.
pub(crate) fn input_backward(weight: &[f32], grad: &[f32], n_out: usize) -> Vec<f32> {
    let (n_rows, n_in) = (grad.len() / n_out, weight.len() / n_out);
    let mut dx = vec![0.0; n_rows * n_in];
    let (grad, weight) =
        (Matrix::new(grad, n_rows, n_out, n_out), Matrix::new(weight, n_in, n_out, n_out));
    multiply((&mut dx, n_in), Output::Overwrite, 1.0, grad, weight.transposed(), ALL);
    dx
}

/// `xᵀ · grad`.
pub(crate) fn weight_backward(x: &[f32], grad: &[f32], n_rows: usize) -> Vec<f32> {
    let (n_in, n_out) = (x.len() / n_rows, grad.len() / n_rows);
    let mut dw = vec![0.0; n_in * n_out];
    let (x, grad) = (Matrix::new(x, n_rows, n_in, n_in), Matrix::new(grad, n_rows, n_out, n_out));
    multiply((&mut dw, n_out), Output::Overwrite, 1.0, x.transposed(), grad, ALL);
    dw
}

/// The sum of the rows.
pub(crate) fn column_sum(grad: &[f32], width: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = grad
        .par_chunks(SUM_ROWS * width)
        .map(|block| {
            let mut total = vec![0.0; width];
            for row in block.chunks_exact(width) {
                add_row(&mut total, row);
            }
            total
        })
        .collect();
    let mut total = vec![0.0; width];
    for block in &partial {
        add_row(&mut total, block);
    }
    total
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn add_row(total: &mut [f32], row: &[f32]) {
    for (total, &value) in total.iter_mut().zip(row) {
        *total += value;
    }
}
