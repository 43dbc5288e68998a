//! A retrieved set, order aside, into precision, recall and their relatives.

use crate::ranking::Ranking;

use super::precision::ratio;

/// Relevant retrieved / retrieved.
pub(crate) fn set_precision(ranking: &Ranking, level: i32) -> f64 {
    ratio(ranking.n_relevant_retrieved(level, None), ranking.n_retrieved())
}

/// Relevant retrieved / min(retrieved, relevant).
pub(crate) fn set_relative_precision(ranking: &Ranking, level: i32) -> f64 {
    let best = ranking.n_retrieved().min(ranking.n_relevant(level));
    ratio(ranking.n_relevant_retrieved(level, None), best)
}

/// `(x + 1) P R / (R + x P)`: the weight `x` is the square of the usual beta.
pub(crate) fn set_f(ranking: &Ranking, level: i32, x: f64) -> f64 {
    let precision = set_precision(ranking, level);
    let recall = super::precision::recall(ranking, level, None);
    if recall + x * precision > 0.0 {
        (x + 1.0) * precision * recall / (recall + x * precision)
    } else {
        0.0
    }
}

/// Precision times recall: average precision of an unordered set.
pub(crate) fn set_average_precision(ranking: &Ranking, level: i32) -> f64 {
    set_precision(ranking, level) * super::precision::recall(ranking, level, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_weighs_recall_by_x() {
        let ranking = Ranking::new(vec![Some(1), None], vec![1, 1, 1, 1]);
        assert_eq!(set_precision(&ranking, 1), 0.5);
        let (p, r) = (0.5, 0.25);
        assert_eq!(set_f(&ranking, 1, 1.0), 2.0 * p * r / (p + r));
        assert_eq!(set_f(&Ranking::default(), 1, 1.0), 0.0);
        assert_eq!(set_average_precision(&ranking, 1), 0.125);
        assert_eq!(set_relative_precision(&ranking, 1), 0.5);
    }
}
