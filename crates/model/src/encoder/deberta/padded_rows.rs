//! Packed rows padded to the longest and back, for what only ordinary tensor operations express.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use tamis_ops::Rows;

/// Where the tokens of packed rows stand when every row is as long as the longest.
#[derive(Debug, Clone)]
pub(super) struct PaddedRows {
    n_rows: usize,
    longest: usize,
    /// The token in each place, a token of the same row where there is none: `[rows * longest]`.
    tokens: Tensor<1, Int>,
    /// The place of each token: `[tokens]`.
    places: Tensor<1, Int>,
    /// Which places have no token: `[rows, longest]`.
    absent: Tensor<2, Bool>,
}

impl PaddedRows {
    /// Finds the places; empty rows have none.
    pub(super) fn new(rows: &Rows, device: &Device) -> Self {
        let longest = rows.longest().max(1);
        let (mut tokens, mut absent) = (Vec::new(), Vec::new());
        let mut places = Vec::with_capacity(rows.n_tokens());
        for pair in rows.offsets().windows(2).filter(|pair| pair[0] < pair[1]) {
            let (start, length) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            places.extend((0..length).map(|place| (tokens.len() + place) as i64));
            tokens.extend((0..longest).map(|place| (start + place.min(length - 1)) as i64));
            absent.extend((0..longest).map(|place| place >= length));
        }
        let n_rows = tokens.len() / longest;
        let ints = |values: Vec<i64>| {
            let n = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [n]), device)
        };
        let absent = Tensor::from_data(TensorData::new(absent, [n_rows, longest]), device);
        Self { n_rows, longest, tokens: ints(tokens), places: ints(places), absent }
    }

    /// `[tokens, width]` into `[rows, longest, width]` with zeros where there is no token.
    pub(super) fn pad(&self, x: Tensor<2>) -> Tensor<3> {
        let [_, width] = x.dims();
        let dims = [self.n_rows, self.longest, width];
        let absent = self.absent.clone().unsqueeze_dim::<3>(2).expand(dims);
        x.select(0, self.tokens.clone()).reshape(dims).mask_fill(absent, 0.0)
    }

    /// The inverse: `[rows, longest, width]` into `[tokens, width]`.
    pub(super) fn pack(&self, x: Tensor<3>) -> Tensor<2> {
        let [n_rows, longest, width] = x.dims();
        x.reshape([n_rows * longest, width]).select(0, self.places.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_rows_are_zero_beyond_their_end() {
        let device = Device::flex();
        let padded = PaddedRows::new(&Rows::from_lengths(&[1, 2]), &device);
        let x = Tensor::<2>::from_floats([[1.], [2.], [3.]], &device);
        let wide = padded.pad(x.clone());
        let values = wide.clone().into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values, [1., 0., 2., 3.]);
        padded.pack(wide).into_data().assert_eq(&x.into_data(), true);
    }
}
