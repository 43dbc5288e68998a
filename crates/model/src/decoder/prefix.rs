//! What several rows begin with, computed once: the keys and values of every layer.

use burn::tensor::{Int, Tensor, TensorData};
use tamis_ops::Rows;

use super::layer::DecoderLayer;
use super::{Decoder, Pass};
use crate::dropout_seeds::DropoutSeeds;

/// Queries, keys and values of the first tokens of several rows, turned to their places, layer by layer.
///
/// Tokens see only what is before them, so that these are the same in every row that begins so.
#[derive(Debug, Clone)]
pub(crate) struct Prefix {
    n_tokens: usize,
    layers: Vec<Tensor<2>>,
}

impl Prefix {
    /// How many tokens it has.
    pub(crate) fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// What the tokens of some rows gather from their row and from the prefix before it:
    /// `[tokens, heads * width]`; and the whole rows.
    pub(super) fn context(
        &self,
        layer: (usize, &DecoderLayer),
        qkv: Tensor<2>,
        rows: &Rows,
    ) -> (Tensor<2>, Whole) {
        let whole = self.whole(layer.0, qkv, rows);
        let pass = Pass { rows: &whole.rows, rotary: tamis_ops::Rotary::new(&[], 0, 1.0) };
        let context = layer.1.attend(whole.qkv.clone(), &pass, &mut DropoutSeeds::inference());
        (context.select(0, whole.own.clone()), whole)
    }

    /// Rows with the prefix before each.
    fn whole(&self, layer: usize, qkv: Tensor<2>, rows: &Rows) -> Whole {
        let n = self.n_tokens;
        let device = qkv.device();
        let (mut sources, mut own, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for pair in rows.offsets().windows(2) {
            sources.extend(0..n as i64);
            for token in pair[0]..pair[1] {
                own.push(sources.len() as i64);
                sources.push(n as i64 + i64::from(token));
            }
            lengths.push(n as u32 + pair[1] - pair[0]);
        }
        let ints = |values: Vec<i64>| {
            let n = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [n]), &device)
        };
        let all = Tensor::cat(vec![self.layers[layer].clone(), qkv], 0);
        let qkv = all.select(0, ints(sources));
        Whole { qkv, rows: Rows::from_lengths(&lengths), own: ints(own) }
    }
}

/// Rows with what they begin with.
pub(super) struct Whole {
    /// `[tokens, (heads + 2 * kv_heads) * width]`
    pub(super) qkv: Tensor<2>,
    pub(super) rows: Rows,
    /// Which of the tokens are the rows' own.
    own: Tensor<1, Int>,
}

impl Decoder {
    /// The first layers of what several rows begin with.
    pub(crate) fn prefix(&self, ids: Tensor<1, Int>, n_layers: usize) -> Prefix {
        let n_tokens = ids.dims()[0];
        let rows = Rows::from_lengths(&[n_tokens as u32]);
        let pass = self.pass(&rows);
        let mut x = self.words(ids);
        let mut layers = Vec::with_capacity(n_layers);
        for (index, layer) in self.layers[..n_layers].iter().enumerate() {
            let qkv = layer.queries_keys_values(x.clone(), &pass);
            layers.push(qkv.clone());
            // Of the last layer nothing but keys and values is read.
            if index + 1 < n_layers {
                let context = layer.attend(qkv, &pass, &mut DropoutSeeds::inference());
                x = layer.finish(context, x);
            }
        }
        Prefix { n_tokens, layers }
    }
}
