//! A batch of token ids onto a device: the only upload.

use std::sync::Arc;

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
    /// The token ids where they came from, for what is decided before anything is computed.
    ids_on_host: Arc<[u32]>,
    /// The segment ids there.
    type_ids_on_host: Arc<[u32]>,
}

impl Input {
    /// Rows of which hidden states are known already: the lengths of the two parts of each. It has no ids.
    #[must_use]
    pub(crate) fn of_lengths(lengths: &[(u32, u32)], device: &Device) -> Self {
        let whole: Vec<u32> = lengths.iter().map(|(query, document)| query + document).collect();
        let parts: Vec<u32> =
            lengths.iter().flat_map(|&(query, document)| [query, document]).collect();
        let rows = Rows::from_lengths(&whole);
        let none = Tensor::<1, Int>::zeros([0], device);
        let starts = rows.offsets()[..rows.len()].iter().map(|&v| v.cast_signed()).collect();
        Self {
            ids: none.clone(),
            type_ids: none.clone(),
            positions: none,
            first_tokens: ints(starts, device),
            rows,
            parts: Rows::from_lengths(&parts),
            ids_on_host: Arc::default(),
            type_ids_on_host: Arc::default(),
        }
    }

    /// Copies a batch to a device. Rows are packed: nothing is padded.
    #[must_use]
    pub fn new(batch: &Batch, device: &Device) -> Self {
        let ints = |values| ints(values, device);
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
            ids_on_host: batch.ids().into(),
            type_ids_on_host: batch.type_ids().into(),
        }
    }

    /// The device that the batch is on.
    #[must_use]
    pub fn device(&self) -> Device {
        self.ids.device()
    }

    /// The place of the last token of each row, among all tokens. Tokens `padding` at the end of a
    /// row are passed over, as transformers does in a row that it padded; of a row of nothing else
    /// the first place is taken.
    ///
    /// # Panics
    /// When a row is empty.
    pub(crate) fn last_places(&self, padding: Option<u32>) -> Vec<usize> {
        let last = |row: &[u32]| {
            let (start, end) = (row[0] as usize, row[1] as usize);
            assert!(start < end, "a row has a token to read");
            match padding {
                None => end - 1,
                Some(padding) => {
                    let ids = &self.ids_on_host[start..end];
                    start + ids.iter().rposition(|&id| id != padding).unwrap_or(0)
                }
            }
        };
        self.rows.offsets().windows(2).map(last).collect()
    }

    /// The place of the first token of each row, among all tokens.
    pub(crate) fn first_places(&self) -> Vec<usize> {
        self.rows.offsets()[..self.rows.len()].iter().map(|&place| place as usize).collect()
    }

    /// Places of tokens, to select them by.
    pub(crate) fn places(&self, places: &[usize]) -> Tensor<1, Int> {
        let values: Vec<i32> =
            places.iter().map(|&p| i32::try_from(p).expect("a batch fits i32")).collect();
        Tensor::from_data(TensorData::new(values, [places.len()]), &self.device())
    }

    /// Segment ids of every token.
    pub(crate) fn type_ids_on_host(&self) -> &[u32] {
        &self.type_ids_on_host
    }
}

fn ints(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}
