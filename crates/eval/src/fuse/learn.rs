//! Runs and judgements of a development split into the weights that make relevant documents likely.

use std::collections::BTreeMap;

use tamis_data::{DocId, Qrels, Run, ScoredDocument};

use super::normalization::Normalization;
use super::score::interpolate;
use crate::error::{Error, Result};

/// Steps after which the search ends whatever it has found.
const MOST_STEPS: usize = 500;

/// A slope below this is none.
const FLAT: f64 = 1e-7;

/// The candidates of one query that are judged relevant and all others: a value for each run.
struct Question {
    relevant: Vec<Vec<f64>>,
    others: Vec<Vec<f64>>,
}

/// Weights `softmax(α)` with the lowest mean of `-ln p(relevant)`, where `p` is a softmax over one relevant
/// document and all that are not of the interpolated scores; with two runs the first weight is `σ(α)`.
/// Returns all weights on the way, the first for `α = start` and the last the ones that were found.
///
/// # Errors
/// When no query has both a relevant document and another among its candidates.
pub(super) fn learn(
    qrels: &Qrels,
    runs: &[&Run],
    normalization: Normalization,
    start: f64,
) -> Result<Vec<Vec<f64>>> {
    let questions = questions(qrels, runs, normalization);
    if questions.is_empty() {
        return Err(Error::Option {
            option: "search",
            expected: "queries with a relevant candidate and one that is not, to learn from".into(),
            found: "none".to_owned(),
        });
    }
    let mut logits = vec![0.0; runs.len()];
    logits[0] = start;
    let (mut loss, mut slope) = loss_and_slope(&questions, &softmax(&logits));
    let mut path = vec![softmax(&logits)];
    let mut rate = 1.0;
    for _ in 0..MOST_STEPS {
        let steepness: f64 = slope.iter().map(|value| value * value).sum();
        if steepness.sqrt() < FLAT {
            break;
        }
        // A step is as long as it may be while the loss falls by half of what the slope promises.
        let next = loop {
            let moved: Vec<f64> =
                logits.iter().zip(&slope).map(|(logit, slope)| logit - rate * slope).collect();
            let found = loss_and_slope(&questions, &softmax(&moved));
            if found.0 <= loss - 0.5 * rate * steepness {
                break Some((moved, found));
            }
            rate /= 2.0;
            if rate < 1e-9 {
                break None;
            }
        };
        let Some((moved, found)) = next else { break };
        (logits, (loss, slope)) = (moved, found);
        path.push(softmax(&logits));
        rate *= 4.0;
    }
    Ok(path)
}

fn questions(qrels: &Qrels, runs: &[&Run], normalization: Normalization) -> Vec<Question> {
    let mut questions = Vec::new();
    for (query, judged) in qrels.iter() {
        let lists: Vec<&[ScoredDocument]> =
            runs.iter().map(|run| run.query(query.as_str()).unwrap_or(&[])).collect();
        let mut values: BTreeMap<&DocId, Vec<f64>> = BTreeMap::new();
        for run in 0..runs.len() {
            let alone: Vec<f64> =
                (0..runs.len()).map(|other| f64::from(u8::from(other == run))).collect();
            for (document, value) in interpolate(&lists, normalization, &alone) {
                values.entry(document).or_default().push(value);
            }
        }
        let is_relevant =
            |document: &DocId| judged.get(document).is_some_and(|&relevance| relevance > 0);
        let (relevant, others): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|(document, _)| is_relevant(document));
        if !relevant.is_empty() && !others.is_empty() {
            let values = |all: Vec<(&DocId, Vec<f64>)>| all.into_iter().map(|(_, v)| v).collect();
            questions.push(Question { relevant: values(relevant), others: values(others) });
        }
    }
    questions
}

/// The loss with these weights, and its slope along every logit of them.
fn loss_and_slope(questions: &[Question], weights: &[f64]) -> (f64, Vec<f64>) {
    let score = |values: &Vec<f64>| values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>();
    let (mut loss, mut by_weight) = (0.0, vec![0.0; weights.len()]);
    for Question { relevant, others } in questions {
        let share = 1.0 / (questions.len() * relevant.len()) as f64;
        let other_scores: Vec<f64> = others.iter().map(score).collect();
        for own in relevant {
            let own_score = score(own);
            let highest = other_scores.iter().copied().fold(own_score, f64::max);
            let likelihood = |score: f64| (score - highest).exp();
            let sum: f64 =
                likelihood(own_score) + other_scores.iter().copied().map(likelihood).sum::<f64>();
            loss += share * (sum.ln() + highest - own_score);
            let mut add = |values: &[f64], factor: f64| {
                for (slope, value) in by_weight.iter_mut().zip(values) {
                    *slope += share * factor * value;
                }
            };
            add(own, likelihood(own_score) / sum - 1.0);
            for (values, &score) in others.iter().zip(&other_scores) {
                add(values, likelihood(score) / sum);
            }
        }
    }
    let mean: f64 = by_weight.iter().zip(weights).map(|(slope, weight)| slope * weight).sum();
    let slope = by_weight.iter().zip(weights).map(|(slope, weight)| weight * (slope - mean));
    (loss, slope.collect())
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let all: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp()).collect();
    let sum: f64 = all.iter().sum();
    all.into_iter().map(|value| value / sum).collect()
}

#[cfg(test)]
mod tests {
    use tamis_data::QueryId;

    use super::*;

    /// A first stage and a reranker that are right about different queries.
    fn split(n: usize) -> (Qrels, Run, Run) {
        let (mut qrels, mut first, mut second) = (Qrels::new(), Run::new("a"), Run::new("b"));
        for q in 0..n {
            let query = QueryId::new(&format!("q{q}")).unwrap();
            let document = |d: usize| DocId::new(&format!("d{d}")).unwrap();
            qrels.insert(query.clone(), document(q % 4), 1).unwrap();
            let scored = |seed: usize, gain: f64| {
                (0..8)
                    .map(|d| {
                        let noise = ((q * 37 + d * 11 + seed * 5) % 13) as f64 / 3.0;
                        let score = noise + if d == q % 4 { gain } else { 0.0 };
                        ScoredDocument { document: document(d), score }
                    })
                    .collect()
            };
            first.insert(query.clone(), scored(1, 1.0)).unwrap();
            second.insert(query, scored(2, 2.5)).unwrap();
        }
        (qrels, first, second)
    }

    #[test]
    fn it_starts_where_it_is_told_and_ends_at_the_lowest_point() {
        let (qrels, a, b) = split(20);
        let path = learn(&qrels, &[&a, &b], Normalization::None, -1.0).unwrap();
        assert!((path[0][0] - 0.268_941).abs() < 1e-6, "{:?}", path[0]);
        let questions = questions(&qrels, &[&a, &b], Normalization::None);
        let at = |weight: f64| loss_and_slope(&questions, &[weight, 1.0 - weight]).0;
        let grid = (0..=1000).map(|i| f64::from(i) / 1000.0);
        let best = grid.min_by(|x, y| at(*x).total_cmp(&at(*y))).unwrap();
        let found = path.last().unwrap();
        assert!(best > 0.0 && best < 1.0, "{best} lies inside");
        assert!((found[0] - best).abs() < 2e-3, "{found:?}, expected {best}");
        assert!((found[0] + found[1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_slope_is_that_of_the_loss() {
        let (qrels, a, b) = split(9);
        let runs = [&a, &b, &a];
        let questions = questions(&qrels, &runs, Normalization::ZScore);
        let logits = [0.3, -0.7, 0.1];
        let (_, slope) = loss_and_slope(&questions, &softmax(&logits));
        for place in 0..3 {
            let at = |by: f64| {
                let mut moved = logits;
                moved[place] += by;
                loss_and_slope(&questions, &softmax(&moved)).0
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope[place] - expected).abs() < 1e-8, "{} {expected}", slope[place]);
        }
    }

    #[test]
    fn nothing_to_learn_from_is_an_error() {
        let (_, a, b) = split(3);
        let error = learn(&Qrels::new(), &[&a, &b], Normalization::None, -1.0).unwrap_err();
        assert!(
            error.to_string().starts_with("search: expected queries with a relevant"),
            "{error}"
        );
    }
}
