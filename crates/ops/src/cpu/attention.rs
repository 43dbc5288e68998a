//! Self-attention of packed rows and its gradient, one row per task, one head after the other.

use gemm::Parallelism;
use multiversion::multiversion;
use rayon::prelude::*;

use super::dropout::Mask;
use super::matrix::{Matrix, Output, multiply};
use super::scalar::{exp, sum};
use super::tile::{self, COLUMNS, Kernels, LANES, Panel, RowsOf, Tile, kernels};
use crate::{Dropout, Rows};

/// Queries, keys and values of one head of one row.
struct Head<'a> {
    query: Matrix<'a>,
    key: Matrix<'a>,
    value: Matrix<'a>,
    /// Tokens of the row.
    n: usize,
    /// Columns of each of the three.
    width: usize,
    /// Elements from one token to the next.
    stride: usize,
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
    // Few rows are cut into parts so that every thread has work; keys are then packed for each part.
    let n_parts = rayon::current_num_threads().div_ceil(rows.len().max(1));
    let tasks: Vec<(usize, usize, &mut [f32])> = rows
        .split_mut(&mut context, hidden)
        .into_iter()
        .enumerate()
        .flat_map(|(row_idx, out)| {
            let n = out.len() / hidden;
            let part = n.div_ceil(n_parts).next_multiple_of(tile::ROWS).max(tile::ROWS);
            let parts = out.chunks_mut(part * hidden).enumerate();
            parts.map(move |(i, out)| (row_idx, i * part, out)).collect::<Vec<_>>()
        })
        .collect();
    tasks.into_par_iter().for_each_init(
        || Attended::new(kernels()),
        |attended, (row_idx, first_query, out)| {
            let row = rows.row(qkv, 3 * hidden, row_idx);
            for head_idx in 0..n_heads {
                let head = head(row, rows, row_idx, (hidden, n_heads), head_idx);
                attended.pack(&head);
                let out = &mut out[head_idx * head.width..];
                attended.write(&head, first_query, mask, out, hidden);
            }
        },
    );
    context
}

/// One head of one row: its keys and values packed for the kernels, and room for six queries.
struct Attended {
    kernels: &'static Kernels,
    /// Scaled keys as columns: `[width, keys]`.
    keys: Vec<f32>,
    /// `[keys, width]`, filled up to whole vectors.
    values: Vec<f32>,
    /// `[queries, keys]`, keys filled up to whole vectors.
    probabilities: Vec<f32>,
    sums: Tile<f32>,
}

impl Attended {
    fn new(kernels: &'static Kernels) -> Self {
        let sums = Tile::default();
        Self { kernels, keys: Vec::new(), values: Vec::new(), probabilities: Vec::new(), sums }
    }

    fn pack(&mut self, head: &Head<'_>) {
        let (n, width) = (head.n, head.width);
        let n_padded = n.next_multiple_of(LANES);
        self.probabilities.resize(tile::ROWS * n_padded, 0.0);
        self.keys.clear();
        self.keys.resize(n_padded * width, 0.0);
        for key in 0..n {
            let first = key / COLUMNS * COLUMNS;
            let stride = (n - first).min(COLUMNS).next_multiple_of(LANES);
            let panel = &mut self.keys[first * width..];
            for (place, &value) in head.key.row(key).iter().enumerate() {
                panel[place * stride + key - first] = value * head.scale;
            }
        }
        self.values.clear();
        for first in (0..width).step_by(COLUMNS) {
            let n_columns = (width - first).min(COLUMNS);
            let padding = n_columns.next_multiple_of(LANES) - n_columns;
            for key in 0..n {
                self.values.extend_from_slice(&head.value.row(key)[first..first + n_columns]);
                self.values.extend(std::iter::repeat_n(0.0, padding));
            }
        }
    }

    /// Writes the context of the queries from `first_query` on: as many as `out` has rows.
    fn write(
        &mut self,
        head: &Head<'_>,
        first_query: usize,
        mask: Option<Mask>,
        out: &mut [f32],
        stride: usize,
    ) {
        let (n, width) = (head.n, head.width);
        let n_padded = n.next_multiple_of(LANES);
        for (tile_idx, out) in out.chunks_mut(tile::ROWS * stride).enumerate() {
            let first_query = first_query + tile_idx * tile::ROWS;
            let n_queries = out.len().div_ceil(stride);
            let queries =
                RowsOf::new(head.query.rows_from(first_query), n_queries, width, head.stride);
            for first_key in (0..n).step_by(COLUMNS) {
                let columns = (n - first_key).min(COLUMNS).next_multiple_of(LANES);
                let keys = &self.keys[first_key * width..][..columns * width];
                (self.kernels.f32.tile)(queries, Panel::new(keys, columns), &mut self.sums);
                for (query, sums) in self.sums.0[..n_queries].iter().enumerate() {
                    let place = query * n_padded + first_key;
                    self.probabilities[place..place + columns].copy_from_slice(&sums[..columns]);
                }
            }
            for query in 0..n_queries {
                let probabilities = &mut self.probabilities[query * n_padded..][..n];
                softmax_row(probabilities);
                if let Some(mask) = mask {
                    let position =
                        head.first_position.wrapping_add(((first_query + query) * n) as u32);
                    drop_in_place(probabilities, mask, position);
                }
            }
            let probabilities = RowsOf::new(&self.probabilities, n_queries, n, n_padded);
            let mut values = &self.values[..];
            for first_column in (0..width).step_by(COLUMNS) {
                let n_columns = (width - first_column).min(COLUMNS);
                let columns = n_columns.next_multiple_of(LANES);
                let (panel, rest) = values.split_at(n * columns);
                values = rest;
                (self.kernels.f32.tile)(probabilities, Panel::new(panel, columns), &mut self.sums);
                for (out, sums) in out.chunks_mut(stride).zip(&self.sums.0) {
                    out[first_column..first_column + n_columns].copy_from_slice(&sums[..n_columns]);
                }
            }
        }
    }
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
        n,
        width,
        stride,
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
