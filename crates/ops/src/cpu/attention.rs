//! Self-attention of packed rows and its gradient, one row per task, one head after the other.

use gemm::Parallelism;
use multiversion::multiversion;
use rayon::prelude::*;

use super::dropout::Mask;
use super::matrix::{Matrix, Output, multiply};
use super::scalar::{exp, sum};
use crate::{Dropout, Rows};

/// Queries, keys and values of one head of one row.
struct Head<'a> {
    query: Matrix<'a>,
    key: Matrix<'a>,
    value: Matrix<'a>,
    /// Where this head's probabilities start in the count of all, for dropout.
    first_position: u32,
    scale: f32,
}

/// The context of every token: `[tokens, hidden]` from `[tokens, 3 · hidden]`.
pub(crate) fn forward(
    qkv: &[f32],
    rows: &Rows,
    hidden: usize,
    n_heads: usize,
    dropout: Dropout,
) -> Vec<f32> {
    let mask = (!dropout.is_none()).then(|| Mask::new(dropout));
    let mut context = vec![0.0; rows.n_tokens() * hidden];
    rows.split_mut(&mut context, hidden).into_par_iter().enumerate().for_each_init(
        Vec::new,
        |probabilities: &mut Vec<f32>, (row_idx, out)| {
            let width = hidden / n_heads;
            let row = rows.row(qkv, 3 * hidden, row_idx);
            let n = row.len() / (3 * hidden);
            if n == 0 {
                return;
            }
            probabilities.resize(n * n, 0.0);
            for head_idx in 0..n_heads {
                let head = head(row, rows, row_idx, (hidden, n_heads), head_idx);
                softmax_of_scores(&head, n, probabilities);
                if let Some(mask) = mask {
                    drop_in_place(probabilities, mask, head.first_position);
                }
                let p = Matrix::new(probabilities, n, n, n);
                let out = (&mut out[head_idx * width..], hidden);
                multiply(out, Output::Overwrite, 1.0, p, head.value, Parallelism::None);
            }
        },
    );
    context
}

/// The gradient of `qkv` given that of the context. Probabilities are computed again.
pub(crate) fn backward(
    qkv: &[f32],
    grad: &[f32],
    rows: &Rows,
    hidden: usize,
    n_heads: usize,
    dropout: Dropout,
) -> Vec<f32> {
    let mask = (!dropout.is_none()).then(|| Mask::new(dropout));
    let mut dqkv = vec![0.0; rows.n_tokens() * 3 * hidden];
    rows.split_mut(&mut dqkv, 3 * hidden).into_par_iter().enumerate().for_each_init(
        || (Vec::new(), Vec::new(), Vec::new()),
        |(probabilities, dropped, dscores), (row_idx, out)| {
            let width = hidden / n_heads;
            let stride = 3 * hidden;
            let row = rows.row(qkv, stride, row_idx);
            let grad = rows.row(grad, hidden, row_idx);
            let n = row.len() / stride;
            if n == 0 {
                return;
            }
            for buffer in [&mut *probabilities, &mut *dropped, &mut *dscores] {
                buffer.resize(n * n, 0.0);
            }
            for head_idx in 0..n_heads {
                let head = head(row, rows, row_idx, (hidden, n_heads), head_idx);
                let column = head_idx * width;
                let dcontext = Matrix::new(&grad[column..], n, width, hidden);
                softmax_of_scores(&head, n, probabilities);
                dropped.copy_from_slice(probabilities);
                if let Some(mask) = mask {
                    drop_in_place(dropped, mask, head.first_position);
                }
                let mut product = |part: usize, scale, a, b| {
                    let out = (&mut out[part * hidden + column..], stride);
                    multiply(out, Output::Overwrite, scale, a, b, Parallelism::None);
                };
                product(2, 1.0, Matrix::new(dropped, n, n, n).transposed(), dcontext);
                let value = head.value.transposed();
                let ds = (&mut dscores[..], n);
                multiply(ds, Output::Overwrite, 1.0, dcontext, value, Parallelism::None);
                if let Some(mask) = mask {
                    drop_in_place(dscores, mask, head.first_position);
                }
                for (ds, p) in dscores.chunks_exact_mut(n).zip(probabilities.chunks_exact(n)) {
                    softmax_backward_row(p, ds);
                }
                let ds = Matrix::new(dscores, n, n, n);
                product(0, head.scale, ds, head.key);
                product(1, head.scale, ds.transposed(), head.query);
            }
        },
    );
    dqkv
}

fn head<'a>(
    row: &'a [f32],
    rows: &Rows,
    row_idx: usize,
    (hidden, n_heads): (usize, usize),
    head_idx: usize,
) -> Head<'a> {
    let (width, stride) = (hidden / n_heads, 3 * hidden);
    let n = row.len() / stride;
    let part = |index: usize| {
        let start = index * hidden + head_idx * width;
        Matrix::new(&row[start..], n, width, stride)
    };
    // Distinct for every (row, head, i, j) until it wraps at 2^32: tokens before this row times the
    // longest row bound what earlier rows can take.
    let before = rows.offsets()[row_idx] as usize * rows.longest() * n_heads;
    Head {
        query: part(0),
        key: part(1),
        value: part(2),
        first_position: (before + head_idx * n * n) as u32,
        scale: 1.0 / (width as f32).sqrt(),
    }
}

/// Fills `out` with the attention probabilities of one head.
fn softmax_of_scores(head: &Head<'_>, n: usize, out: &mut [f32]) {
    let keys = head.key.transposed();
    multiply((out, n), Output::Overwrite, head.scale, head.query, keys, Parallelism::None);
    out.chunks_exact_mut(n).for_each(softmax_row);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn softmax_row(x: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let mut chunks = x.chunks_exact(16);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let largest =
        chunks.remainder().iter().chain(&lanes).copied().fold(f32::NEG_INFINITY, f32::max);
    for value in x.iter_mut() {
        *value = exp(*value - largest);
    }
    let total = sum(x.len(), |i| x[i]);
    let factor = 1.0 / total;
    for value in x.iter_mut() {
        *value *= factor;
    }
}

/// Turns the gradient of probabilities into that of the scores before the softmax.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn softmax_backward_row(p: &[f32], grad: &mut [f32]) {
    let n = p.len();
    let dot = sum(n, |i| p[i] * grad[i]);
    for (grad, &p) in grad.iter_mut().zip(p) {
        *grad = p * (*grad - dot);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn drop_in_place(x: &mut [f32], mask: Mask, first: u32) {
    for (i, x) in x.iter_mut().enumerate() {
        *x *= mask.factor(first.wrapping_add(i as u32));
    }
}
