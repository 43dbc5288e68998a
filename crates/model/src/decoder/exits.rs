//! A pass that stops at several depths, and shortens documents on its way.

use burn::tensor::{Bool, DType, Int, Tensor, TensorData, activation};
use tamis_ops::{AttentionConfig, Rows, in_f32};

use super::layer::DecoderLayer;
use super::spans::{Merge, Source, Spans};
use super::{Decoder, Pass, Prefix};
use crate::dropout_seeds::DropoutSeeds;
use crate::input::Input;

/// What a pass with exits is asked for; all of it was checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route<'a> {
    /// Depths in order, at least one.
    pub(crate) exits: &'a [usize],
    /// So many tokens become one; 1 where none do.
    pub(crate) ratio: usize,
    pub(crate) compress_layers: &'a [usize],
    pub(crate) weights: Weights,
    /// What stands for padding at the end of rows that no document is shortened in.
    pub(crate) padding: Option<u32>,
    /// What comes before every row, where it was computed already; without dropout.
    pub(crate) prefix: Option<&'a Prefix>,
}

/// How much each token counts in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weights {
    /// As much as the last token of the row sees of it.
    LastToken,
    /// As much as the last place of the padded batch sees of it; rows end in so many places, and what
    /// fills them is this token.
    LastColumn { n_places: usize, padding: u32 },
    /// All alike.
    Mean,
}

impl Decoder {
    /// What heads read of the last token of every row, at each exit: `[rows, hidden]` each.
    ///
    /// # Source
    /// Liu et al. 2025, "Matryoshka Re-Ranker" (arXiv 2501.16302), and its published code. Weights are
    /// those of the last token of a row, so that a score does not depend on the rows beside it. Windows
    /// stay after documents are shortened, over the new places.
    pub(crate) fn exits(
        &self,
        input: &Input,
        route: Route<'_>,
        seeds: &mut DropoutSeeds,
    ) -> Vec<Tensor<2>> {
        let mut x = self.words(input.ids.clone());
        let mut stand = self.stand(input, route);
        let mut states = Vec::with_capacity(route.exits.len());
        for depth in 0..route.deepest() {
            let (next, exit) = self.step(x, depth, &mut stand, input, route, seeds);
            states.extend(exit);
            match next {
                Some(next) => x = next,
                None => break,
            }
        }
        states
    }

    /// Where a pass stands before its first layer.
    pub(crate) fn stand(&self, input: &Input, route: Route<'_>) -> Stand {
        let rows = input.rows.clone();
        let column = match route.weights {
            Weights::LastColumn { n_places, padding } => {
                Some(Column::new(self, &rows, n_places, padding, input))
            }
            _ => None,
        };
        let spans = Spans::of_types(&rows, input.type_ids_on_host());
        Stand { rows, spans, last: input.last_places(route.padding), column }
    }

    /// One layer of a pass, and the merge after it: what the next layer reads, unless this is the deepest, and
    /// the state of the exit after this one, if there is one.
    pub(crate) fn step(
        &self,
        x: Tensor<2>,
        depth: usize,
        stand: &mut Stand,
        input: &Input,
        route: Route<'_>,
        seeds: &mut DropoutSeeds,
    ) -> (Option<Tensor<2>>, Option<Tensor<2>>) {
        let deepest = route.deepest();
        let before = route.prefix.map_or(0, Prefix::n_tokens);
        let last = input.places(&stand.last);
        let layer = &self.layers[depth];
        let rows = &stand.rows;
        let pass = Pass { rows, rotary: self.shape.rotary(before, rows.longest()) };
        let qkv = layer.queries_keys_values(x.clone(), &pass);
        let prefix = route.prefix.map(|prefix| prefix.layer(depth));
        // What no layer reads any more is not computed.
        if depth + 1 == deepest {
            let context = layer.attend_at(stand.last.clone(), prefix, qkv, &pass, seeds);
            let state = layer.finish(context, x.select(0, last));
            return (None, Some(self.final_norm.forward(state)));
        }
        let merges = merges_at(route, depth + 1, deepest);
        let is_seen = merges && route.weights != Weights::Mean;
        let mut seen = None;
        if is_seen || stand.column.is_some() {
            let (whole_qkv, whole_rows) = match &prefix {
                Some(prefix) => tamis_ops::after_prefix(prefix.clone(), qkv.clone(), rows),
                None => (qkv.clone(), rows.clone()),
            };
            let n = layer.attention().n_heads * layer.attention().width;
            let queries = qkv.clone().select(0, last.clone()).narrow(1, 0, n);
            let sees = match &mut stand.column {
                Some(column) => {
                    let queries = column.queries(layer, self, queries, rows);
                    column.advance(layer, queries, whole_qkv, rows)
                }
                None => probabilities(queries, whole_qkv, &whole_rows, layer.attention(), None),
            };
            seen = is_seen.then_some(sees);
        }
        let context = match prefix {
            Some(prefix) => layer.attend_after(prefix, qkv, rows),
            None => layer.attend(qkv, &pass, seeds),
        };
        let mut x = layer.finish(context, x);
        // An exit reads what is there before documents are shortened.
        let is_exit = route.exits.contains(&(depth + 1));
        let exit = is_exit.then(|| self.final_norm.forward(x.clone().select(0, last)));
        if merges {
            let merge = stand.spans.merge(rows, route.ratio);
            x = merged(x, seen, (&merge, route.ratio), (rows, before), input);
            (stand.rows, stand.spans) = (merge.rows, merge.spans);
            stand.column = stand.column.take().map(|column| column.after_merge(&stand.rows));
            stand.last = last_places(&stand.rows);
        }
        (Some(x), exit)
    }
}

/// Where a pass stands between two layers.
#[derive(Debug, Clone)]
pub(crate) struct Stand {
    rows: Rows,
    spans: Spans,
    /// The token of every row that is read.
    last: Vec<usize>,
    column: Option<Column>,
}

impl Route<'_> {
    /// How many layers are computed.
    pub(crate) fn deepest(&self) -> usize {
        self.exits.last().copied().unwrap_or(0)
    }
}

/// Whether documents are shortened before the layer at a depth.
fn merges_at(route: Route<'_>, depth: usize, deepest: usize) -> bool {
    route.ratio > 1 && depth > 0 && depth < deepest && route.compress_layers.contains(&depth)
}

/// Where the last token of each row stands.
fn last_places(rows: &Rows) -> Vec<usize> {
    rows.offsets()[1..].iter().map(|&end| end as usize - 1).collect()
}

/// The packed rows after their documents' tokens were merged.
///
/// # Shapes
/// - `x` and the result: `[tokens, hidden]`
/// - `seen`: `[rows, longest, heads]`, with `before` places of what rows begin with, or nothing where all
///   tokens count alike
fn merged(
    x: Tensor<2>,
    seen: Option<Tensor<3>>,
    (merge, ratio): (&Merge, usize),
    (rows, before): (&Rows, usize),
    input: &Input,
) -> Tensor<2> {
    let [n_tokens, hidden] = x.dims();
    let n_groups = merge.groups.len();
    if n_groups == 0 {
        return x;
    }
    let mut sources = Vec::with_capacity(n_groups * ratio);
    let mut present = Vec::with_capacity(n_groups * ratio);
    for &(first, n) in &merge.groups {
        for place in 0..ratio {
            sources.push(first + place.min(n - 1));
            present.push(if place < n { 1.0_f32 } else { 0.0 });
        }
    }
    let device = input.device();
    let present = Tensor::<2>::from_data(TensorData::new(present, [n_groups, ratio]), &device);
    let weights = match seen {
        None => present,
        Some(seen) => {
            let [n_rows, longest, _] = seen.dims();
            let by_place: Tensor<1> = seen.cast(DType::F32).sum_dim(2).reshape([n_rows * longest]);
            let places: Vec<usize> = padded_places(rows, (longest, before), &sources);
            let weights = by_place.select(0, input.places(&places)).reshape([n_groups, ratio]);
            // Where nobody is seen, all count alike: no zero is divided by zero.
            let weights = weights * present.clone();
            let unseen = weights.clone().sum_dim(1).equal_elem(0.0).float();
            weights + present * unseen
        }
    };
    let weights = weights.clone() / weights.sum_dim(1);
    let tokens = x.clone().select(0, input.places(&sources)).reshape([n_groups, ratio, hidden]);
    // Sums in single precision, whatever the decoder computes in.
    let weighed = tokens.cast(DType::F32) * weights.unsqueeze_dim(2);
    let groups: Tensor<2> = weighed.sum_dim(1).squeeze_dim(1);
    let groups = groups.cast(x.dtype());
    let order: Vec<usize> = merge
        .tokens
        .iter()
        .map(|source| match source {
            Source::Token(token) => *token,
            Source::Group(group) => n_tokens + group,
        })
        .collect();
    Tensor::cat(vec![x, groups], 0).select(0, input.places(&order))
}

/// Where tokens stand when every row has `longest` places, of which the first `before` are not its own;
/// tokens come in the order of rows.
fn padded_places(rows: &Rows, (longest, before): (usize, usize), tokens: &[usize]) -> Vec<usize> {
    let mut row = 0;
    tokens
        .iter()
        .map(|&token| {
            while rows.offsets()[row + 1] as usize <= token {
                row += 1;
            }
            row * longest + before + token - rows.offsets()[row] as usize
        })
        .collect()
}

/// What one query of every row sees of the row's tokens: `[rows, longest, heads]`.
///
/// # Shapes
/// - `queries`: `[rows, heads * width]`, turned
/// - `qkv`: `[tokens, (heads + 2 * kv_heads) * width]`, turned
/// - `places`: the place of each query, or that of the row's last token
fn probabilities(
    queries: Tensor<2>,
    qkv: Tensor<2>,
    rows: &Rows,
    config: AttentionConfig,
    places: Option<&[usize]>,
) -> Tensor<3> {
    let AttentionConfig { n_heads, n_kv_heads, width, .. } = config;
    let device = qkv.device();
    let (n_rows, longest) = (rows.len(), rows.longest());
    let mut hidden = Vec::with_capacity(n_rows * longest);
    for (row, n) in rows.lengths().enumerate() {
        let place = places.map_or(n.saturating_sub(1), |places| places[row]);
        let is_far = |key: usize| place.saturating_sub(key) > config.before;
        hidden.extend((0..longest).map(|key| key >= n || is_far(key)));
    }
    let keys = padded(qkv.narrow(1, n_heads * width, n_kv_heads * width), rows);
    let keys = keys.reshape([n_rows, longest, n_kv_heads, width]).swap_dims(1, 2);
    let group = n_heads / n_kv_heads;
    let queries = queries.reshape([n_rows, n_kv_heads, group, width]).swap_dims(2, 3);
    // [rows, kv_heads, longest, group]
    let scores = keys.matmul(queries) * config.scale;
    let scores = match config.cap {
        Some(cap) => (scores / cap).tanh() * cap,
        None => scores,
    };
    let hidden = TensorData::new(hidden, [n_rows, 1, longest, 1]);
    let hidden =
        Tensor::<4, Bool>::from_data(hidden, &device).expand([n_rows, n_kv_heads, longest, group]);
    let probabilities =
        in_f32(scores, |scores| activation::softmax(scores.mask_fill(hidden, -1e9), 2));
    probabilities.swap_dims(1, 2).reshape([n_rows, longest, n_heads])
}

/// Packed tokens in rows of equal length, filled with any of them: `[rows, longest, width]`.
fn padded(tokens: Tensor<2>, rows: &Rows) -> Tensor<3> {
    let ([_, width], device) = (tokens.dims(), tokens.device());
    let (n_rows, longest) = (rows.len(), rows.longest());
    let mut sources = Vec::with_capacity(n_rows * longest);
    for pair in rows.offsets().windows(2) {
        let places = pair[0]..pair[0] + longest as u32;
        sources.extend(places.map(|place| i64::from(if place < pair[1] { place } else { 0 })));
    }
    let n = sources.len();
    let sources = Tensor::<1, Int>::from_data(TensorData::new(sources, [n]), &device);
    tokens.select(0, sources).reshape([n_rows, longest, width])
}

/// The last place of a padded batch, which no other sees: its states in every row that is padded.
#[derive(Debug, Clone)]
struct Column {
    /// `[rows, hidden]`
    states: Tensor<2>,
    n_places: usize,
}

impl Column {
    fn new(decoder: &Decoder, rows: &Rows, n_places: usize, padding: u32, input: &Input) -> Self {
        let ids = vec![padding.cast_signed(); rows.len()];
        let ids = TensorData::new(ids, [rows.len()]);
        let ids = Tensor::<1, Int>::from_data(ids, &input.device());
        Self { states: decoder.words(ids), n_places }
    }

    /// After a merge rows are as wide as the widest, and what fills them is zero.
    fn after_merge(self, rows: &Rows) -> Self {
        Self { states: self.states.zeros_like(), n_places: rows.longest() }
    }

    /// Which rows have padding.
    fn is_padded(&self, rows: &Rows) -> Vec<bool> {
        rows.lengths().map(|n| n < self.n_places).collect()
    }

    /// The queries of the last place: of rows that are full, those of their last token.
    fn queries(
        &self,
        layer: &DecoderLayer,
        decoder: &Decoder,
        last: Tensor<2>,
        rows: &Rows,
    ) -> Tensor<2> {
        // Turned to the last place: a row of as many tokens, of which only the last is kept.
        let n_rows = rows.len();
        let repeated: Vec<i64> =
            (0..n_rows as i64).flat_map(|row| vec![row; self.n_places]).collect();
        let n = repeated.len();
        let repeated = TensorData::new(repeated, [n]);
        let repeated = Tensor::<1, Int>::from_data(repeated, &last.device());
        let wide = Rows::from_lengths(&vec![self.n_places as u32; n_rows]);
        let pass = Pass { rows: &wide, rotary: decoder.shape.rotary(0, self.n_places) };
        let qkv = layer.queries_keys_values(self.states.clone().select(0, repeated), &pass);
        let ends: Vec<i64> =
            (1..=n_rows as i64).map(|row| row * self.n_places as i64 - 1).collect();
        let ends = Tensor::<1, Int>::from_data(TensorData::new(ends, [n_rows]), &last.device());
        let width = last.dims()[1];
        let own = qkv.select(0, ends).narrow(1, 0, width);
        let mask: Vec<f32> =
            self.is_padded(rows).into_iter().map(|padded| f32::from(u8::from(padded))).collect();
        let mask = Tensor::<2>::from_data(TensorData::new(mask, [n_rows, 1]), &last.device());
        let mask = mask.cast(last.dtype());
        own * mask.clone() + last * (-mask + 1.0)
    }

    /// Computes the layer for the last places and says what they see.
    fn advance(
        &mut self,
        layer: &DecoderLayer,
        queries: Tensor<2>,
        qkv: Tensor<2>,
        rows: &Rows,
    ) -> Tensor<3> {
        let config = layer.attention();
        let AttentionConfig { n_heads, n_kv_heads, width, .. } = config;
        let places: Vec<usize> = vec![self.n_places - 1; rows.len()];
        let seen = probabilities(queries, qkv.clone(), rows, config, Some(&places));
        let [n_rows, longest, _] = seen.dims();
        let values = qkv.narrow(1, (n_heads + n_kv_heads) * width, n_kv_heads * width);
        let values = padded(values, rows).reshape([n_rows, longest, n_kv_heads, width]);
        let group = n_heads / n_kv_heads;
        // [rows, kv_heads, group, longest] by [rows, kv_heads, longest, width]
        let by_head = seen.clone().reshape([n_rows, longest, n_kv_heads, group]);
        let by_head = by_head.permute([0, 2, 3, 1]);
        let context = by_head.matmul(values.swap_dims(1, 2)).reshape([n_rows, n_heads * width]);
        self.states = layer.finish(context, self.states.clone());
        seen
    }
}
