//! Packed rows cut into blocks of equal length and back, for attention that only ordinary tensor
//! operations can express.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData, activation};
use tamis_ops::{Dropout, Rows, in_f32};

/// Queries and the keys that they may see, in blocks: `[blocks, heads, queries, keys]`.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    n_blocks: usize,
    n_queries: usize,
    n_keys: usize,
    /// The token in each query's place: `[blocks * queries]`.
    queries: Tensor<1, Int>,
    /// The token in each key's place: `[blocks * keys]`.
    keys: Tensor<1, Int>,
    /// The query's place of each token: `[tokens]`.
    places: Tensor<1, Int>,
    /// Which keys a query does not see: `[blocks, 1, queries, keys]`.
    hidden: Tensor<4, Bool>,
}

impl Blocks {
    /// One block a row: every token sees all tokens of its row.
    pub(super) fn rows(rows: &Rows, device: &Device) -> Self {
        let longest = rows.longest();
        Self::new(rows, longest.max(1), longest.max(1), 0, usize::MAX, device)
    }

    /// Every token sees those of its row that are at most `reach` places away.
    ///
    /// # Source
    /// Beltagy et al. 2020, "Longformer", section 3.1 (sliding window); blocks of `reach` queries
    /// beside three times as many keys hold every window whole.
    pub(super) fn windows(rows: &Rows, reach: usize, device: &Device) -> Self {
        let n_queries = reach.max(1);
        Self::new(rows, n_queries, 3 * n_queries, n_queries, reach, device)
    }

    /// Cuts rows into blocks whose keys begin `before` places before their queries.
    fn new(
        rows: &Rows,
        n_queries: usize,
        n_keys: usize,
        before: usize,
        reach: usize,
        device: &Device,
    ) -> Self {
        let (mut queries, mut keys, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
        let mut places = Vec::with_capacity(rows.n_tokens());
        for pair in rows.offsets().windows(2) {
            let (start, length) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            let token = |place: usize| (start + place.min(length - 1)) as i64;
            for first in (0..length).step_by(n_queries) {
                // The place in the row of each key, if it has one.
                let key_places = (0..n_keys)
                    .map(|key| (first + key).checked_sub(before).filter(|&place| place < length));
                let key_places: Vec<Option<usize>> = key_places.collect();
                keys.extend(key_places.iter().map(|place| token(place.unwrap_or(0))));
                for query in first..first + n_queries {
                    if query < length {
                        places.push(queries.len() as i64);
                    }
                    queries.push(token(query));
                    let sees = |place: &Option<usize>| {
                        place.is_some_and(|place| place.abs_diff(query) <= reach)
                    };
                    hidden.extend(key_places.iter().map(|place| !sees(place)));
                }
            }
        }
        let n_blocks = queries.len() / n_queries;
        let ints = |values: Vec<i64>| {
            let n = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [n]), device)
        };
        let hidden = TensorData::new(hidden, [n_blocks, 1, n_queries, n_keys]);
        Self {
            n_blocks,
            n_queries,
            n_keys,
            queries: ints(queries),
            keys: ints(keys),
            places: ints(places),
            hidden: Tensor::from_data(hidden, device),
        }
    }

    /// Keys of a block.
    pub(super) fn n_keys(&self) -> usize {
        self.n_keys
    }

    /// `[tokens, hidden]` into `[blocks, heads, queries, head]`.
    pub(super) fn queries(&self, x: Tensor<2>, n_heads: usize) -> Tensor<4> {
        heads(x.select(0, self.queries.clone()), self.n_blocks, n_heads)
    }

    /// `[tokens, hidden]` into `[blocks, heads, keys, head]`.
    pub(super) fn keys(&self, x: Tensor<2>, n_heads: usize) -> Tensor<4> {
        heads(x.select(0, self.keys.clone()), self.n_blocks, n_heads)
    }

    /// What every token gathers, by scores `[blocks, heads, queries, keys]` and values
    /// `[blocks, heads, keys, head]`: `[tokens, hidden]`.
    pub(super) fn gather(&self, scores: Tensor<4>, values: Tensor<4>, drop: Dropout) -> Tensor<2> {
        let [n_blocks, n_heads, n_queries, n_keys] = scores.dims();
        let width = n_heads * values.dims()[3];
        let hidden = self.hidden.clone().expand([n_blocks, n_heads, n_queries, n_keys]);
        // A finite floor: a query of nothing but padding must not become NaN.
        let probabilities =
            in_f32(scores, |scores| activation::softmax(scores.mask_fill(hidden, -1e9), 3));
        let context = tamis_ops::dropout(probabilities, drop).matmul(values);
        context
            .swap_dims(1, 2)
            .reshape([self.n_blocks * self.n_queries, width])
            .select(0, self.places.clone())
    }

    /// `[tokens, width]` into `[blocks, queries, width]` with zeros where there is no token.
    pub(super) fn padded(&self, x: Tensor<2>) -> Tensor<3> {
        let [_, width] = x.dims();
        let dims = [self.n_blocks, self.n_queries, width];
        // The first key of a block is a token of its row: whoever sees none is none.
        let absent = self.absent().expand(dims);
        x.select(0, self.queries.clone()).reshape(dims).mask_fill(absent, 0.0)
    }

    /// The inverse: `[blocks, queries, width]` into `[tokens, width]`.
    pub(super) fn packed(&self, x: Tensor<3>) -> Tensor<2> {
        let [n_blocks, n_queries, width] = x.dims();
        x.reshape([n_blocks * n_queries, width]).select(0, self.places.clone())
    }

    /// Which queries' places have no token: `[blocks, queries, 1]`.
    fn absent(&self) -> Tensor<3, Bool> {
        let device = self.places.device();
        let n_places = self.n_blocks * self.n_queries;
        let [n_tokens] = self.places.dims();
        let present = Tensor::<1, Int>::zeros([n_places], &device).scatter(
            0,
            self.places.clone(),
            Tensor::ones([n_tokens], &device),
            burn::tensor::IndexingUpdateOp::Add,
        );
        present.equal_elem(0).reshape([self.n_blocks, self.n_queries, 1])
    }
}

fn heads(x: Tensor<2>, n_blocks: usize, n_heads: usize) -> Tensor<4> {
    let [n_places, width] = x.dims();
    x.reshape([n_blocks, n_places / n_blocks.max(1), n_heads, width / n_heads]).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    /// Scaled dot-product attention of one head, with loops.
    fn naive(qkv: &[Vec<f32>], reach: usize) -> Vec<f32> {
        let width = qkv[0].len() / 3;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        (0..qkv.len())
            .flat_map(|i| {
                let seen: Vec<usize> = (0..qkv.len()).filter(|j| j.abs_diff(i) <= reach).collect();
                let weight = |j: &usize| dot(&qkv[i][..width], &qkv[*j][width..2 * width]).exp();
                let sum: f32 = seen.iter().map(weight).sum();
                (0..width)
                    .map(|k| {
                        seen.iter().map(|j| weight(j) * qkv[*j][2 * width + k]).sum::<f32>() / sum
                    })
                    .collect::<Vec<f32>>()
            })
            .collect()
    }

    #[test]
    fn every_token_sees_its_row_within_reach() {
        let device = Device::flex();
        let lengths = [7_u32, 1, 3, 12];
        let rows = Rows::from_lengths(&lengths);
        let width = 4;
        device.seed(3);
        let qkv = Tensor::<2>::random([23, 3 * width], Distribution::Default, &device);
        let flat = qkv.clone().into_data().try_into_vec::<f32>().unwrap();
        let tokens: Vec<Vec<f32>> = flat.chunks(3 * width).map(<[f32]>::to_vec).collect();
        for (blocks, reach) in [
            (Blocks::rows(&rows, &device), usize::MAX),
            (Blocks::windows(&rows, 2, &device), 2),
            (Blocks::windows(&rows, 5, &device), 5),
        ] {
            let part = |index| qkv.clone().narrow(1, index * width, width);
            let scores = blocks.queries(part(0), 1).matmul(blocks.keys(part(1), 1).transpose());
            let found = blocks.gather(scores, blocks.keys(part(2), 1), Dropout::NONE);
            let found = found.into_data().try_into_vec::<f32>().unwrap();
            let mut start = 0;
            let mut expected = Vec::new();
            for length in lengths {
                expected.extend(naive(&tokens[start..start + length as usize], reach));
                start += length as usize;
            }
            assert_eq!(found.len(), expected.len());
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-5, "reach {reach}: {a}, expected {b}");
            }
        }
    }

    #[test]
    fn padded_rows_are_zero_beyond_their_end() {
        let device = Device::flex();
        let blocks = Blocks::rows(&Rows::from_lengths(&[1, 2]), &device);
        let x = Tensor::<2>::from_floats([[1.], [2.], [3.]], &device);
        let padded = blocks.padded(x.clone());
        let values = padded.clone().into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values, [1., 0., 2., 3.]);
        blocks.packed(padded).into_data().assert_eq(&x.into_data(), true);
    }
}
