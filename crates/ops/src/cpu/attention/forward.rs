//! The context of every token: six queries at a time meet the keys of their row, and then its values.

use std::mem::MaybeUninit;

use multiversion::multiversion;
use rayon::prelude::*;

use super::columns::Columns;
use super::relative::{PackedRelative, Relative};
use super::{Head, cap_row, drop_in_place, exp_row};
use crate::cpu::dropout::Mask;
use crate::cpu::tile::{COLUMNS, Kernels, LANES, Panel, ROWS, RowsOf, Tile, kernels};
use crate::cpu::unfilled::unfilled;
use crate::{AttentionConfig, Dropout, Rows};

/// Which tokens gather, what stands before their rows, and what they meet beside keys.
#[derive(Clone, Copy, Default)]
pub(crate) struct Part<'a> {
    /// Queries, keys and values of tokens that stand before every row.
    pub(crate) prefix: &'a [f32],
    /// The token of every row that gathers, counted over all rows; all of them where there is none.
    pub(crate) queries: Option<&'a [usize]>,
    /// Relative positions, where tokens meet them; then nothing stands before rows.
    pub(crate) relative: Option<Relative<'a>>,
}

/// What tokens gather: `[tokens or rows, heads * width]` from queries, keys and values side by side.
pub(crate) fn forward(
    qkv: &[f32],
    rows: &Rows,
    config: AttentionConfig,
    part: Part<'_>,
    dropout: Dropout,
) -> Vec<f32> {
    let mask = (!dropout.is_none()).then(|| Mask::new(dropout));
    let hidden = config.n_heads * config.width;
    let n_queries = part.queries.map_or(rows.n_tokens(), <[usize]>::len);
    let write = |context: &mut [MaybeUninit<f32>]| {
        let tasks = match part.queries {
            None => whole_rows(rows, context, hidden),
            Some(queries) => context
                .chunks_mut(hidden)
                .zip(queries)
                .enumerate()
                .map(|(row, (out, query))| (row, query - rows.offsets()[row] as usize, out))
                .collect(),
        };
        tasks.into_par_iter().for_each_init(
            || Attended::new(kernels(), part.relative),
            |attended, (row_idx, first_query, out)| {
                let row = rows.row(qkv, config.qkv_width(), row_idx);
                for head_idx in 0..config.n_heads {
                    let head = Head::new((part.prefix, row), rows, row_idx, head_idx, config);
                    // Heads of queries that share their keys follow each other.
                    if head_idx.is_multiple_of(config.n_heads / config.n_kv_heads) {
                        attended.pack(&head);
                    }
                    let out = &mut out[head_idx * config.width..];
                    attended.write(&head, first_query, mask, out, hidden);
                }
            },
        );
    };
    // SAFETY: every query is in one task, which writes the columns of each of its heads.
    unsafe { unfilled(n_queries * hidden, write) }
}

/// Some tokens of a row: which row, the first of them, and room for what they gather.
type Task<'a> = (usize, usize, &'a mut [MaybeUninit<f32>]);

/// All tokens. Few rows are cut into parts so that every thread has work; keys are then packed for each part.
fn whole_rows<'a>(
    rows: &Rows,
    context: &'a mut [MaybeUninit<f32>],
    hidden: usize,
) -> Vec<Task<'a>> {
    let n_parts = rayon::current_num_threads().div_ceil(rows.len().max(1));
    rows.split_mut(context, hidden)
        .into_iter()
        .enumerate()
        .flat_map(|(row_idx, out)| {
            let n = out.len() / hidden;
            let part = n.div_ceil(n_parts).next_multiple_of(ROWS).max(ROWS);
            let parts = out.chunks_mut(part * hidden).enumerate();
            parts.map(move |(i, out)| (row_idx, i * part, out)).collect::<Vec<_>>()
        })
        .collect()
}

/// One head of one row: its keys and values packed for the kernels, and room for six queries.
struct Attended<'a> {
    kernels: &'static Kernels,
    /// Scaled keys.
    keys: Columns,
    /// Relative positions, where tokens meet them.
    relative: Option<PackedRelative<'a>>,
    /// `[keys, width]`, filled up to whole vectors.
    values: Vec<f32>,
    /// `[queries, keys]`, keys filled up to whole vectors.
    probabilities: Vec<f32>,
    /// What the powers of each query are divided by to be probabilities, inverted.
    factors: [f32; ROWS],
    sums: Tile<f32>,
}

impl<'a> Attended<'a> {
    fn new(kernels: &'static Kernels, relative: Option<Relative<'a>>) -> Self {
        let sums = Tile::default();
        Self {
            kernels,
            keys: Columns::default(),
            relative: relative.map(|relative| PackedRelative::new(kernels, relative)),
            values: Vec::new(),
            probabilities: Vec::new(),
            factors: [0.0; ROWS],
            sums,
        }
    }

    fn pack(&mut self, head: &Head<'_>) {
        let (n, width) = (head.n, head.config.width);
        self.keys.pack((n, width), head.config.scale, |key| head.key_and_value(key)[0]);
        self.probabilities.resize(ROWS * self.keys.padded(), 0.0);
        if let Some(relative) = &mut self.relative {
            relative.pack(head, &mut self.sums);
        }
        self.values.clear();
        for first in (0..width).step_by(COLUMNS) {
            let n_columns = (width - first).min(COLUMNS);
            let padding = n_columns.next_multiple_of(LANES) - n_columns;
            for key in 0..n {
                let [_, row] = head.key_and_value(key);
                self.values.extend_from_slice(&row[first..first + n_columns]);
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
        out: &mut [MaybeUninit<f32>],
        stride: usize,
    ) {
        let (n, width) = (head.n, head.config.width);
        let n_padded = self.keys.padded();
        for (tile_idx, out) in out.chunks_mut(ROWS * stride).enumerate() {
            let first_query = first_query + tile_idx * ROWS;
            let n_queries = out.len().div_ceil(stride);
            // The keys that any of these queries sees, from the start of a panel on.
            let first_key = head.visible(first_query).start / COLUMNS * COLUMNS;
            let end_key = head.visible(first_query + n_queries - 1).end;
            let queries =
                RowsOf::new(head.query.rows_from(first_query), n_queries, width, head.stride);
            let (scores, sums) = (&mut self.probabilities, &mut self.sums);
            self.keys.multiply(self.kernels, queries, first_key..end_key, sums, scores);
            if let Some(relative) = &mut self.relative {
                let places = (first_query..first_query + n_queries, first_key..end_key);
                relative.add(head, places, queries, sums, (scores, n_padded));
            }
            for query in 0..n_queries {
                let row = &mut self.probabilities[query * n_padded..][..n];
                let visible = head.visible(first_query + query);
                row[first_key..visible.start].fill(0.0);
                row[visible.end..end_key].fill(0.0);
                let probabilities = &mut row[visible.clone()];
                if let Some(cap) = head.config.cap {
                    cap_row(probabilities, cap);
                }
                self.factors[query] = 1.0 / exp_row(probabilities);
                if let Some(mask) = mask {
                    let first = head.position(first_query + query);
                    drop_in_place(probabilities, mask, first.wrapping_add(visible.start as u32));
                }
            }
            let n_keys = end_key - first_key;
            let probabilities =
                RowsOf::new(&self.probabilities[first_key..], n_queries, n_keys, n_padded);
            let mut values = &self.values[..];
            for first_column in (0..width).step_by(COLUMNS) {
                let n_columns = (width - first_column).min(COLUMNS);
                let columns = n_columns.next_multiple_of(LANES);
                let (panel, rest) = values.split_at(n * columns);
                values = rest;
                let panel = Panel::new(&panel[first_key * columns..end_key * columns], columns);
                (self.kernels.f32.tile)(probabilities, panel, &mut self.sums);
                let rows = out.chunks_mut(stride).zip(&self.sums.0).zip(&self.factors);
                for ((out, sums), &factor) in rows {
                    scaled(sums, factor, &mut out[first_column..first_column + n_columns]);
                }
            }
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn scaled(sums: &[f32], factor: f32, out: &mut [MaybeUninit<f32>]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        out.write(sum * factor);
    }
}
