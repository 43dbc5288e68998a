//! The hidden states of a row's tokens into one vector per row.

use burn::tensor::{DType, Int, Tensor, TensorData};
use tamis_ops::Rows;

/// Which hidden states of a row a head reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// That of the first token.
    First,
    /// The mean of all.
    Mean,
    /// That of the last token, passing over tokens at the end that stand for padding elsewhere.
    Last {
        /// The token that is passed over.
        padding: Option<u32>,
    },
}

/// The mean of every row; that of an empty row is 0.
///
/// # Shapes
/// - `tokens`: `[tokens, hidden]`
/// - result: `[rows, hidden]`
pub(crate) fn mean(tokens: Tensor<2>, rows: &Rows) -> Tensor<2> {
    let device = tokens.device();
    let [_, hidden] = tokens.dims();
    let (n_rows, longest) = (rows.len(), rows.longest());
    let mut sources = Vec::with_capacity(n_rows * longest);
    let mut weights = Vec::with_capacity(n_rows * longest);
    for pair in rows.offsets().windows(2) {
        let n_tokens = pair[1] - pair[0];
        for place in 0..longest as u32 {
            let present = place < n_tokens;
            sources.push(if present { i64::from(pair[0] + place) } else { 0 });
            weights.push(if present { 1.0 / n_tokens as f32 } else { 0.0 });
        }
    }
    let n_places = sources.len();
    let sources = Tensor::<1, Int>::from_data(TensorData::new(sources, [n_places]), &device);
    let weights = Tensor::<3>::from_data(TensorData::new(weights, [n_rows, longest, 1]), &device);
    let padded = tokens.cast(DType::F32).select(0, sources).reshape([n_rows, longest, hidden]);
    (padded * weights).sum_dim(1).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_mean() {
        let device = burn::tensor::Device::flex();
        let tokens = Tensor::<2>::from_floats([[1., 2.], [3., 4.], [5., 9.]], &device);
        let means = mean(tokens, &Rows::from_lengths(&[2, 1]));
        assert_eq!(means.into_data().try_into_vec::<f32>().unwrap(), [2., 3., 5., 9.]);
    }
}
