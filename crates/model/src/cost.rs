//! The shape of a decoder into what an effort costs: operations and bytes, counted.

use crate::decoder::DecoderShape;
use crate::effort::Effort;

/// The parts of a row, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowTokens {
    /// Everything before the document: what begins the row, and the query.
    pub before: usize,
    /// The document, which alone is shortened.
    pub document: usize,
    /// Everything after it.
    pub after: usize,
}

/// What the matrix products of a decoder cost.
///
/// # Formula
/// A layer with `P` weights and heads that are `W` wide together takes `2 P L + 2 L² W` operations for a
/// row of `L` tokens: every token sees itself and those before it, on average half of the row, and meets
/// keys and values, an addition and a multiplication each. Of the deepest layer only keys and values are
/// computed for all tokens, the rest for the row's last. Tokens that rows share count once.
///
/// # Source
/// Liu et al. 2025, "Matryoshka Re-Ranker" (arXiv 2501.16302), section 3; there every layer is computed
/// for all tokens, and each sees all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostModel {
    n_layers: usize,
    hidden: usize,
    inner: usize,
    /// Width of all heads of queries.
    heads: usize,
    /// Width of queries, keys and values.
    qkv: usize,
}

impl CostModel {
    pub(crate) fn of(shape: &DecoderShape) -> Self {
        Self {
            n_layers: shape.n_layers(),
            hidden: shape.hidden,
            inner: shape.inner,
            heads: shape.n_heads * shape.width,
            qkv: shape.qkv_shares().iter().sum(),
        }
    }

    /// Operations for the rows of one group, of which the first `shared` tokens are computed once.
    ///
    /// # Panics
    /// When rows share more than what comes before their documents.
    #[must_use]
    pub fn operations(&self, rows: &[RowTokens], shared: usize, effort: &Effort) -> f64 {
        let prefix = if shared == 0 { 0.0 } else { self.prefix(shared, effort) };
        prefix + rows.iter().map(|&row| self.row(row, shared, effort)).sum::<f64>()
    }

    /// Bytes of activations, at most, of one forward pass over so many tokens in single precision, with
    /// what rows share repeated before each row.
    ///
    /// Live at once are either what attention reads and writes or what the gated units do, beside the
    /// states; and what rows share, for every layer.
    #[must_use]
    pub fn bytes(&self, n_tokens: usize, n_rows: usize, shared: usize) -> usize {
        let Self { hidden, inner, heads, qkv, n_layers } = *self;
        let whole = if shared == 0 { 0 } else { n_tokens + n_rows * shared };
        let attention = n_tokens * (2 * hidden + 2 * qkv + heads) + whole * (2 * qkv + heads);
        let gated = n_tokens * (3 * hidden + 3 * inner);
        4 * (attention.max(gated) + shared * n_layers * qkv)
    }

    fn deepest(&self, effort: &Effort) -> usize {
        effort.exits.iter().copied().max().unwrap_or(self.n_layers).min(self.n_layers)
    }

    fn prefix(&self, n_tokens: usize, effort: &Effort) -> f64 {
        let n = n_tokens as f64;
        let whole = self.deepest(effort).saturating_sub(1) as f64;
        let layer =
            2.0 * (self.projections() + self.others()) * n + 2.0 * n * n * self.heads as f64;
        // Of the last layer nothing but keys and values is read.
        whole * layer + 2.0 * self.projections() * n
    }

    fn row(&self, row: RowTokens, shared: usize, effort: &Effort) -> f64 {
        assert!(shared <= row.before, "documents are not shared");
        let deepest = self.deepest(effort);
        let mut document = row.document;
        let mut operations = 0.0;
        for depth in 0..deepest {
            if depth > 0 && effort.compresses() && effort.compress_layers.contains(&depth) {
                document = document.div_ceil(effort.ratio);
            }
            let own = (row.before - shared + document + row.after) as f64;
            let seen = own * shared as f64 + own * own / 2.0;
            let finished = if depth + 1 == deepest { 1.0 } else { own };
            operations += 2.0 * self.projections() * own
                + 4.0 * seen * self.heads as f64
                + 2.0 * self.others() * finished;
        }
        operations
    }

    /// Weights of queries, keys and values in a layer.
    fn projections(&self) -> f64 {
        (self.hidden * self.qkv) as f64
    }

    /// All other weights of a layer.
    fn others(&self) -> f64 {
        (self.heads * self.hidden + 3 * self.hidden * self.inner) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effort(exit: usize, ratio: usize, layers: &[usize]) -> Effort {
        Effort { exits: vec![exit], ratio, compress_layers: layers.to_vec() }
    }

    #[test]
    fn the_published_setting_saves_what_its_card_says() {
        // Gemma 2 9B: 25 of 42 layers and half of the tokens from the eighth on "saves 60 %".
        let model = CostModel { n_layers: 42, hidden: 3584, inner: 14_336, heads: 4096, qkv: 8192 };
        let rows = [RowTokens { before: 30, document: 900, after: 10 }];
        let whole = model.operations(&rows, 0, &effort(42, 1, &[]));
        let part = model.operations(&rows, 0, &effort(25, 2, &[8]));
        assert!((part / whole - 0.39).abs() < 0.02, "{}", part / whole);
    }

    #[test]
    fn what_is_shared_counts_once() {
        let model = CostModel { n_layers: 4, hidden: 8, inner: 16, heads: 8, qkv: 16 };
        let row = RowTokens { before: 10, document: 5, after: 1 };
        let whole = |n: usize, shared| model.operations(&vec![row; n], shared, &Effort::default());
        assert_eq!(whole(3, 0), 3.0 * whole(1, 0));
        // The second row of a group costs less than the first, the third as much as the second.
        assert_eq!(whole(3, 10) - whole(2, 10), whole(2, 10) - whole(1, 10));
        assert!(whole(2, 10) - whole(1, 10) < 0.5 * whole(1, 0));
        // By hand, one layer alone: keys and values for 16 tokens, everything else for one.
        let one = model.operations(&[row], 0, &effort(1, 1, &[]));
        let by_hand = 2 * 8 * 16 * 16 + 2 * 16 * 16 * 8 + 2 * (8 * 8 + 3 * 8 * 16);
        assert_eq!(one, f64::from(by_hand));
    }
}
