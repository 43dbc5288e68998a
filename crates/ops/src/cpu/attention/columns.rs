//! Rows packed as the columns of a product.

use std::ops::Range;

use crate::cpu::tile::{COLUMNS, Kernels, LANES, Panel, RowsOf, Tile};

/// Panels of up to [`COLUMNS`] columns, filled up to whole vectors.
#[derive(Default)]
pub(super) struct Columns {
    panels: Vec<f32>,
    depth: usize,
    n: usize,
}

impl Columns {
    /// Takes `n` rows of `depth` elements, times a factor, in place of what was there.
    pub(super) fn pack<'a>(
        &mut self,
        (n, depth): (usize, usize),
        scale: f32,
        row: impl Fn(usize) -> &'a [f32],
    ) {
        (self.n, self.depth) = (n, depth);
        self.panels.clear();
        self.panels.resize(self.padded() * depth, 0.0);
        for column in 0..n {
            let first = column / COLUMNS * COLUMNS;
            let stride = (n - first).min(COLUMNS).next_multiple_of(LANES);
            let panel = &mut self.panels[first * depth..];
            for (place, &value) in row(column).iter().enumerate() {
                panel[place * stride + column - first] = value * scale;
            }
        }
    }

    /// Columns with those that fill up the last vector.
    pub(super) fn padded(&self) -> usize {
        self.n.next_multiple_of(LANES)
    }

    /// Writes the products of a tile of rows with some columns, from the start of a panel on; rows of `out` are
    /// [`padded`](Self::padded) elements long.
    pub(super) fn multiply(
        &self,
        kernels: &Kernels,
        rows: RowsOf<'_, f32>,
        columns: Range<usize>,
        sums: &mut Tile<f32>,
        out: &mut [f32],
    ) {
        for first in columns.step_by(COLUMNS) {
            let width = (self.n - first).min(COLUMNS).next_multiple_of(LANES);
            let panel = &self.panels[first * self.depth..][..width * self.depth];
            (kernels.f32.tile)(rows, Panel::new(panel, width), sums);
            for (row, sums) in sums.0[..rows.len()].iter().enumerate() {
                let place = row * self.padded() + first;
                out[place..place + width].copy_from_slice(&sums[..width]);
            }
        }
    }
}
