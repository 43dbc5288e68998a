//! Ranks of relevant documents into average precision and its relatives.

use crate::ranking::Ranking;

use super::precision::{ratio, total};

/// Mean over all relevant documents of the precision at their rank, 0 for those not in the first
/// `cutoff`.
///
/// # Source
/// trec_eval `map` and `map_cut`.
pub(crate) fn average_precision(ranking: &Ranking, level: i32, cutoff: Option<usize>) -> f64 {
    let n_relevant = ranking.n_relevant(level);
    if n_relevant == 0 {
        0.0
    } else {
        sum_of_precisions(ranking, level, cutoff) / n_relevant as f64
    }
}

/// Sum over retrieved relevant documents of the precision at their rank.
pub(crate) fn sum_of_precisions(ranking: &Ranking, level: i32, cutoff: Option<usize>) -> f64 {
    total(ranking.relevant_ranks(level, cutoff).zip(1..).map(|(rank, n)| ratio(n, rank)))
}

/// 1 / rank of the first relevant document, 0 if none is among the first `cutoff`.
pub(crate) fn reciprocal_rank(ranking: &Ranking, level: i32, cutoff: Option<usize>) -> f64 {
    ranking.relevant_ranks(level, cutoff).next().map_or(0.0, |rank| 1.0 / rank as f64)
}

/// Average precision estimated from a judged sample of the pool.
///
/// # Source
/// Yilmaz and Aslam, CIKM 2006; trec_eval `infAP`.
pub(crate) fn inferred_average_precision(ranking: &Ranking, level: i32) -> f64 {
    const EPSILON: f64 = 0.000_01;
    let n_relevant = ranking.n_relevant(level);
    let (mut relevant, mut nonrelevant, mut pooled) = (0.0, 0.0, 0.0);
    let mut sum = 0.0;
    for (index, &grade) in ranking.grades().iter().enumerate() {
        match grade {
            None => {}
            Some(grade) if grade < 0 => pooled += 1.0,
            Some(grade) if grade < level => nonrelevant += 1.0,
            Some(_) => {
                let above = index as f64;
                sum += if index == 0 {
                    1.0
                } else {
                    let in_pool = (relevant + nonrelevant + pooled) / above;
                    let share = (relevant + EPSILON) / (relevant + nonrelevant + 2.0 * EPSILON);
                    1.0 / (above + 1.0) + above / (above + 1.0) * in_pool * share
                };
                relevant += 1.0;
            }
        }
    }
    if n_relevant == 0 { sum } else { sum / n_relevant as f64 }
}

/// Share of the preferences "relevant before judged non-relevant" that the order respects.
///
/// # Formula
/// ```text
/// 1/R sum over retrieved relevant documents of 1 - min(n, R) / min(N, R)
/// n = judged non-relevant documents ranked above, N = all of the query
/// ```
///
/// # Source
/// Buckley and Voorhees, SIGIR 2004; trec_eval `bpref`.
pub(crate) fn bpref(ranking: &Ranking, level: i32) -> f64 {
    let n_relevant = ranking.n_relevant(level);
    let best = ranking.n_nonrelevant(level).min(n_relevant) as f64;
    let mut above = 0;
    let mut sum = 0.0;
    for &grade in ranking.grades() {
        match grade {
            Some(grade) if (0..level).contains(&grade) => above += 1,
            Some(grade) if grade >= 0 => {
                sum += if above == 0 { 1.0 } else { 1.0 - above.min(n_relevant) as f64 / best };
            }
            _ => {}
        }
    }
    if n_relevant == 0 { sum } else { sum / n_relevant as f64 }
}

/// The highest precision at or after the rank where each recall point is reached.
///
/// A recall of `x` is reached at `floor(x R + 0.9)` relevant documents, as in pytrec_eval and
/// trec_eval up to 9.0.7; later versions round to the nearest.
pub(crate) fn interpolated_precisions(ranking: &Ranking, level: i32, recalls: &[f64]) -> Vec<f64> {
    let n_relevant = ranking.n_relevant(level) as f64;
    let ranks: Vec<usize> = ranking.relevant_ranks(level, None).collect();
    // best[n] = the highest precision at the (n + 1)th relevant document or any later one.
    let mut best = vec![0.0; ranks.len()];
    let mut highest = ratio(ranks.len(), ranking.n_retrieved());
    for (n, &rank) in ranks.iter().enumerate().rev() {
        highest = f64::max(highest, ratio(n + 1, rank));
        best[n] = highest;
    }
    let at = |recall: f64| {
        let needed = (recall * n_relevant + 0.9).floor() as usize;
        best.get(needed.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    recalls.iter().map(|&recall| at(recall)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking() -> Ranking {
        // Relevant at 2 and 5, judged non-relevant at 1, pooled but unjudged at 4.
        let grades = vec![Some(0), Some(1), None, Some(-1), Some(2)];
        Ranking::new(grades, vec![0, 1, -1, 2])
    }

    #[test]
    fn average_precision_by_hand() {
        assert!((average_precision(&ranking(), 1, None) - (0.5 + 0.4) / 2.0).abs() < 1e-15);
        assert_eq!(average_precision(&ranking(), 1, Some(4)), 0.25);
        assert_eq!(average_precision(&ranking(), 3, None), 0.0);
        assert_eq!(reciprocal_rank(&ranking(), 1, None), 0.5);
        assert_eq!(reciprocal_rank(&ranking(), 2, Some(4)), 0.0);
    }

    #[test]
    fn bpref_passes_over_the_unjudged() {
        // One judged non-relevant above both, N = 1, R = 2: each term is 1 - 1/1.
        assert_eq!(bpref(&ranking(), 1), 0.0);
        assert_eq!(bpref(&Ranking::new(vec![None, Some(1)], vec![1, 0]), 1), 1.0);
    }

    #[test]
    fn interpolation_looks_ahead() {
        let precisions = interpolated_precisions(&ranking(), 1, &[0.0, 0.5, 0.54, 1.0]);
        assert_eq!(precisions, [0.5, 0.5, 0.5, 0.4]);
    }
}
