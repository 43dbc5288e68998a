//! Disentangled attention: content to content, content to position, and position to content.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::super::post_norm::{LayerShape, PostNormLayer};
use super::padded_rows::PaddedRows;
use crate::dropout_seeds::DropoutSeeds;
use crate::layer::Linear;

/// How attention sees relative positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RelativeShape {
    /// Whether it sees them at all.
    pub(super) is_on: bool,
    /// The furthest relative position that is told apart.
    pub(super) furthest: usize,
    /// Positions share so many buckets on either side.
    pub(super) n_buckets: Option<usize>,
    pub(super) content_to_position: bool,
    pub(super) position_to_content: bool,
    /// Whether positions go through the projections of content.
    pub(super) shares_projections: bool,
    /// Dropout of their embeddings.
    pub(super) dropout: f32,
}

impl RelativeShape {
    /// Embeddings on either side.
    pub(super) fn span(&self) -> usize {
        self.n_buckets.unwrap_or(self.furthest)
    }

    /// The embedding of a distance from a query to a key before it (negative: behind it).
    fn index(&self, distance: i64) -> i64 {
        let distance = match self.n_buckets {
            Some(n_buckets) => log_bucket(distance, n_buckets, self.furthest),
            None => distance,
        };
        let span = self.span() as i64;
        (distance + span).clamp(0, 2 * span - 1)
    }
}

/// Near distances have a bucket of their own, further ones share it by their logarithm.
///
/// # Source
/// `make_log_bucket_position` of transformers, with its roundings.
fn log_bucket(distance: i64, n_buckets: usize, furthest: usize) -> i64 {
    let middle = (n_buckets / 2) as i64;
    if distance.abs() <= middle {
        return distance;
    }
    let ratio = |n: i64| n as f32 / middle as f32;
    let scaled = ratio(distance.abs()).ln() / ratio(furthest as i64 - 1).ln();
    let bucket = (scaled * (middle - 1) as f32).ceil() as i64 + middle;
    bucket * distance.signum()
}

/// The relative positions of one forward pass.
#[derive(Debug, Clone)]
pub(super) struct Relatives {
    /// `[2 * span, hidden]`
    embeddings: Tensor<2>,
    /// Which of them lies between a query and a key: `[1, 1, queries, keys]`.
    between: Tensor<4, Int>,
}

impl Relatives {
    pub(super) fn new(
        embeddings: Tensor<2>,
        shape: &RelativeShape,
        longest: usize,
        device: &Device,
    ) -> Self {
        let longest = longest as i64;
        let by_distance: Vec<i64> = (1 - longest..longest).map(|d| shape.index(d)).collect();
        let between: Vec<i64> = (0..longest)
            .flat_map(|query| (0..longest).map(move |key| (query - key + longest - 1) as usize))
            .map(|place| by_distance[place])
            .collect();
        let dims = [1, 1, longest as usize, longest as usize];
        Self { embeddings, between: Tensor::from_data(TensorData::new(between, dims), device) }
    }
}

/// A post-norm layer with disentangled attention.
#[derive(Module, Debug)]
pub(super) struct DebertaLayer {
    base: PostNormLayer,
    pos_key: Option<Linear>,
    pos_query: Option<Linear>,
    #[module(skip)]
    relative: RelativeShape,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    attention_dropout: f32,
}

impl DebertaLayer {
    pub(super) fn zeros(
        hidden: usize,
        shape: &LayerShape,
        relative: &RelativeShape,
        device: &Device,
    ) -> Self {
        let own = relative.is_on && !relative.shares_projections;
        let projection = || Linear::zeros(hidden, hidden, device);
        Self {
            base: PostNormLayer::zeros(hidden, shape, device),
            pos_key: (own && relative.content_to_position).then(projection),
            pos_query: (own && relative.position_to_content).then(projection),
            relative: *relative,
            n_heads: shape.n_heads,
            attention_dropout: shape.attention_dropout,
        }
    }

    /// What every token gathers from its row: `[tokens, hidden]`.
    pub(super) fn context(
        &self,
        x: Tensor<2>,
        padded: &PaddedRows,
        relatives: Option<&Relatives>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let qkv = self.base.queries_keys_values(x);
        let hidden = qkv.dims()[1] / 3;
        let part = |index: usize| qkv.clone().narrow(1, index * hidden, hidden);
        let kinds = [self.relative.content_to_position, self.relative.position_to_content];
        let n_terms = 1 + kinds.iter().filter(|&&kind| kind).count();
        let scale = 1.0 / ((hidden / self.n_heads * n_terms) as f32).sqrt();
        let queries = padded.heads(part(0) * scale, self.n_heads);
        let keys = padded.heads(part(1), self.n_heads);
        let mut scores = queries.clone().matmul(keys.clone().transpose());
        if let Some(relatives) = relatives {
            let embeddings =
                tamis_ops::dropout(relatives.embeddings.clone(), seeds.next(self.relative.dropout));
            let between = relatives.between.clone().expand(scores.dims());
            if self.relative.content_to_position {
                let keys = self.position_heads(&self.pos_key, 1, embeddings.clone());
                let all = queries.matmul(keys.transpose());
                scores = scores + all.gather(3, between.clone());
            }
            if self.relative.position_to_content {
                let queries = self.position_heads(&self.pos_query, 0, embeddings);
                let all = (keys * scale).matmul(queries.transpose());
                // A key looks at the queries: the same distances, the other way round.
                let gathered = all.gather(3, between.transpose());
                scores = scores + gathered.transpose();
            }
        }
        let dropout = seeds.next(self.attention_dropout);
        padded.gather(scores, padded.heads(part(2), self.n_heads), dropout)
    }

    /// Everything after attention, as in BERT.
    pub(super) fn finish(
        &self,
        context: Tensor<2>,
        x: Tensor<2>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        self.base.finish(context, x, seeds)
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let own = self.pos_key.iter_mut().chain(&mut self.pos_query);
        self.base.linears_mut().into_iter().chain(own).collect()
    }

    /// Positions as keys or queries: `[1, heads, 2 * span, head]`.
    fn position_heads(
        &self,
        own: &Option<Linear>,
        shared_part: usize,
        embeddings: Tensor<2>,
    ) -> Tensor<4> {
        let [n_positions, hidden] = embeddings.dims();
        let projected = match own {
            Some(own) => own.forward(embeddings),
            None => {
                let all = self.base.queries_keys_values(embeddings);
                all.narrow(1, shared_part * hidden, hidden)
            }
        };
        projected.reshape([1, n_positions, self.n_heads, hidden / self.n_heads]).swap_dims(1, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_transformers() {
        // make_log_bucket_position(torch.tensor(distances), 8, 64)
        let distances = [0, 1, 3, 4, 5, 7, 8, 16, 31, 63, 64, -4, -5, -63];
        let expected = [0, 1, 3, 4, 5, 5, 5, 6, 7, 7, 8, -4, -5, -7];
        let found: Vec<i64> = distances.iter().map(|&d| log_bucket(d, 8, 64)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn indices_stay_inside_the_table() {
        let shape = RelativeShape {
            is_on: true,
            furthest: 4,
            n_buckets: None,
            content_to_position: true,
            position_to_content: true,
            shares_projections: true,
            dropout: 0.0,
        };
        assert_eq!([-9, -4, 0, 3, 9].map(|distance| shape.index(distance)), [0, 0, 4, 7, 7]);
    }
}
