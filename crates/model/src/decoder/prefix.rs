//! What several rows begin with, computed once: the keys and values of every layer.

use burn::tensor::{Int, Tensor};
use tamis_ops::Rows;

use super::Decoder;
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

    /// What one layer keeps: `[tokens, (heads + 2 * kv_heads) * width]`.
    pub(super) fn layer(&self, index: usize) -> Tensor<2> {
        self.layers[index].clone()
    }
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
