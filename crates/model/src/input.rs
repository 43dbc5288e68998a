//! A batch of token ids onto a device: the only upload.

use burn::tensor::{Device, Int, Tensor, TensorData};
use tamis_data::Batch;
use tamis_ops::Rows;

/// A packed batch on a device.
#[derive(Debug, Clone)]
pub struct Input {
    /// Token ids: `[tokens]`.
    pub ids: Tensor<1, Int>,
    /// Segment ids: `[tokens]`.
    pub type_ids: Tensor<1, Int>,
    /// The position of each token: `[tokens]`; in the first part of a row its place, in the second what
    /// the batch says.
    pub positions: Tensor<1, Int>,
    /// Where the first token of each row stands: `[rows]`.
    pub first_tokens: Tensor<1, Int>,
    /// Where each row starts and ends.
    pub rows: Rows,
    /// The same for the two parts of every row, one after the other; either may be empty.
    pub parts: Rows,
}

impl Input {
    /// Copies a batch to a device. Rows are packed: nothing is padded.
    #[must_use]
    pub fn new(batch: &Batch, device: &Device) -> Self {
        let ints = |values: Vec<i32>| {
            let n = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [n]), device)
        };
        let from = |values: &[u32]| ints(values.iter().map(|&v| v.cast_signed()).collect());
        let rows = Rows::from_offsets(batch.row_offsets());
        let mut positions = Vec::with_capacity(batch.n_tokens());
        let mut lengths = Vec::with_capacity(2 * rows.len());
        for (row_idx, length) in rows.lengths().enumerate() {
            let (n_query, position) = batch.parts(row_idx);
            let parts = [(0, n_query), (position, length - n_query)];
            for (first, n) in parts {
                let first = i32::try_from(first).expect("a position fits i32");
                positions.extend(first..first + i32::try_from(n).expect("a row fits i32"));
                lengths.push(n as u32);
            }
        }
        Self {
            ids: from(batch.ids()),
            type_ids: from(batch.type_ids()),
            positions: ints(positions),
            first_tokens: from(&rows.offsets()[..rows.len()]),
            rows,
            parts: Rows::from_lengths(&lengths),
        }
    }
}
