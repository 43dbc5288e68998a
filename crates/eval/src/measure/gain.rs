//! Grades into gains, and gains into discounted sums with their best possible value.

use crate::ranking::Ranking;

use super::precision::total;

/// What a grade is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gain {
    /// The grade itself, as trec_eval has it (`dcg='log2'`).
    #[default]
    Linear,
    /// `2^grade - 1`, as gdeval and most learning-to-rank papers have it (`dcg='exp-log2'`).
    Exponential,
}

impl Gain {
    /// The gain of a grade; documents without a positive grade are worth nothing.
    #[must_use]
    pub fn of(self, grade: Option<i32>) -> f64 {
        match (self, grade) {
            (Self::Linear, Some(grade)) if grade > 0 => f64::from(grade),
            (Self::Exponential, Some(grade)) if grade > 0 => f64::from(grade).exp2() - 1.0,
            _ => 0.0,
        }
    }
}

/// `log2(rank + 1)` for a rank counted from 1.
pub(crate) fn discount(rank: usize) -> f64 {
    ((rank + 1) as f64).log2()
}

/// Normalised discounted cumulative gain.
///
/// # Formula
/// ```text
/// DCG@k  = sum over ranks i <= k of gain(grade_i) / log2(i + 1)
/// nDCG@k = DCG@k / (DCG@k of all judged documents in the best order), 0 if that is 0
/// ```
///
/// # Source
/// Jarvelin and Kekalainen, ACM TOIS 20(4), 2002; trec_eval `ndcg` and `ndcg_cut`.
pub(crate) fn ndcg(ranking: &Ranking, gain: Gain, cutoff: Option<usize>) -> f64 {
    let sum = |grades: &mut dyn Iterator<Item = Option<i32>>| {
        let gains = grades.map(|grade| gain.of(grade)).zip(1..);
        total(gains.filter(|&(g, _)| g > 0.0).map(|(g, rank)| g / discount(rank)))
    };
    let limit = cutoff.unwrap_or(usize::MAX);
    let ideal = sum(&mut ranking.judged().iter().map(|&grade| Some(grade)).take(limit));
    if ideal > 0.0 { sum(&mut ranking.top(cutoff).iter().copied()) / ideal } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_stop_at_zero() {
        assert_eq!(Gain::Linear.of(Some(3)), 3.0);
        assert_eq!(Gain::Exponential.of(Some(3)), 7.0);
        for grade in [None, Some(0), Some(-2)] {
            assert_eq!(Gain::Exponential.of(grade), 0.0);
        }
    }

    #[test]
    fn the_ideal_counts_what_was_not_retrieved() {
        let ranking = Ranking::new(vec![None, Some(1)], vec![1, 2]);
        let expect = (1.0 / 3f64.log2()) / (2.0 + 1.0 / 3f64.log2());
        assert!((ndcg(&ranking, Gain::Linear, None) - expect).abs() < 1e-15);
        assert_eq!(ndcg(&ranking, Gain::Linear, Some(1)), 0.0);
        assert_eq!(ndcg(&Ranking::new(vec![None], vec![0]), Gain::Linear, None), 0.0);
    }
}
