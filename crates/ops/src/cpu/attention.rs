//! Self-attention of packed rows and its gradient: rows are tasks, and within one head follows head.

mod backward;
mod columns;
mod forward;
mod relative;

pub(crate) use backward::backward;
pub(crate) use forward::{Part, forward};
pub(crate) use relative::Relative;

use std::ops::Range;

use multiversion::multiversion;

use super::dropout::Mask;
use super::matrix::Matrix;
use super::scalar::{exp, lanes, tanh};
use crate::{AttentionConfig, Rows};

/// Queries, keys and values of one head of one row.
struct Head<'a> {
    query: Matrix<'a>,
    key: Matrix<'a>,
    value: Matrix<'a>,
    /// Keys and values of the tokens before the row.
    prefix: [Matrix<'a>; 2],
    /// Tokens before the row.
    n_before: usize,
    /// Tokens of the row and before it.
    n: usize,
    /// Elements from one token to the next.
    stride: usize,
    /// Which head of queries it is.
    head_idx: usize,
    /// Where this head's probabilities start in the count of all, for dropout.
    first_position: u32,
    config: AttentionConfig,
}

impl<'a> Head<'a> {
    /// One head of the row at `row_idx`, whose values are `row`; `prefix` stands before it.
    fn new(
        (prefix, row): (&'a [f32], &'a [f32]),
        rows: &Rows,
        row_idx: usize,
        head_idx: usize,
        config: AttentionConfig,
    ) -> Self {
        let stride = config.qkv_width();
        let (n_before, n_own) = (prefix.len() / stride, row.len() / stride);
        let part = |column: usize| Matrix::new(&row[column..], n_own, config.width, stride);
        let [query, key, value] = config.columns(head_idx);
        let before = |column: usize| {
            Matrix::new(prefix.get(column..).unwrap_or_default(), n_before, config.width, stride)
        };
        let n = n_before + n_own;
        // Distinct for every (row, head, i, j) until it wraps at 2^32: tokens before this row times
        // the longest row bound what earlier rows can take.
        let taken = rows.offsets()[row_idx] as usize * rows.longest() * config.n_heads;
        Self {
            query: part(query),
            key: part(key),
            value: part(value),
            prefix: [before(key), before(value)],
            n_before,
            n,
            stride,
            head_idx,
            first_position: (taken + head_idx * n * n) as u32,
            config,
        }
    }

    /// The keys that a query sees, counted with those before the row.
    fn visible(&self, query: usize) -> Range<usize> {
        let place = self.n_before + query;
        let end = place.saturating_add(self.config.after).saturating_add(1).min(self.n);
        place.saturating_sub(self.config.before)..end
    }

    /// The key and the value at a place, counted with those before the row.
    fn key_and_value(&self, place: usize) -> [&'a [f32]; 2] {
        match place.checked_sub(self.n_before) {
            None => self.prefix.map(|part| part.row(place)),
            Some(own) => [self.key.row(own), self.value.row(own)],
        }
    }

    /// Where the dropout mask of a query begins.
    fn position(&self, query: usize) -> u32 {
        self.first_position.wrapping_add((query * self.n) as u32)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn cap_row(x: &mut [f32], cap: f32) {
    let inverse = 1.0 / cap;
    for x in x {
        *x = cap * tanh(*x * inverse);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn softmax_row(x: &mut [f32]) {
    let factor = 1.0 / exp_row(x);
    for value in x.iter_mut() {
        *value *= factor;
    }
}

/// Powers of e that are 1 at most, and their sum.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn exp_row(x: &mut [f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; 16];
    let mut chunks = x.chunks_exact(16);
    for chunk in &mut chunks {
        for (lane, &value) in most.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let largest = chunks.remainder().iter().chain(&most).copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0; 16];
    let mut chunks = x.chunks_exact_mut(16);
    for chunk in &mut chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *value = exp(*value - largest);
            *sum += *value;
        }
    }
    for (sum, value) in sums.iter_mut().zip(chunks.into_remainder()) {
        *value = exp(*value - largest);
        *sum += *value;
    }
    lanes(sums)
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn drop_in_place(x: &mut [f32], mask: Mask, first: u32) {
    for (i, x) in x.iter_mut().enumerate() {
        *x *= mask.factor(first.wrapping_add(i as u32));
    }
}
