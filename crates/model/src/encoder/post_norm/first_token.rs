//! Attention of first tokens alone, for inference: their queries meet hidden states instead of keys, and
//! what they gather is hidden states instead of values.
//!
//! A key is `W_k x + b_k`, so that a query's product with it is that of `W_kᵀ q` with `x`, plus a constant
//! that the softmax does not see; and the probabilities' sum of `W_v x + b_v` is `W_v` times their sum of
//! `x`, plus `b_v`. One query a row needs a product of width `hidden` for every token and head, where
//! projecting keys and values takes `2 * hidden` of them.

use burn::tensor::{Tensor, activation};
use tamis_ops::{Activation, PackedLinear, Precision, Rows};

/// The three projections of a layer, as its first tokens need them.
#[derive(Debug, Clone)]
pub(super) struct FirstToken {
    query: PackedLinear,
    /// Scaled: `[heads, width, hidden]`.
    keys: Tensor<3>,
    /// `[heads, hidden, width]`
    values: Tensor<3>,
    /// `[1, hidden]`
    bias: Tensor<2>,
    n_heads: usize,
}

impl FirstToken {
    /// Takes the three projections side by side, or nothing on devices that have no packed maps.
    ///
    /// # Shapes
    /// - `weight`: `[hidden, 3 * hidden]`
    /// - `bias`: `[3 * hidden]`
    pub(super) fn new(weight: Tensor<2>, bias: Tensor<1>, n_heads: usize) -> Option<Self> {
        let [hidden, _] = weight.dims();
        let width = hidden / n_heads;
        let columns = |part: usize| weight.clone().narrow(1, part * hidden, hidden);
        let shift = |part: usize| bias.clone().narrow(0, part * hidden, hidden);
        let by_head = |part: usize| columns(part).reshape([hidden, n_heads, width]).swap_dims(0, 1);
        Some(Self {
            query: PackedLinear::new(columns(0), shift(0), Precision::F32)?,
            keys: by_head(1).swap_dims(1, 2) / (width as f32).sqrt(),
            values: by_head(2),
            bias: shift(2).unsqueeze(),
            n_heads,
        })
    }

    /// What the first token of every row gathers from it.
    ///
    /// # Shapes
    /// - `x`: `[tokens, hidden]`
    /// - `first`: `[rows, hidden]`, those of the first tokens
    /// - result: `[rows, hidden]`
    pub(super) fn context(&self, x: &Tensor<2>, first: Tensor<2>, rows: &Rows) -> Tensor<2> {
        let [n_rows, hidden] = first.dims();
        let width = hidden / self.n_heads;
        let queries = self.query.forward(first, Activation::Identity);
        let queries = queries.reshape([n_rows, self.n_heads, width]).swap_dims(0, 1);
        // `[rows, heads, hidden]`: what a hidden state is multiplied with.
        let probes = queries.matmul(self.keys.clone()).swap_dims(0, 1);
        let gathered = rows.offsets().windows(2).enumerate().map(|(row, pair)| {
            let (start, n_tokens) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            let states = x.clone().narrow(0, start, n_tokens);
            let probe = probes.clone().narrow(0, row, 1).reshape([self.n_heads, hidden]);
            let scores = probe.matmul(states.clone().transpose());
            activation::softmax(scores, 1).matmul(states).unsqueeze_dim::<3>(1)
        });
        let gathered = Tensor::cat(gathered.collect(), 1);
        let context = gathered.matmul(self.values.clone()).swap_dims(0, 1);
        context.reshape([n_rows, hidden]) + self.bias.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Int, TensorData};
    use tamis_ops::{AttentionConfig, Dropout, attention, linear};

    #[test]
    fn it_is_attention_at_first_tokens() {
        let device = Device::flex();
        // Anything without a pattern, the same in every run.
        let random = |shape: [usize; 2]| {
            let values: Vec<f32> =
                (0..shape[0] * shape[1]).map(|i| (i as f32 * 12.9898 + 0.5).sin()).collect();
            Tensor::<2>::from_data(TensorData::new(values, shape), &device)
        };
        let rows = Rows::from_lengths(&[3, 1, 40]);
        let (x, weight) = (random([44, 24]), random([24, 72]));
        let bias: Tensor<1> = random([1, 72]).squeeze_dim(0);
        let qkv = linear(x.clone(), weight.clone(), bias.clone());
        let whole = attention(qkv, &rows, AttentionConfig::bidirectional(3, 8), Dropout::NONE);
        let starts = Tensor::<1, Int>::from_ints([0, 3, 4], &device);
        let expected = whole.select(0, starts.clone());
        let first = FirstToken::new(weight, bias, 3).unwrap();
        let found = first.context(&x, x.clone().select(0, starts), &rows);
        let worst: f32 = (found - expected).abs().max().into_scalar();
        // Values go up to 5, and both sides sum dozens of their products in another order.
        assert!(worst < 1e-5, "{worst}");
    }
}
