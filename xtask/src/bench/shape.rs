//! The workload of a bench: so many pairs of so many tokens, the same ids for every engine.

use std::str::FromStr;

/// Tokens of a query of the bench.
const QUERY: usize = 16;

/// A workload: so many pairs of so many tokens each, special tokens included.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub rows: usize,
    pub tokens: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = || format!("expected PAIRSxTOKENS with more than 20 tokens, found `{text}`");
        let (rows, tokens) = text.split_once('x').ok_or_else(problem)?;
        let shape = Self {
            rows: rows.parse().map_err(|_| problem())?,
            tokens: tokens.parse().map_err(|_| problem())?,
        };
        if shape.rows == 0 || shape.tokens < QUERY + 4 { Err(problem()) } else { Ok(shape) }
    }
}

impl Shape {
    /// The ids of one pair, special tokens not included; benches/forward/peers.py makes the same.
    pub fn pair(self, row: usize) -> (Vec<u32>, Vec<u32>) {
        let word = |i: usize| 1000 + ((row * 4099 + i * 7919) % 20_000) as u32;
        let query = (0..QUERY).map(word).collect();
        (query, (0..self.tokens - QUERY - 3).map(|i| word(1000 + i)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_fills_its_row() {
        let (query, document) = Shape { rows: 4, tokens: 128 }.pair(3);
        assert_eq!(query.len() + document.len() + 3, 128);
        assert!(query.iter().chain(&document).all(|id| (1000..21_000).contains(id)));
    }

    #[test]
    fn shapes_are_pairs_by_tokens() {
        let shape: Shape = "32x128".parse().unwrap();
        assert_eq!((shape.rows, shape.tokens), (32, 128));
        for bad in ["32", "0x128", "1x19", "axb", ""] {
            assert!(bad.parse::<Shape>().is_err(), "{bad}");
        }
    }
}
