//! Measures of a user who goes down the list and may stop: RBP, ERR, nearly-ERR, compatibility.

use crate::ranking::Ranking;

/// How a user of the nearly-ERR family goes on after a document of gain `g` at rank `i`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Continuation {
    /// `1 - g`, up to a cutoff (equation 8 of the paper).
    Truncated(usize),
    /// `i / (i + 1) (1 - g)`, up to a cutoff (equation 9).
    Discounted(usize),
    /// `p (1 - g)` (equation 10).
    Patience(f64),
    /// `((i + 2T - 1) / (i + 2T))^2 (1 - g)` (equation 11).
    Goal(f64),
}

/// Rank-biased precision: `(1 - p) sum p^(i-1) gain_i`.
///
/// The gain is 1 for relevant documents when a level is given, and `grade / best grade of the
/// query` otherwise.
///
/// # Source
/// Moffat and Zobel, ACM TOIS 27(1), 2008.
pub(crate) fn rbp(ranking: &Ranking, p: f64, level: Option<i32>, cutoff: Option<usize>) -> f64 {
    let best = ranking.judged().first().copied().unwrap_or(0).max(1);
    let mut weight = 1.0 - p;
    let mut sum = 0.0;
    for &grade in ranking.top(cutoff) {
        let gain = match (level, grade) {
            (Some(level), grade) => f64::from(u8::from(crate::ranking::is_relevant(grade, level))),
            (None, Some(grade)) if grade > 0 => f64::from(grade) / f64::from(best),
            _ => 0.0,
        };
        sum += weight * gain;
        weight *= p;
    }
    sum
}

/// Expected reciprocal rank: the user stops at a document with probability
/// `(2^grade - 1) / 2^max_grade`.
///
/// # Source
/// Chapelle et al., CIKM 2009; gdeval.pl, whose highest grade is 4.
pub(crate) fn err(ranking: &Ranking, max_grade: i32, cutoff: Option<usize>) -> f64 {
    let mut going = 1.0;
    let mut sum = 0.0;
    for (rank, &grade) in (1..).zip(ranking.top(cutoff)) {
        let grade = grade.unwrap_or(0).clamp(0, max_grade);
        let stop = (f64::from(grade).exp2() - 1.0) / f64::from(max_grade).exp2();
        sum += going * stop / f64::from(rank);
        going *= 1.0 - stop;
    }
    sum
}

/// Expected utility of a user with one of the nearly-ERR continuations; gains are grades scaled
/// from `[min_grade, max_grade]` to `[0, 1]`.
///
/// # Formula
/// ```text
/// W(1) = 1 / sum over i of prod over j < i of C(j),  W(i+1) = W(i) C(i)
/// value = sum over i of W(i) gain_i
/// ```
/// The list goes on with documents of gain 0 to rank 1000, as in the authors' program.
///
/// # Source
/// Azzopardi, Mackenzie and Moffat, ICTIR 2021.
pub(crate) fn nearly_err(
    ranking: &Ranking,
    continuation: Continuation,
    min_grade: i32,
    max_grade: i32,
) -> f64 {
    const DEPTH: usize = 1000;
    let span = f64::from(max_grade - min_grade);
    let (mut going, mut views, mut utility) = (1.0, 0.0, 0.0);
    for rank in 1..=DEPTH {
        let grade = ranking.grades().get(rank - 1).copied().flatten().unwrap_or(0);
        let gain = f64::from(grade.max(0).clamp(min_grade, max_grade) - min_grade) / span;
        views += going;
        utility += going * gain;
        let at = rank as f64;
        going *= match continuation {
            Continuation::Truncated(k) if rank < k => 1.0 - gain,
            Continuation::Discounted(k) if rank < k => at / (at + 1.0) * (1.0 - gain),
            Continuation::Truncated(_) | Continuation::Discounted(_) => 0.0,
            Continuation::Patience(p) => p * (1.0 - gain),
            Continuation::Goal(t) => ((at + 2.0 * t - 1.0) / (at + 2.0 * t)).powi(2) * (1.0 - gain),
        };
    }
    utility / views
}

/// Rank-biased overlap of the list with the ideal one that is nearest to it.
///
/// The ideal has the relevant documents by grade; equal grades stand as the run has them, and
/// those not retrieved come last within their grade. `normalize` divides by the overlap of the
/// ideal with itself.
///
/// # Source
/// Clarke, Vtyurina and Smucker, ACM TOIS 39(1), 2020.
pub(crate) fn compatibility(ranking: &Ranking, p: f64, normalize: bool) -> f64 {
    let n_ideal = ranking.n_relevant(1);
    let depth = ranking.n_retrieved().max(n_ideal);
    // The place of every retrieved relevant document in the ideal list, in rank order.
    let mut next_place = std::collections::BTreeMap::new();
    let mut joins = vec![0usize; depth];
    for (index, &grade) in ranking.grades().iter().enumerate() {
        if let Some(grade) = grade.filter(|&grade| grade > 0) {
            let first = ranking.judged().partition_point(|&other| other > grade);
            let place = next_place.entry(grade).or_insert(first);
            // A document is in both sets from the later of its two places on.
            joins[index.max(*place)] += 1;
            *place += 1;
        }
    }
    let (mut weight, mut total, mut best, mut overlap, mut score) = (1.0, 0.0, 0.0, 0, 0.0);
    for (index, joined) in joins.into_iter().enumerate() {
        overlap += joined;
        let at = (index + 1) as f64;
        score += weight * overlap as f64 / at;
        best += weight * (index + 1).min(n_ideal) as f64 / at;
        total += weight;
        weight *= p;
    }
    match (normalize, best > 0.0) {
        (true, true) => score / best,
        _ if total > 0.0 => score / total,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certain_stop_ends_the_sum() {
        let ranking = Ranking::new(vec![Some(1), Some(1)], vec![1, 1]);
        assert_eq!(err(&ranking, 1, None), 0.5 + 0.5 * 0.5 / 2.0);
        assert!((rbp(&ranking, 0.8, Some(1), None) - 0.2 * 1.8).abs() < 1e-15);
    }

    #[test]
    fn the_ideal_order_is_fully_compatible() {
        let ranking = Ranking::new(vec![Some(3), Some(1), None], vec![1, 3, 0]);
        assert!((compatibility(&ranking, 0.95, true) - 1.0).abs() < 1e-12);
        assert_eq!(compatibility(&Ranking::default(), 0.95, true), 0.0);
    }
}
