//! Runs and judgements of a development split into the weights that fuse them best.

use tamis_data::{Qrels, Run};

use super::learn::learn;
use super::normalization::Normalization;
use super::{Method, fuse};
use crate::error::{Error, Result};
use crate::evaluate::{MissingQueries, evaluate};
use crate::measure::Measure;

/// How weights are looked for. They are not negative and sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Search {
    /// Every combination of multiples of `step`; the first of the best is taken.
    Grid {
        /// Distance between weights, such as 0.05.
        step: f64,
    },
    /// Golden section on the first of two weights until the interval is below `tolerance`. Finds
    /// the best only where the measure has one peak.
    GoldenSection {
        /// The width at which the search ends.
        tolerance: f64,
    },
    /// Gradient descent on the cross-entropy of relevant documents, whatever the measure: weights are
    /// a softmax of numbers of which the first starts at `start` and the others at 0, so that with two
    /// runs they are `σ(α)` and `1 - σ(α)`. Scores count as they are normalised, scale and all.
    ///
    /// # Source
    /// The interpolation of a PreTTR's score with the first stage's in OpenNIR, where α starts at -1.
    /// Differs: it is learnt after the model, on a split of its own.
    Learned {
        /// α at first.
        start: f64,
    },
}

/// The weights found, and what every tried combination measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// The best weights, one per run.
    pub weights: Vec<f64>,
    /// The measure with these weights.
    pub value: f64,
    /// All that was tried, in the order of trying.
    pub tried: Vec<(Vec<f64>, f64)>,
}

/// Looks for the interpolation weights with the highest mean of a measure.
///
/// # Errors
/// When a step or tolerance is not in `(0, 1]`, golden section is asked for other than two runs, there is
/// nothing to learn from, or the runs cannot be evaluated.
pub fn tune_weights(
    qrels: &Qrels,
    runs: &[&Run],
    measure: &Measure,
    normalization: Normalization,
    search: Search,
) -> Result<Tuned> {
    let mut tried: Vec<(Vec<f64>, f64)> = Vec::new();
    let mut measured = |weights: Vec<f64>| -> Result<f64> {
        let method = Method::Interpolation { weights: weights.clone() };
        let fused = fuse(runs, &method, normalization, "tuned")?;
        let measures = std::slice::from_ref(measure);
        let value = evaluate(qrels, &fused, measures, MissingQueries::Zero)?.summary(0);
        tried.push((weights, value));
        Ok(value)
    };
    match search {
        Search::Learned { start } => {
            if !start.is_finite() {
                let expected = "a finite number".to_owned();
                let found = start.to_string();
                return Err(Error::Option { option: "start", expected, found });
            }
            for weights in learn(qrels, runs, normalization, start)? {
                measured(weights)?;
            }
            // What was learnt counts, not what the measure prefers on the way.
            let (weights, value) = tried.last().cloned().expect("the start is tried");
            return Ok(Tuned { weights, value, tried });
        }
        Search::Grid { step } => {
            check("step", step)?;
            let n_steps = (1.0 / step).round() as usize;
            for parts in compositions(n_steps, runs.len()) {
                measured(parts.iter().map(|&part| part as f64 / n_steps as f64).collect())?;
            }
        }
        Search::GoldenSection { tolerance } => {
            check("tolerance", tolerance)?;
            if runs.len() != 2 {
                return Err(Error::Option {
                    option: "search",
                    expected: "two runs for golden section".to_owned(),
                    found: runs.len().to_string(),
                });
            }
            let ratio = (5f64.sqrt() - 1.0) / 2.0;
            let mut at = |weight: f64| measured(vec![weight, 1.0 - weight]);
            let (mut low, mut high) = (0.0, 1.0);
            let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
            let (mut at_left, mut at_right) = (at(left)?, at(right)?);
            while high - low > tolerance {
                if at_left >= at_right {
                    (high, right, at_right) = (right, left, at_left);
                    left = high - ratio * (high - low);
                    at_left = at(left)?;
                } else {
                    (low, left, at_left) = (left, right, at_right);
                    right = low + ratio * (high - low);
                    at_right = at(right)?;
                }
            }
            // The ends lie outside every interval that golden section looks into.
            at(0.0)?;
            at(1.0)?;
        }
    }
    let best = tried.iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    let (weights, value) = best.cloned().expect("every search tries something");
    Ok(Tuned { weights, value, tried })
}

fn check(option: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    let expected = "a number above 0 and up to 1".to_owned();
    Err(Error::Option { option, expected, found: value.to_string() })
}

/// All ways to write `total` as an ordered sum of `n` whole numbers.
fn compositions(total: usize, n: usize) -> Vec<Vec<usize>> {
    if n <= 1 {
        return vec![vec![total; n]];
    }
    let first = (0..=total).rev();
    first
        .flat_map(|first| {
            compositions(total - first, n - 1).into_iter().map(move |mut rest| {
                rest.insert(0, first);
                rest
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compositions_are_complete() {
        assert_eq!(compositions(2, 2), [[2, 0], [1, 1], [0, 2]]);
        assert_eq!(compositions(10, 3).len(), 66);
    }
}
