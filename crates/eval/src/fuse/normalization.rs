//! The scores of one query in one run into a range that runs share.

use std::str::FromStr;

use tamis_data::ScoredDocument;

use crate::error::{Error, Result};

/// How scores are brought onto one scale before they are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalization {
    /// Left as they are.
    None,
    /// Lowest to 0, highest to 1.
    #[default]
    MinMax,
    /// Mean to 0, standard deviation (of the population) to 1.
    ZScore,
    /// Lowest to 0, sum to 1.
    Sum,
    /// `1 - (rank - 1) / n`.
    Rank,
}

impl FromStr for Normalization {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "none" => Self::None,
            "min-max" => Self::MinMax,
            "z-score" => Self::ZScore,
            "sum" => Self::Sum,
            "rank" => Self::Rank,
            other => {
                return Err(Error::Option {
                    option: "normalization",
                    expected: "`none`, `min-max`, `z-score`, `sum` or `rank`".to_owned(),
                    found: other.to_owned(),
                });
            }
        })
    }
}

/// Nothing is divided by less than this: equal scores come out as 0.
const SMALLEST: f64 = 1e-9;

impl Normalization {
    /// The normalised scores of candidates in canonical order.
    #[must_use]
    pub fn apply(self, candidates: &[ScoredDocument]) -> Vec<f64> {
        let scores = || candidates.iter().map(|candidate| candidate.score);
        let n = candidates.len() as f64;
        let low = scores().fold(f64::INFINITY, f64::min);
        match self {
            Self::None => scores().collect(),
            Self::MinMax => {
                let high = scores().fold(f64::NEG_INFINITY, f64::max);
                scores().map(|score| (score - low) / (high - low).max(SMALLEST)).collect()
            }
            Self::ZScore => {
                let mean = scores().sum::<f64>() / n;
                let variance = scores().map(|score| (score - mean).powi(2)).sum::<f64>() / n;
                let deviation = variance.sqrt().max(SMALLEST);
                scores().map(|score| (score - mean) / deviation).collect()
            }
            Self::Sum => {
                let sum: f64 = scores().map(|score| score - low).sum();
                scores().map(|score| (score - low) / sum.max(SMALLEST)).collect()
            }
            Self::Rank => (0..candidates.len()).map(|index| 1.0 - index as f64 / n).collect(),
        }
    }

    /// What a document counts that the run does not have: 0 where that is the lowest value, else
    /// the lowest score of the run.
    pub(super) fn absent(self, normalized: &[f64]) -> f64 {
        match self {
            Self::MinMax | Self::Sum | Self::Rank => 0.0,
            Self::None | Self::ZScore => {
                let low = normalized.iter().copied().fold(f64::INFINITY, f64::min);
                if low.is_finite() { low } else { 0.0 }
            }
        }
    }
}
