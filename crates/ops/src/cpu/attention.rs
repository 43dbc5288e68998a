//! Self-attention of packed rows and its gradient: rows are tasks, and within one head follows head.

mod backward;
mod forward;

pub(crate) use backward::backward;
pub(crate) use forward::forward;

use std::ops::Range;

use multiversion::multiversion;

use super::dropout::Mask;
use super::matrix::Matrix;
use super::scalar::{exp, sum, tanh};
use crate::{AttentionConfig, Rows};

/// Queries, keys and values of one head of one row.
struct Head<'a> {
    query: Matrix<'a>,
    key: Matrix<'a>,
    value: Matrix<'a>,
    /// Tokens of the row.
    n: usize,
    /// Elements from one token to the next.
    stride: usize,
    /// Where this head's probabilities start in the count of all, for dropout.
    first_position: u32,
    config: AttentionConfig,
}

impl<'a> Head<'a> {
    /// One head of the row at `row_idx`, whose values are `row`.
    fn new(
        row: &'a [f32],
        rows: &Rows,
        row_idx: usize,
        head_idx: usize,
        config: AttentionConfig,
    ) -> Self {
        let stride = config.qkv_width();
        let n = row.len() / stride;
        let part = |column: usize| Matrix::new(&row[column..], n, config.width, stride);
        let [query, key, value] = config.columns(head_idx);
        // Distinct for every (row, head, i, j) until it wraps at 2^32: tokens before this row times
        // the longest row bound what earlier rows can take.
        let before = rows.offsets()[row_idx] as usize * rows.longest() * config.n_heads;
        Self {
            query: part(query),
            key: part(key),
            value: part(value),
            n,
            stride,
            first_position: (before + head_idx * n * n) as u32,
            config,
        }
    }

    /// The keys that a query sees.
    fn visible(&self, query: usize) -> Range<usize> {
        let end = query.saturating_add(self.config.after).saturating_add(1).min(self.n);
        query.saturating_sub(self.config.before)..end
    }

    /// Where the dropout mask of a query begins.
    fn position(&self, query: usize) -> u32 {
        self.first_position.wrapping_add((query * self.n) as u32)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn cap_row(x: &mut [f32], cap: f32) {
    let inverse = 1.0 / cap;
    for x in x {
        *x = cap * tanh(*x * inverse);
    }
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

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn drop_in_place(x: &mut [f32], mask: Mask, first: u32) {
    for (i, x) in x.iter_mut().enumerate() {
        *x *= mask.factor(first.wrapping_add(i as u32));
    }
}
