//! Several runs into one.

mod learn;
mod normalization;
mod rank;
mod score;
mod tune;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use tamis_data::{DocId, Run, ScoredDocument};

pub use normalization::Normalization;
pub use tune::{Search, Tuned, tune_weights};

use crate::error::{Error, Result};

/// How the scores or ranks of several runs become one score.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Reciprocal rank fusion: `sum 1 / (k + rank)` (Cormack et al. 2009).
    Rrf {
        /// Softens the lead of the first ranks; 60 in the paper.
        k: f64,
    },
    /// Sum of scores (Fox and Shaw 1994), as the five after it.
    CombSum,
    /// Sum of scores times the number of runs that have the document.
    CombMnz,
    /// Mean of the scores that there are.
    CombAnz,
    /// Highest score.
    CombMax,
    /// Lowest score.
    CombMin,
    /// Median score.
    CombMed,
    /// Inverse square rank: `n sum 1 / rank^2` (Mourao et al. 2015).
    Isr,
    /// The same with `ln n` in place of n: documents of a single run get 0.
    LogIsr,
    /// Points by rank, those left over shared among unranked documents (Aslam and Montague 2001).
    Borda,
    /// Majority votes between pairs of documents (Montague and Aslam 2002).
    Condorcet,
    /// Weighted sum of normalised scores, one weight per run.
    Interpolation {
        /// The weights, in the order of the runs.
        weights: Vec<f64>,
    },
}

impl Method {
    /// Names understood by [`Method::from_str`].
    pub const NAMES: &[&str] = &[
        "rrf",
        "combsum",
        "combmnz",
        "combanz",
        "combmax",
        "combmin",
        "combmed",
        "isr",
        "logisr",
        "borda",
        "condorcet",
        "interpolation",
    ];

    /// Whether only ranks matter, so that normalisation changes nothing.
    #[must_use]
    pub fn uses_ranks_only(&self) -> bool {
        matches!(self, Self::Rrf { .. } | Self::Isr | Self::LogIsr | Self::Borda | Self::Condorcet)
    }
}

impl FromStr for Method {
    type Err = Error;

    /// Parses a name; `interpolation` comes with no weights, which the caller sets or tunes.
    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "rrf" => Self::Rrf { k: 60.0 },
            "combsum" => Self::CombSum,
            "combmnz" => Self::CombMnz,
            "combanz" => Self::CombAnz,
            "combmax" => Self::CombMax,
            "combmin" => Self::CombMin,
            "combmed" => Self::CombMed,
            "isr" => Self::Isr,
            "logisr" => Self::LogIsr,
            "borda" => Self::Borda,
            "condorcet" => Self::Condorcet,
            "interpolation" => Self::Interpolation { weights: Vec::new() },
            _ => {
                return Err(Error::Option {
                    option: "method",
                    expected: format!("a name among {}", Self::NAMES.join(" ")),
                    found: text.to_owned(),
                });
            }
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Rrf { .. } => "rrf",
            Self::CombSum => "combsum",
            Self::CombMnz => "combmnz",
            Self::CombAnz => "combanz",
            Self::CombMax => "combmax",
            Self::CombMin => "combmin",
            Self::CombMed => "combmed",
            Self::Isr => "isr",
            Self::LogIsr => "logisr",
            Self::Borda => "borda",
            Self::Condorcet => "condorcet",
            Self::Interpolation { .. } => "interpolation",
        };
        f.write_str(name)
    }
}

/// Fuses runs. A query is fused from the runs that answer it; scores are normalised per query.
///
/// # Errors
/// When there are no runs, or the weights are not one per run.
pub fn fuse(
    runs: &[&Run],
    method: &Method,
    normalization: Normalization,
    tag: &str,
) -> Result<Run> {
    if runs.is_empty() {
        return Err(Error::Option {
            option: "runs",
            expected: "at least one run".to_owned(),
            found: "none".to_owned(),
        });
    }
    if let Method::Interpolation { weights } = method
        && (weights.len() != runs.len() || weights.iter().any(|weight| !weight.is_finite()))
    {
        return Err(Error::Option {
            option: "weights",
            expected: format!("{} finite numbers, one per run", runs.len()),
            found: format!("{weights:?}"),
        });
    }
    let mut fused = Run::new(tag);
    let queries: std::collections::BTreeSet<_> =
        runs.iter().flat_map(|run| run.iter().map(|(query, _)| query)).collect();
    for query in queries {
        let lists: Vec<&[ScoredDocument]> =
            runs.iter().map(|run| run.query(query.as_str()).unwrap_or(&[])).collect();
        let scores = fuse_lists(&lists, method, normalization);
        let candidates = scores
            .into_iter()
            .map(|(document, score)| ScoredDocument { document: document.clone(), score })
            .collect();
        fused.insert(query.clone(), candidates)?;
    }
    Ok(fused)
}

/// Candidates of one query in canonical order, one list per run, into one score per document.
fn fuse_lists<'a>(
    lists: &[&'a [ScoredDocument]],
    method: &Method,
    normalization: Normalization,
) -> BTreeMap<&'a DocId, f64> {
    match method {
        Method::Rrf { k } => rank::reciprocal(lists, *k),
        Method::Isr => rank::inverse_square(lists, |n| n),
        Method::LogIsr => rank::inverse_square(lists, f64::ln),
        Method::Borda => rank::borda(lists),
        Method::Condorcet => rank::condorcet(lists),
        Method::CombSum => score::combine(lists, normalization, |s| s.iter().sum()),
        Method::CombMnz => {
            score::combine(lists, normalization, |s| s.iter().sum::<f64>() * s.len() as f64)
        }
        Method::CombAnz => {
            score::combine(lists, normalization, |s| s.iter().sum::<f64>() / s.len() as f64)
        }
        Method::CombMax => score::combine(lists, normalization, |s| {
            s.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        }),
        Method::CombMin => score::combine(lists, normalization, |s| {
            s.iter().copied().fold(f64::INFINITY, f64::min)
        }),
        Method::CombMed => score::combine(lists, normalization, score::median),
        Method::Interpolation { weights } => score::interpolate(lists, normalization, weights),
    }
}
