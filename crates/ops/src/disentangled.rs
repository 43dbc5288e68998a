//! Disentangled attention: what tokens are and how far they stand from each other are weighed apart.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::attention::composed;
use crate::extension::{RerankOps, Routed, has_kernels};
use crate::{AttentionConfig, Dropout, Rows};

/// Relative positions as tokens meet them.
///
/// # Source
/// He et al. 2021, "DeBERTa", section 3.1.
#[derive(Debug, Clone)]
pub struct RelativePositions {
    /// Positions as keys, which queries meet ("content to position"): `[positions, heads * width]`.
    pub keys: Option<Tensor<2>>,
    /// Positions as queries, which meet keys ("position to content"): `[positions, heads * width]`.
    pub queries: Option<Tensor<2>>,
    /// Which position is which distance.
    pub distances: Distances,
}

/// The position of every distance of a query from a key.
#[derive(Debug, Clone)]
pub struct Distances {
    /// From the query farthest before its key to the one farthest behind it.
    positions: Arc<[u32]>,
    /// Those around distance 0 where the next distance is the next position.
    near: Range<usize>,
}

impl Distances {
    /// Takes the positions of the distances `1 - longest ..= longest - 1`, for rows of up to `longest` tokens.
    ///
    /// # Panics
    /// When their number is even, or they ever decrease.
    #[must_use]
    pub fn new(positions: &[u32]) -> Self {
        assert!(!positions.len().is_multiple_of(2), "as many distances before as behind");
        assert!(positions.is_sorted(), "farther behind is a later position");
        let middle = positions.len() / 2;
        let follows = |&index: &usize| positions[index] + 1 == positions[index + 1];
        let start = middle - (0..middle).rev().take_while(follows).count();
        let end = middle + (middle..positions.len() - 1).take_while(follows).count() + 1;
        Self { positions: positions.into(), near: start..end }
    }

    /// Tokens of the longest row that they are enough for.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.positions.len() / 2 + 1
    }

    /// Where the positions of a query and some keys stand, the last key first.
    fn places(&self, query: usize, keys: Range<usize>) -> Range<usize> {
        let first = query + self.longest() - keys.end;
        first..first + keys.len()
    }

    /// The positions of a query and some keys, the last key first.
    pub(crate) fn to_keys(&self, query: usize, keys: Range<usize>) -> &[u32] {
        &self.positions[self.places(query, keys)]
    }

    /// Which of them follow each other.
    pub(crate) fn near(&self, query: usize, keys: Range<usize>) -> Range<usize> {
        let places = self.places(query, keys);
        let within = |place: usize| place.clamp(places.start, places.end) - places.start;
        within(self.near.start)..within(self.near.end)
    }

    /// The position between each query and key of `n` tokens: `[1, 1, queries, keys]`.
    fn between(&self, n: usize, device: &Device) -> Tensor<4, Int> {
        let of_query = |query| self.to_keys(query, 0..n).iter().rev();
        let all = (0..n).flat_map(of_query).map(|&position| i64::from(position)).collect();
        Tensor::from_data(TensorData::new::<i64, _>(all, [1, 1, n, n]), device)
    }
}

/// Multi-head self-attention without padding, where the score of a query and a key is the sum of their
/// product, the query's with the position between them, and the key's with it, times the config's scale.
///
/// # Shapes
/// - `qkv`: as in [`attention`](crate::attention())
/// - result: `[tokens, heads * width]`
///
/// # Panics
/// As [`attention`](crate::attention()); when heads share keys, when positions have another width than
/// the heads together, or when a row is longer than distances are known for.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use tamis_ops::{
///     AttentionConfig, Distances, Dropout, RelativePositions, Rows, disentangled_attention,
/// };
///
/// let random = |n| Tensor::<2>::random([n, 8], Distribution::Default, &Device::flex());
/// let qkv = Tensor::cat(vec![random(7), random(7), random(7)], 1);
/// // Three tokens: distances from -2 to 2, of which the farthest are not told apart.
/// let distances = Distances::new(&[0, 0, 1, 2, 2]);
/// let positions =
///     RelativePositions { keys: Some(random(3)), queries: Some(random(3)), distances };
/// let config = AttentionConfig { scale: 1.0 / 12.0_f32.sqrt(), ..AttentionConfig::bidirectional(2, 4) };
/// let rows = Rows::from_lengths(&[3, 3, 1]);
/// let context = disentangled_attention(qkv, &positions, &rows, config, Dropout::NONE);
/// assert_eq!(context.dims(), [7, 8]);
/// ```
#[must_use]
pub fn disentangled_attention(
    qkv: Tensor<2>,
    positions: &RelativePositions,
    rows: &Rows,
    config: AttentionConfig,
    drop: Dropout,
) -> Tensor<2> {
    let [n_tokens, width] = qkv.dims();
    assert_eq!(config.n_heads, config.n_kv_heads, "every head has its keys");
    assert_eq!(width, config.qkv_width(), "queries, keys and values side by side");
    assert_eq!(n_tokens, rows.n_tokens(), "rows cover the tokens");
    assert!(
        rows.longest() <= positions.distances.longest(),
        "the distances of every row are known"
    );
    for part in [&positions.keys, &positions.queries].into_iter().flatten() {
        assert_eq!(part.dims()[1], width / 3, "positions are as wide as the heads together");
    }
    let device = qkv.device();
    if has_kernels(&device, qkv.dtype()) && !device.is_autodiff() && drop.is_none() {
        // Any tensor stands for one that is not there.
        let stands = |part: &Option<Tensor<2>>| part.clone().unwrap_or_else(|| qkv.clone());
        let met = Met {
            keys: positions.keys.is_some(),
            queries: positions.queries.is_some(),
            distances: positions.distances.clone(),
        };
        return Tensor::from_dispatch(Routed::tamis_disentangled_attention(
            qkv.clone().into_dispatch(),
            stands(&positions.keys).into_dispatch(),
            stands(&positions.queries).into_dispatch(),
            rows.clone(),
            config,
            met,
        ));
    }
    let between = |n| positions.distances.between(n, &device);
    // `[positions, heads * width]` as `[1, heads, width, positions]`.
    let columns = |part: &Tensor<2>| -> Tensor<4> {
        let n_positions = part.dims()[0];
        let heads = part.clone().reshape([1, n_positions, config.n_heads, config.width]);
        heads.permute([0, 2, 3, 1])
    };
    composed(qkv, rows, config, drop, |queries, keys, mut scores| {
        let [n_rows, n_heads, n, _] = scores.dims();
        let between = between(n).expand([n_rows, n_heads, n, n]);
        if let Some(part) = &positions.keys {
            scores = scores + queries.matmul(columns(part)).gather(3, between.clone());
        }
        if let Some(part) = &positions.queries {
            let all = (keys * config.scale).matmul(columns(part));
            // A key looks at the queries: the same distances, the other way round.
            scores = scores + all.gather(3, between.transpose()).transpose();
        }
        scores
    })
}

/// Which positions are met, and which of them is which distance.
#[derive(Debug, Clone)]
pub(crate) struct Met {
    pub(crate) keys: bool,
    pub(crate) queries: bool,
    pub(crate) distances: Distances,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    /// Distances beyond 20 share positions by fours, beyond 60 all the last one.
    fn distances(longest: i64) -> Distances {
        let position = |distance: i64| {
            let near = distance.abs().min(20);
            let far = (distance.abs().min(60) - near) / 4;
            (distance.signum() * (near + far) + 30) as u32
        };
        Distances::new(&(1 - longest..longest).map(position).collect::<Vec<_>>())
    }

    #[test]
    fn kernel_equals_the_composition() {
        // Rows longer than a panel of positions, more distances than the longest needs.
        let rows = Rows::from_lengths(&[5, 1, 150, 0, 16, 69]);
        let plain = AttentionConfig::bidirectional(3, 8);
        let qkv = random([241, 72], 1) * 2.0;
        for config in [plain, plain.within(9), AttentionConfig { cap: Some(0.7), ..plain }] {
            for [keys, queries] in [[true, true], [true, false], [false, true], [false, false]] {
                let positions = RelativePositions {
                    keys: keys.then(|| random([61, 24], 2) * 2.0),
                    queries: queries.then(|| random([61, 24], 3) * 2.0),
                    distances: distances(160),
                };
                let attend = |qkv, positions: &RelativePositions| {
                    disentangled_attention(qkv, positions, &rows, config, Dropout::NONE)
                };
                let found = attend(qkv.clone(), &positions);
                // Composed, as where a gradient is wanted.
                let on_tape = RelativePositions {
                    keys: positions.keys.clone().map(Tensor::autodiff),
                    queries: positions.queries.clone().map(Tensor::autodiff),
                    ..positions
                };
                let expected = attend(qkv.clone().autodiff(), &on_tape).inner();
                let worst = (found - expected).abs().max().into_scalar::<f32>();
                assert!(worst < 3e-5, "{config:?}, {keys}, {queries}: {worst:e}");
            }
        }
    }

    #[test]
    fn without_positions_it_is_attention() {
        let rows = Rows::from_lengths(&[5, 70]);
        let config = AttentionConfig::bidirectional(2, 4);
        let none = RelativePositions { keys: None, queries: None, distances: distances(70) };
        assert_same(
            [random([75, 24], 1)],
            |[qkv]| disentangled_attention(qkv, &none, &rows, config, Dropout::NONE),
            |[qkv]| crate::attention(qkv, &rows, config, Dropout::NONE),
            3e-5,
        );
    }

    #[test]
    fn scores_are_the_sum_of_three_products() {
        // One head of one element; the second token has a key alone.
        let config = AttentionConfig { scale: 0.5, ..AttentionConfig::bidirectional(1, 1) };
        let device = Device::flex();
        let qkv = Tensor::from_floats([[2.0, 3.0, 1.0], [0.0, 5.0, 0.0]], &device);
        let positions = RelativePositions {
            // Behind: position 0; itself: 1; before: 2.
            keys: Some(Tensor::from_floats([[0.1], [0.2], [0.4]], &device)),
            queries: Some(Tensor::from_floats([[0.3], [0.5], [0.7]], &device)),
            distances: Distances::new(&[0, 1, 2]),
        };
        let rows = Rows::from_lengths(&[2]);
        let found = disentangled_attention(qkv, &positions, &rows, config, Dropout::NONE);
        let probability = |own: f32, other: f32| 1.0 / (1.0 + (other - own).exp());
        // The first token stands one before the second: distance -1, position 0.
        let first = [0.5 * (6.0 + 2.0 * 0.2 + 3.0 * 0.5), 0.5 * (10.0 + 2.0 * 0.1 + 5.0 * 0.3)];
        let second = [0.5 * (3.0 * 0.7), 0.5 * (5.0 * 0.5)];
        let expected =
            [first, second].map(|[to_first, to_second]| probability(to_first, to_second));
        let found: Vec<f32> = found.into_data().try_into_vec().unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }
}
