//! Counts of relevant documents into precision, recall, success and their relatives.

use crate::ranking::Ranking;

/// Relevant documents in the first `cutoff`, divided by `cutoff` even when fewer were retrieved.
pub(crate) fn precision(ranking: &Ranking, level: i32, cutoff: usize) -> f64 {
    ratio(ranking.n_relevant_retrieved(level, Some(cutoff)), cutoff)
}

/// Relevant documents in the first `cutoff`, divided by all that are relevant; 0 if none is.
pub(crate) fn recall(ranking: &Ranking, level: i32, cutoff: Option<usize>) -> f64 {
    ratio(ranking.n_relevant_retrieved(level, cutoff), ranking.n_relevant(level))
}

/// 1 if a relevant document is among the first `cutoff`, else 0.
pub(crate) fn success(ranking: &Ranking, level: i32, cutoff: usize) -> f64 {
    if ranking.n_relevant_retrieved(level, Some(cutoff)) > 0 { 1.0 } else { 0.0 }
}

/// Precision at as many documents as are relevant.
pub(crate) fn r_precision(ranking: &Ranking, level: i32) -> f64 {
    let n_relevant = ranking.n_relevant(level);
    ratio(ranking.n_relevant_retrieved(level, Some(n_relevant)), n_relevant)
}

/// Precision at `cutoff` relative to the best possible there.
pub(crate) fn relative_precision(ranking: &Ranking, level: i32, cutoff: usize) -> f64 {
    let best = cutoff.min(ranking.n_relevant(level));
    ratio(ranking.n_relevant_retrieved(level, Some(cutoff)), best)
}

/// Judged documents among the first `cutoff`, divided by how many of those were retrieved.
///
/// A negative grade is a judgement here: an assessor, or a pooling rule, has named the document.
pub(crate) fn judged(ranking: &Ranking, cutoff: Option<usize>) -> f64 {
    let top = ranking.top(cutoff);
    ratio(top.iter().filter(|grade| grade.is_some()).count(), top.len())
}

/// A sum that starts from 0: that of an empty iterator of floats is -0, which prints as "-0.0000".
pub(crate) fn total(terms: impl Iterator<Item = f64>) -> f64 {
    terms.fold(0.0, |sum, term| sum + term)
}

/// `numerator / denominator`, 0 when there is nothing to divide by.
pub(crate) fn ratio(numerator: usize, denominator: usize) -> f64 {
    if denominator == 0 { 0.0 } else { numerator as f64 / denominator as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_divides_by_the_cutoff_and_recall_by_the_relevant() {
        let ranking = Ranking::new(vec![Some(1), None, Some(2)], vec![1, 2, 1, 0]);
        assert_eq!(precision(&ranking, 1, 10), 0.2);
        assert_eq!(recall(&ranking, 1, Some(1)), 1.0 / 3.0);
        assert_eq!(r_precision(&ranking, 1), 2.0 / 3.0);
        assert_eq!(success(&ranking, 2, 2), 0.0);
        assert_eq!(judged(&ranking, Some(10)), 2.0 / 3.0);
        assert_eq!(relative_precision(&ranking, 1, 10), 2.0 / 3.0);
        assert_eq!(recall(&Ranking::default(), 1, None), 0.0);
    }
}
