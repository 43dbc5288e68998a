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
    /// The place of each token in its row: `[tokens]`.
    pub positions: Tensor<1, Int>,
    /// Where the first token of each row stands: `[rows]`.
    pub first_tokens: Tensor<1, Int>,
    /// Where each row starts and ends.
    pub rows: Rows,
    /// The token ids where they came from, for what is decided before anything is computed.
    ids_on_host: Arc<[u32]>,
    /// The segment ids there.
    type_ids_on_host: Arc<[u32]>,
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
        let positions =
            rows.lengths().flat_map(|n| 0..i32::try_from(n).expect("a row fits i32")).collect();
        Self {
            ids: from(batch.ids()),
            type_ids: from(batch.type_ids()),
            positions: ints(positions),
            first_tokens: from(&rows.offsets()[..rows.len()]),
            rows,
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
