//! The gradient of queries, keys and values. Probabilities are computed again, which is cheaper than
//! keeping them.

use gemm::Parallelism;
use multiversion::multiversion;
use rayon::prelude::*;

use super::{Head, cap_row, drop_in_place, softmax_row};
use crate::cpu::dropout::Mask;
use crate::cpu::matrix::{Matrix, Output, multiply};
use crate::cpu::scalar::sum;
use crate::{AttentionConfig, Dropout, Rows};

/// Matrices of `[queries, keys]` of one head.
#[derive(Default)]
struct Squares {
    probabilities: Vec<f32>,
    /// Probabilities after dropout.
    dropped: Vec<f32>,
    /// Scores after the cap, where there is one.
    capped: Vec<f32>,
    /// The gradient of the scores.
    dscores: Vec<f32>,
}

/// The gradient of queries, keys and values, side by side, given that of the context.
pub(crate) fn backward(
    qkv: &[f32],
    grad: &[f32],
    rows: &Rows,
    config: AttentionConfig,
    dropout: Dropout,
) -> Vec<f32> {
    let mask = (!dropout.is_none()).then(|| Mask::new(dropout));
    let (stride, hidden) = (config.qkv_width(), config.n_heads * config.width);
    let mut dqkv = vec![0.0; rows.n_tokens() * stride];
    rows.split_mut(&mut dqkv, stride).into_par_iter().enumerate().for_each_init(
        Squares::default,
        |squares, (row_idx, out)| {
            let row = rows.row(qkv, stride, row_idx);
            let grad = rows.row(grad, hidden, row_idx);
            if row.is_empty() {
                return;
            }
            for head_idx in 0..config.n_heads {
                let head = Head::new((&[], row), rows, row_idx, head_idx, config);
                let grad = &grad[head_idx * config.width..];
                let dcontext = Matrix::new(grad, head.n, config.width, hidden);
                squares.fill(&head, dcontext, mask);
                squares.write(&head, dcontext, head_idx, out);
            }
        },
    );
    dqkv
}

impl Squares {
    /// Computes the probabilities of a head and the gradient of its scores.
    fn fill(&mut self, head: &Head<'_>, dcontext: Matrix<'_>, mask: Option<Mask>) {
        let n = head.n;
        for square in [&mut self.probabilities, &mut self.dropped, &mut self.dscores] {
            square.resize(n * n, 0.0);
        }
        let none = Parallelism::None;
        let (keys, scale) = (head.key.transposed(), head.config.scale);
        let scores = (&mut self.probabilities[..], n);
        multiply(scores, Output::Overwrite, scale, head.query, keys, none);
        if let Some(cap) = head.config.cap {
            cap_row(&mut self.probabilities, cap);
            self.capped.clone_from(&self.probabilities);
        }
        for (query, row) in self.probabilities.chunks_exact_mut(n).enumerate() {
            let visible = head.visible(query);
            row[..visible.start].fill(0.0);
            row[visible.end..].fill(0.0);
            softmax_row(&mut row[visible]);
        }
        self.dropped.copy_from_slice(&self.probabilities);
        let dscores = (&mut self.dscores[..], n);
        multiply(dscores, Output::Overwrite, 1.0, dcontext, head.value.transposed(), none);
        if let Some(mask) = mask {
            drop_in_place(&mut self.dropped, mask, head.first_position);
            drop_in_place(&mut self.dscores, mask, head.first_position);
        }
        let rows = self.dscores.chunks_exact_mut(n).zip(self.probabilities.chunks_exact(n));
        for (dscores, probabilities) in rows {
            softmax_backward_row(probabilities, dscores);
        }
        if let Some(cap) = head.config.cap {
            cap_backward(&self.capped, cap, &mut self.dscores);
        }
    }

    /// Writes what a head adds to the gradient of its row.
    fn write(&self, head: &Head<'_>, dcontext: Matrix<'_>, head_idx: usize, out: &mut [f32]) {
        let n = head.n;
        let [query, key, value] = head.config.columns(head_idx);
        // Heads of queries that share their keys add up.
        let group = head.config.n_heads / head.config.n_kv_heads;
        let shared =
            if head_idx.is_multiple_of(group) { Output::Overwrite } else { Output::Accumulate };
        let mut product = |column: usize, output, scale, a, b| {
            multiply((&mut out[column..], head.stride), output, scale, a, b, Parallelism::None);
        };
        let (scale, dscores) = (head.config.scale, Matrix::new(&self.dscores, n, n, n));
        let dropped = Matrix::new(&self.dropped, n, n, n).transposed();
        product(value, shared, 1.0, dropped, dcontext);
        product(query, Output::Overwrite, scale, dscores, head.key);
        product(key, shared, scale, dscores.transposed(), head.query);
    }
}

/// Turns the gradient of probabilities into that of the scores before the softmax.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn softmax_backward_row(p: &[f32], grad: &mut [f32]) {
    let n = p.len();
    let dot = sum(n, |i| p[i] * grad[i]);
    for (grad, &p) in grad.iter_mut().zip(p) {
        *grad = p * (*grad - dot);
    }
}

/// Turns the gradient of capped scores into that of the scores before the cap.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn cap_backward(capped: &[f32], cap: f32, grad: &mut [f32]) {
    let inverse = 1.0 / cap;
    for (grad, &capped) in grad.iter_mut().zip(capped) {
        let share = capped * inverse;
        *grad *= 1.0 - share * share;
    }
}
