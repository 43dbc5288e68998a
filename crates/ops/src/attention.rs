//! Self-attention over packed rows: every token sees the tokens of its own row and no others.

use burn::tensor::{Bool, Int, Tensor, TensorData, activation};

use crate::dropout::{Dropout, dropout};
use crate::extension::{RerankOps, Routed, has_kernels};
use crate::rows::Rows;
use crate::single::in_f32;

/// Bidirectional multi-head self-attention without padding.
///
/// Dropout applies to the attention probabilities, as in BERT.
///
/// # Shapes
/// - `qkv`: `[tokens, 3 * hidden]`, queries, keys and values side by side, heads contiguous in each
/// - result: `[tokens, hidden]`
///
/// # Panics
/// When the width is not a multiple of `3 * n_heads` or `rows` does not cover the tokens.
///
/// # Source
/// Vaswani et al. 2017, "Attention Is All You Need", section 3.2; scale `1 / sqrt(hidden / n_heads)`.
#[must_use]
pub fn attention(qkv: Tensor<2>, rows: &Rows, n_heads: usize, drop: Dropout) -> Tensor<2> {
    let [n_tokens, width] = qkv.dims();
    assert_eq!(width % (3 * n_heads), 0, "three times the heads divide the width");
    assert_eq!(n_tokens, rows.n_tokens(), "rows cover the tokens");
    if has_kernels(&qkv.device(), qkv.dtype()) {
        return Tensor::from_dispatch(Routed::tamis_attention(
            qkv.into_dispatch(),
            rows.clone(),
            n_heads,
            drop,
        ));
    }
    composed(qkv, rows, n_heads, drop)
}

/// The same on any device: rows are padded to the longest, masked, and packed again.
fn composed(qkv: Tensor<2>, rows: &Rows, n_heads: usize, drop: Dropout) -> Tensor<2> {
    let device = qkv.device();
    let [_, width] = qkv.dims();
    let (n_rows, longest, hidden) = (rows.len(), rows.longest(), width / 3);
    let head = hidden / n_heads;

    // Which token fills each place of the padded batch, and which place holds each token.
    let mut source = vec![0_i64; n_rows * longest];
    let mut padding = vec![true; n_rows * longest];
    let mut places = Vec::with_capacity(rows.n_tokens());
    for (row_idx, pair) in rows.offsets().windows(2).enumerate() {
        for (position, token) in (pair[0]..pair[1]).enumerate() {
            let place = row_idx * longest + position;
            source[place] = i64::from(token);
            padding[place] = false;
            places.push(i64::try_from(place).expect("a batch fits i64"));
        }
    }
    let n_places = source.len();
    let n_tokens = places.len();
    let source = Tensor::<1, Int>::from_data(TensorData::new(source, [n_places]), &device);
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [n_tokens]), &device);
    let padding =
        Tensor::<4, Bool>::from_data(TensorData::new(padding, [n_rows, 1, 1, longest]), &device)
            .expand([n_rows, n_heads, longest, longest]);

    let padded = qkv.select(0, source).reshape([n_rows, longest, 3, n_heads, head]);
    let part = |index| -> Tensor<4> {
        padded.clone().narrow(2, index, 1).squeeze_dim::<4>(2).swap_dims(1, 2)
    };
    let scale = 1.0 / (head as f32).sqrt();
    let scores = (part(0) * scale).matmul(part(1).transpose());
    // A finite floor: a row of nothing but padding must not become NaN.
    let probabilities =
        in_f32(scores, |scores| activation::softmax(scores.mask_fill(padding, -1e9), 3));
    let context = dropout(probabilities, drop).matmul(part(2));
    context.swap_dims(1, 2).reshape([n_places, hidden]).select(0, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    #[test]
    fn kernel_and_its_gradient_equal_the_composition() {
        let rows = Rows::from_lengths(&[5, 1, 37, 0, 16]);
        let qkv = random([59, 3 * 24], 1) * 2.0;
        assert_same(
            [qkv],
            |[qkv]| attention(qkv, &rows, 3, Dropout::NONE),
            |[qkv]| composed(qkv, &rows, 3, Dropout::NONE),
            2e-5,
        );
    }

    #[test]
    fn gradient_with_dropout_is_the_slope() {
        // Central differences: the masks are the same at every call, so the function is smooth.
        let rows = Rows::from_lengths(&[4, 3]);
        let drop = Dropout { probability: 0.3, seed: 11 };
        let device = burn::tensor::Device::flex();
        let weights = random([7, 8], 2);
        let value = |qkv: Tensor<2>| (attention(qkv, &rows, 2, drop) * weights.clone()).sum();
        let qkv = random([7, 24], 1);
        let leaf = qkv.clone().autodiff().require_grad();
        let loss = (attention(leaf.clone(), &rows, 2, drop) * weights.clone().autodiff()).sum();
        let grad = leaf.grad(&loss.backward()).unwrap().into_data().try_into_vec::<f32>().unwrap();
        for i in (0..grad.len()).step_by(5) {
            let mut bump = vec![0.0_f32; grad.len()];
            bump[i] = 1e-2;
            let bump = Tensor::<2>::from_data(TensorData::new(bump, [7, 24]), &device);
            let ahead: f32 = value(qkv.clone() + bump.clone()).into_scalar();
            let behind: f32 = value(qkv.clone() - bump).into_scalar();
            let slope = (ahead - behind) / 2e-2;
            assert!((slope - grad[i]).abs() < 2e-3, "element {i}: slope {slope}, grad {}", grad[i]);
        }
    }

    #[test]
    fn rows_do_not_see_each_other() {
        let qkv = random([9, 24], 1);
        let together = attention(qkv.clone(), &Rows::from_lengths(&[4, 5]), 2, Dropout::NONE);
        let alone = attention(qkv.narrow(0, 4, 5), &Rows::from_lengths(&[5]), 2, Dropout::NONE);
        together.narrow(0, 4, 5).into_data().assert_eq(&alone.into_data(), true);
    }
}
