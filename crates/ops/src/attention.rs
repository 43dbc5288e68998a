//! Self-attention over packed rows: every token sees the tokens of its own row and no others.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData, activation};

use crate::dropout::{Dropout, dropout};
use crate::extension::{RerankOps, Routed, has_kernels};
use crate::rows::Rows;
use crate::single::in_f32;

/// How the queries of a row meet its keys.
///
/// # Source
/// Vaswani et al. 2017, "Attention Is All You Need", section 3.2; shared keys: Ainslie et al. 2023,
/// "GQA"; windows: Beltagy et al. 2020, "Longformer", section 3.1; the cap: Gemma Team 2024,
/// "Gemma 2", section 2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionConfig {
    /// Heads of queries.
    pub n_heads: usize,
    /// Heads of keys and values. Each serves `n_heads / n_kv_heads` heads of queries, neighbours.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub width: usize,
    /// The factor of scores.
    pub scale: f32,
    /// How many places back a query sees.
    pub before: usize,
    /// How many places ahead a query sees.
    pub after: usize,
    /// Where set, a score becomes `cap * tanh(score / cap)`.
    pub cap: Option<f32>,
}

impl AttentionConfig {
    /// Every token sees its whole row; scores are divided by the root of a head's width.
    #[must_use]
    pub fn bidirectional(n_heads: usize, width: usize) -> Self {
        Self {
            n_heads,
            n_kv_heads: n_heads,
            width,
            scale: 1.0 / (width as f32).sqrt(),
            before: usize::MAX,
            after: usize::MAX,
            cap: None,
        }
    }

    /// Every token sees itself and those before it; keys may be shared.
    #[must_use]
    pub fn causal(n_heads: usize, n_kv_heads: usize, width: usize) -> Self {
        Self { n_kv_heads, after: 0, ..Self::bidirectional(n_heads, width) }
    }

    /// The same, seeing no farther than `reach` places to either side.
    #[must_use]
    pub fn within(self, reach: usize) -> Self {
        Self { before: self.before.min(reach), after: self.after.min(reach), ..self }
    }

    /// Width of queries, keys and values side by side.
    #[must_use]
    pub fn qkv_width(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.width
    }

    /// The first column of the query, key and value of a head of queries.
    pub(crate) fn columns(&self, head_idx: usize) -> [usize; 3] {
        let kv = head_idx / (self.n_heads / self.n_kv_heads);
        let keys = self.n_heads + kv;
        [head_idx, keys, keys + self.n_kv_heads].map(|head| head * self.width)
    }
}

/// Multi-head self-attention without padding.
///
/// Dropout applies to the attention probabilities, as in BERT.
///
/// # Shapes
/// - `qkv`: `[tokens, (heads + 2 * kv_heads) * width]`, queries, keys and values side by side, heads
///   contiguous in each
/// - result: `[tokens, heads * width]`
///
/// # Panics
/// When `qkv` has another width, heads cannot share keys evenly, or `rows` does not cover the tokens.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use tamis_ops::{AttentionConfig, Dropout, Rows, attention};
///
/// let qkv = Tensor::<2>::random([7, 3 * 8], Distribution::Default, &Device::flex());
/// let config = AttentionConfig::bidirectional(2, 4);
/// let context = attention(qkv, &Rows::from_lengths(&[3, 4]), config, Dropout::NONE);
/// assert_eq!(context.dims(), [7, 8]);
/// ```
#[must_use]
pub fn attention(qkv: Tensor<2>, rows: &Rows, config: AttentionConfig, drop: Dropout) -> Tensor<2> {
    let [n_tokens, width] = qkv.dims();
    assert!(config.n_heads.is_multiple_of(config.n_kv_heads), "heads share keys evenly");
    assert_eq!(width, config.qkv_width(), "queries, keys and values side by side");
    assert_eq!(n_tokens, rows.n_tokens(), "rows cover the tokens");
    if has_kernels(&qkv.device(), qkv.dtype()) {
        return Tensor::from_dispatch(Routed::tamis_attention(
            qkv.into_dispatch(),
            rows.clone(),
            config,
            drop,
        ));
    }
    composed(qkv, rows, config, drop, |_, _, scores| scores)
}

/// How many tokens stand before every row, and which token of each gathers.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) n_before: usize,
    pub(crate) queries: Option<Vec<usize>>,
}

/// The same where less is to be computed: rows that go on where a common beginning ends, and rows of which one
/// token gathers. Without a gradient and dropout nothing else is computed.
///
/// # Shapes
/// - `prefix`: `[tokens, (heads + 2 * kv_heads) * width]`, before every row, if anything is
/// - `qkv`: as in [`attention`], of the rows without the prefix
/// - `queries`: the token of every row that gathers, counted over the tokens of `qkv`; without it all gather
/// - result: `[tokens or rows, heads * width]`
///
/// # Panics
/// As [`attention`], or when there is not one query a row, among the row's own tokens.
#[must_use]
pub fn attention_after(
    prefix: Option<Tensor<2>>,
    qkv: Tensor<2>,
    rows: &Rows,
    config: AttentionConfig,
    queries: Option<Vec<usize>>,
    drop: Dropout,
) -> Tensor<2> {
    let [n_tokens, width] = qkv.dims();
    let [n_before, prefix_width] = prefix.as_ref().map_or([0, width], Tensor::dims);
    assert_eq!([width, prefix_width], [config.qkv_width(); 2], "queries, keys and values");
    assert_eq!(n_tokens, rows.n_tokens(), "rows cover the tokens");
    if let Some(queries) = &queries {
        assert_eq!(queries.len(), rows.len(), "one query a row");
    }
    let device = qkv.device();
    if has_kernels(&device, qkv.dtype()) && !device.is_autodiff() && drop.is_none() {
        // A tensor without elements is none on every backend: any other stands for it.
        let prefix = prefix.unwrap_or_else(|| qkv.clone());
        let (prefix, qkv) = (prefix.into_dispatch(), qkv.into_dispatch());
        let part = Part { n_before, queries };
        let context = Routed::tamis_attention_after(prefix, qkv, rows.clone(), config, part);
        return Tensor::from_dispatch(context);
    }
    // Where a row's own tokens stand behind its prefix and all before.
    let own = rows.lengths().enumerate().flat_map(|(row, n)| vec![n_before * (row + 1); n]);
    let own: Vec<usize> = own.enumerate().map(|(token, before)| token + before).collect();
    let chosen = match queries {
        Some(queries) => queries.into_iter().map(|query| own[query]).collect(),
        None => own,
    };
    let (whole, whole_rows) = match prefix {
        Some(prefix) => after_prefix(prefix, qkv, rows),
        None => (qkv, rows.clone()),
    };
    let context = attention(whole, &whole_rows, config, drop);
    context.select(0, places(chosen, &device))
}

/// Rows with what they begin with before each.
///
/// # Shapes
/// - `prefix`: `[prefix, width]`
/// - `tokens`: `[tokens, width]`
/// - result: `[tokens + rows * prefix, width]`
#[must_use]
pub fn after_prefix(prefix: Tensor<2>, tokens: Tensor<2>, rows: &Rows) -> (Tensor<2>, Rows) {
    let ([n, _], device) = (prefix.dims(), tokens.device());
    let (mut sources, mut lengths) = (Vec::new(), Vec::new());
    for pair in rows.offsets().windows(2) {
        sources.extend(0..n);
        sources.extend((pair[0]..pair[1]).map(|token| n + token as usize));
        lengths.push(n as u32 + pair[1] - pair[0]);
    }
    let whole = Tensor::cat(vec![prefix, tokens], 0).select(0, places(sources, &device));
    (whole, Rows::from_lengths(&lengths))
}

fn places(places: Vec<usize>, device: &Device) -> Tensor<1, Int> {
    let n = places.len();
    let places = places.into_iter().map(|place| place as i64).collect();
    Tensor::from_data(TensorData::new::<i64, _>(places, [n]), device)
}

/// The same on any device: rows are padded to the longest, masked, and packed again. `scored` makes the scores,
/// `[rows, heads, longest, longest]`, of scaled queries, keys and their products.
pub(crate) fn composed(
    qkv: Tensor<2>,
    rows: &Rows,
    config: AttentionConfig,
    drop: Dropout,
    scored: impl FnOnce(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>,
) -> Tensor<2> {
    let device = qkv.device();
    let AttentionConfig { n_heads, n_kv_heads, width, .. } = config;
    let (n_rows, longest) = (rows.len(), rows.longest());

    // Which token fills each place of the padded batch, and which place holds each token.
    let mut source = vec![0_i64; n_rows * longest];
    let mut places = Vec::with_capacity(rows.n_tokens());
    let mut hidden = Vec::with_capacity(n_rows * longest * longest);
    for (row_idx, pair) in rows.offsets().windows(2).enumerate() {
        let length = (pair[1] - pair[0]) as usize;
        for (position, token) in (pair[0]..pair[1]).enumerate() {
            let place = row_idx * longest + position;
            source[place] = i64::from(token);
            places.push(i64::try_from(place).expect("a batch fits i64"));
        }
        for query in 0..longest {
            let far = |key: usize| {
                query.saturating_sub(key) > config.before
                    || key.saturating_sub(query) > config.after
            };
            hidden.extend((0..longest).map(|key| key >= length || far(key)));
        }
    }
    let (n_places, n_tokens) = (source.len(), places.len());
    let source = Tensor::<1, Int>::from_data(TensorData::new(source, [n_places]), &device);
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [n_tokens]), &device);
    let hidden = TensorData::new(hidden, [n_rows, 1, longest, longest]);
    let hidden =
        Tensor::<4, Bool>::from_data(hidden, &device).expand([n_rows, n_heads, longest, longest]);

    let padded = qkv.select(0, source);
    let part = |first: usize, n: usize| -> Tensor<4> {
        let columns = padded.clone().narrow(1, first * width, n * width);
        columns.reshape([n_rows, longest, n, width]).swap_dims(1, 2)
    };
    // Each head of keys once for every head of queries that it serves.
    let shared = |first: usize| {
        let group = n_heads / n_kv_heads;
        part(first, n_kv_heads)
            .unsqueeze_dim::<5>(2)
            .expand([n_rows, n_kv_heads, group, longest, width])
            .reshape([n_rows, n_heads, longest, width])
    };
    let (keys, values) = (shared(n_heads), shared(n_heads + n_kv_heads));
    let queries = part(0, n_heads) * config.scale;
    let scores = scored(queries.clone(), keys.clone(), queries.matmul(keys.transpose()));
    let scores = match config.cap {
        Some(cap) => (scores / cap).tanh() * cap,
        None => scores,
    };
    // A finite floor: a row of nothing but padding must not become NaN.
    let probabilities =
        in_f32(scores, |scores| activation::softmax(scores.mask_fill(hidden, -1e9), 3));
    let context = dropout(probabilities, drop).matmul(values);
    context.swap_dims(1, 2).reshape([n_places, n_heads * width]).select(0, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    #[test]
    fn kernel_and_its_gradient_equal_the_composition() {
        // Rows longer than a panel of keys, so that windows leave some out.
        let rows = Rows::from_lengths(&[5, 1, 150, 0, 16, 69]);
        let plain = AttentionConfig::bidirectional(3, 8);
        let shared = AttentionConfig::causal(4, 2, 8);
        for config in [
            plain,
            plain.within(7),
            plain.within(64),
            AttentionConfig { n_kv_heads: 1, ..plain },
            shared,
            shared.within(20),
            AttentionConfig { cap: Some(0.7), scale: 0.9, ..shared },
            AttentionConfig { cap: Some(2.0), ..plain.within(3) },
        ] {
            let qkv = random([241, config.qkv_width()], 1) * 2.0;
            assert_same(
                [qkv],
                |[qkv]| attention(qkv, &rows, config, Dropout::NONE),
                |[qkv]| composed(qkv, &rows, config, Dropout::NONE, |_, _, scores| scores),
                3e-5,
            );
        }
    }

    #[test]
    fn less_is_the_same() {
        let rows = Rows::from_lengths(&[5, 1, 150, 16]);
        let shared = AttentionConfig::causal(4, 2, 8);
        let last = || Some(vec![4, 5, 155, 171]);
        for config in [shared, shared.within(20), AttentionConfig::bidirectional(3, 8)] {
            for n_before in [0, 1, 70] {
                let qkv = random([172, config.qkv_width()], 1);
                let prefix = (n_before > 0).then(|| random([n_before, config.qkv_width()], 2));
                for queries in [None, last()] {
                    let after = |prefix: Option<Tensor<2>>, qkv: Tensor<2>| {
                        let queries = queries.clone();
                        attention_after(prefix, qkv, &rows, config, queries, Dropout::NONE)
                    };
                    let found = after(prefix.clone(), qkv.clone());
                    // Composed, as where a gradient is wanted.
                    let prefix = prefix.clone().map(Tensor::autodiff);
                    let expected = after(prefix, qkv.clone().autodiff()).inner();
                    let worst = (found - expected).abs().max().into_scalar::<f32>();
                    assert!(worst < 1e-5, "{config:?}, {n_before} before: {worst}");
                }
            }
        }
    }

    #[test]
    fn gradient_with_dropout_is_the_slope() {
        // Central differences: the masks are the same at every call, so the function is smooth.
        let rows = Rows::from_lengths(&[4, 3]);
        let drop = Dropout { probability: 0.3, seed: 11 };
        let device = burn::tensor::Device::flex();
        let weights = random([7, 8], 2);
        let config = AttentionConfig::bidirectional(2, 4).within(2);
        let value = |qkv: Tensor<2>| (attention(qkv, &rows, config, drop) * weights.clone()).sum();
        let qkv = random([7, 24], 1);
        let leaf = qkv.clone().autodiff().require_grad();
        let loss =
            (attention(leaf.clone(), &rows, config, drop) * weights.clone().autodiff()).sum();
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
        let config = AttentionConfig::bidirectional(2, 4);
        let attend = |qkv, lengths: &[u32]| {
            attention(qkv, &Rows::from_lengths(lengths), config, Dropout::NONE)
        };
        let together = attend(qkv.clone(), &[4, 5]);
        let alone = attend(qkv.narrow(0, 4, 5), &[5]);
        together.narrow(0, 4, 5).into_data().assert_eq(&alone.into_data(), true);
    }
}
