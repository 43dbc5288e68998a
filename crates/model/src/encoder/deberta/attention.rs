//! Disentangled attention: content to content, content to position, and position to content.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use tamis_ops::{AttentionConfig, Distances, RelativePositions, Rows};

use super::super::post_norm::{LayerShape, PostNormLayer};
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
    /// Those between tokens of the longest row.
    needed: Range<usize>,
    /// Which of these is which distance.
    distances: Distances,
}

impl Relatives {
    /// Takes all embeddings, `[2 * span, hidden]`, for rows of up to `longest` tokens.
    pub(super) fn new(embeddings: Tensor<2>, shape: &RelativeShape, longest: usize) -> Self {
        let longest = longest.max(1) as i64;
        let indices = (1 - longest..longest).map(|distance| shape.index(distance) as u32);
        let mut indices: Vec<u32> = indices.collect();
        let (first, last) = (indices[0], indices[indices.len() - 1]);
        indices.iter_mut().for_each(|index| *index -= first);
        let needed = first as usize..last as usize + 1;
        Self { embeddings, needed, distances: Distances::new(&indices) }
    }
}

/// Positions as the keys and queries of one layer: `[positions, hidden]`.
#[derive(Debug, Clone)]
struct Projected {
    keys: Option<Tensor<2>>,
    queries: Option<Tensor<2>>,
}

impl Projected {
    fn narrow(&self, positions: &Range<usize>) -> Self {
        let narrow = |part: &Option<Tensor<2>>| {
            let part = part.clone()?;
            Some(part.narrow(0, positions.start, positions.len()))
        };
        Self { keys: narrow(&self.keys), queries: narrow(&self.queries) }
    }
}

/// A post-norm layer with disentangled attention.
#[derive(Module, Debug)]
pub(super) struct DebertaLayer {
    base: PostNormLayer,
    pos_key: Option<Linear>,
    pos_query: Option<Linear>,
    /// What its maps make of all positions, once they no longer change.
    #[module(skip)]
    projected: Option<Projected>,
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
            projected: None,
            relative: *relative,
            n_heads: shape.n_heads,
            attention_dropout: shape.attention_dropout,
        }
    }

    /// What every token gathers from its row: `[tokens, hidden]`.
    pub(super) fn context(
        &self,
        x: Tensor<2>,
        rows: &Rows,
        relatives: Option<&Relatives>,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let qkv = self.base.queries_keys_values(x);
        let width = qkv.dims()[1] / 3 / self.n_heads;
        let kinds = [self.relative.content_to_position, self.relative.position_to_content];
        let n_terms = 1 + kinds.iter().filter(|&&kind| kind).count();
        let scale = 1.0 / ((width * n_terms) as f32).sqrt();
        let plain = AttentionConfig::bidirectional(self.n_heads, width);
        let config = AttentionConfig { scale, ..plain };
        let Some(relatives) = relatives else {
            let dropout = seeds.next(self.attention_dropout);
            return tamis_ops::attention(qkv, rows, config, dropout);
        };
        let Projected { keys, queries } = match &self.projected {
            Some(all) => all.narrow(&relatives.needed),
            None => {
                let Range { start, end } = relatives.needed;
                let embeddings = relatives.embeddings.clone().narrow(0, start, end - start);
                let dropout = seeds.next(self.relative.dropout);
                self.project(tamis_ops::dropout(embeddings, dropout))
            }
        };
        let positions = RelativePositions { keys, queries, distances: relatives.distances.clone() };
        let dropout = seeds.next(self.attention_dropout);
        tamis_ops::disentangled_attention(qkv, &positions, rows, config, dropout)
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

    /// Positions as keys and queries: by maps of their own, or by those of the content.
    fn project(&self, embeddings: Tensor<2>) -> Projected {
        let RelativeShape { content_to_position, position_to_content, .. } = self.relative;
        if self.relative.shares_projections {
            let all = self.base.queries_keys_values(embeddings);
            let hidden = all.dims()[1] / 3;
            let part = |index: usize| all.clone().narrow(1, index * hidden, hidden);
            return Projected {
                keys: content_to_position.then(|| part(1)),
                queries: position_to_content.then(|| part(0)),
            };
        }
        let by = |map: &Option<Linear>| Some(map.as_ref()?.forward(embeddings.clone()));
        Projected { keys: by(&self.pos_key), queries: by(&self.pos_query) }
    }

    /// Projects all positions, `[2 * span, hidden]`, once for all: its maps must not change afterwards.
    pub(super) fn keep_positions(&mut self, embeddings: Tensor<2>) {
        self.projected = Some(self.project(embeddings));
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
