//! Normalised scores of several lists into one score per document.

use std::collections::BTreeMap;

use tamis_data::{DocId, ScoredDocument};

use super::normalization::Normalization;

/// Applies `f` to the scores of each document in the lists that have it.
pub(super) fn combine<'a>(
    lists: &[&'a [ScoredDocument]],
    normalization: Normalization,
    f: fn(&[f64]) -> f64,
) -> BTreeMap<&'a DocId, f64> {
    let mut scores: BTreeMap<&DocId, Vec<f64>> = BTreeMap::new();
    for list in lists {
        for (candidate, score) in list.iter().zip(normalization.apply(list)) {
            scores.entry(&candidate.document).or_default().push(score);
        }
    }
    scores.into_iter().map(|(document, scores)| (document, f(&scores))).collect()
}

/// The weighted sum over all lists. A list that lacks a document, but has others, adds its lowest
/// value; an empty list adds nothing.
pub(super) fn interpolate<'a>(
    lists: &[&'a [ScoredDocument]],
    normalization: Normalization,
    weights: &[f64],
) -> BTreeMap<&'a DocId, f64> {
    let normalized: Vec<Vec<f64>> = lists.iter().map(|list| normalization.apply(list)).collect();
    let base: f64 = normalized.iter().zip(weights).map(|(s, w)| w * normalization.absent(s)).sum();
    let mut fused: BTreeMap<&DocId, f64> = BTreeMap::new();
    for ((list, scores), weight) in lists.iter().zip(&normalized).zip(weights) {
        let absent = normalization.absent(scores);
        for (candidate, score) in list.iter().zip(scores) {
            *fused.entry(&candidate.document).or_insert(base) += weight * (score - absent);
        }
    }
    fused
}

/// The middle score, or the mean of the two in the middle.
pub(super) fn median(scores: &[f64]) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}
